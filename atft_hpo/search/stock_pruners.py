"""Optuna's pruners by name, for studies that want one instead of the phase-aware one.

They compare one number an epoch. Measured on phased, noisy curves they end many of the best trials
(docs/design.md), because a good early phase shields a trial, or a slow one ends it.
"""

import copy
from typing import TYPE_CHECKING

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.trial import FrozenTrial, TrialState

from atft_hpo.config.search_schema import PrunerConfig
from atft_hpo.training.phases.epoch_report import STEPS_PER_PHASE

if TYPE_CHECKING:
    from optuna.study import Study


def optuna_pruner(config: PrunerConfig) -> BasePruner:
    """Optuna's pruner named by `config.kind`; one that never prunes for phase_aware and none.

    `skip_phases` and `min_peers` hold for median and percentile, which compare equal steps, that is
    equal phase and epoch. Halving and Hyperband know only how long a trial has run, in epochs.
    """
    warmup = config.skip_phases * STEPS_PER_PHASE
    if config.kind == "median":
        return MedianPruner(config.min_peers, warmup, n_min_trials=config.min_peers)
    if config.kind == "percentile":
        share = 100.0 * config.keep_share
        return PercentilePruner(share, config.min_peers, warmup, n_min_trials=config.min_peers)
    if config.kind in ("halving", "hyperband"):
        return EpochCountPruner(hyperband=config.kind == "hyperband")
    return NopPruner()


class EpochCountPruner(BasePruner):
    """Successive halving or Hyperband over epochs done.

    Steps are phase × 1000 + epoch, which these two would read as a budget of thousands. They are
    shown epochs counted from 1. Hyperband's longest budget is the longest COMPLETE trial's; until
    there is one, nothing is pruned, which is also what Optuna's "auto" does.
    """

    def __init__(self, *, hyperband: bool) -> None:
        self._hyperband = hyperband

    def prune(self, study: "Study", trial: FrozenTrial) -> bool:
        counted = _counted(trial)
        if not self._hyperband:
            return SuccessiveHalvingPruner(min_resource=1).prune(study, counted)
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        longest = max((len(t.intermediate_values) for t in done), default=0)
        if not counted.intermediate_values or longest == 0:
            return False
        return HyperbandPruner(min_resource=1, max_resource=longest).prune(study, counted)


def _counted(trial: FrozenTrial) -> FrozenTrial:
    """A copy whose steps are epochs done, from 1."""
    values = [value for _, value in sorted(trial.intermediate_values.items())]
    shown = copy.copy(trial)
    shown.intermediate_values = dict(enumerate(values, start=1))
    return shown
