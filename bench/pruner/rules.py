"""The pruners compared, as rules that are asked after each epoch.

rule = rules()["median"]()          # a fresh one for each study
rule(trial, epochs_by_trial)        # whether to end the trial now
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import optuna

from atft_hpo.config.search_schema import ObjectiveConfig, PrunerConfig
from atft_hpo.search.pruner import decide, optuna_pruner
from atft_hpo.search.records import EpochRecord

Rule = Callable[[int, Mapping[int, Sequence[EpochRecord]]], bool]
"""(trial, epochs of all started trials) -> whether to end the trial now."""


def ours(config: PrunerConfig) -> Rule:
    """The phase-aware pruner."""
    objective = ObjectiveConfig()

    def rule(trial: int, epochs: Mapping[int, Sequence[EpochRecord]]) -> bool:
        peers = {m: records for m, records in epochs.items() if m != trial}
        return decide(epochs[trial], peers, config, objective).prune

    return rule


def stock(config: PrunerConfig) -> Rule:
    """One of Optuna's own, on the smoothed Sharpe, in a study of its own."""
    study = optuna.create_study(direction="maximize", pruner=optuna_pruner(config))
    asked: dict[int, optuna.Trial] = {}

    def rule(trial: int, epochs: Mapping[int, Sequence[EpochRecord]]) -> bool:
        if trial not in asked:
            asked[trial] = study.ask()
        now = epochs[trial][-1]
        asked[trial].report(now.smoothed, now.step)
        if asked[trial].should_prune():
            study.tell(asked[trial], state=optuna.trial.TrialState.PRUNED)
            return True
        if now.epochs_done == now.epochs_total:
            study.tell(asked[trial], now.smoothed)
        return False

    return rule


def rules() -> dict[str, Callable[[], Rule]]:
    """The pruners compared, by the name printed."""
    compared: dict[str, Callable[[], Rule]] = {"none": lambda: lambda trial, epochs: False}
    for kind in ("median", "percentile", "halving", "hyperband"):
        config = PrunerConfig(kind=kind, keep_share=0.75 if kind == "percentile" else 0.5)
        compared[kind + (" .75" if kind == "percentile" else "")] = partial(stock, config)
    for keep, min_t in ((0.5, 1.0), (0.5, 2.0), (0.5, 2.5), (0.5, 3.0), (0.75, 1.0), (0.75, 2.0)):
        config = PrunerConfig(keep_share=keep, min_t=min_t)
        compared[phase_aware_name(config)] = partial(ours, config)
    return compared


def phase_aware_name(config: PrunerConfig) -> str:
    """What a phase-aware pruner is called in the table."""
    return f"phase_aware keep {config.keep_share:g} t {config.min_t:g}"
