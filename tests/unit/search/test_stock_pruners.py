"""Optuna's own pruners by name, on steps that are phase × 1000 + epoch."""

import optuna
import pytest
from optuna.pruners import MedianPruner, NopPruner, PercentilePruner

from atft_hpo.config.search_schema import PrunerConfig
from atft_hpo.search.stock_pruners import EpochCountPruner, optuna_pruner
from atft_hpo.training.phases.epoch_report import STEPS_PER_PHASE

STEPS = [phase * STEPS_PER_PHASE + epoch for phase in range(3) for epoch in range(4)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _run(study: optuna.Study, value: float, steps: list[int] = STEPS) -> int:
    """Epochs a trial with constant value runs."""
    trial = study.ask()
    for done, step in enumerate(steps, start=1):
        trial.report(value, step)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return done
    study.tell(trial, value)
    return len(steps)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("phase_aware", NopPruner),
        ("none", NopPruner),
        ("median", MedianPruner),
        ("percentile", PercentilePruner),
        ("halving", EpochCountPruner),
        ("hyperband", EpochCountPruner),
    ],
)
def test_each_name_gives_its_pruner(kind: str, expected: type) -> None:
    assert type(optuna_pruner(PrunerConfig.model_validate({"kind": kind}))) is expected


@pytest.mark.parametrize("kind", ["median", "percentile"])
def test_comparing_pruners_wait_for_peers_and_skip_leading_phases(kind: str) -> None:
    config = PrunerConfig.model_validate({"kind": kind, "min_peers": 3, "skip_phases": 1})
    study = optuna.create_study(direction="maximize", pruner=optuna_pruner(config))
    assert [_run(study, value) for value in (3.0, 2.0, 1.0)] == [12, 12, 12]
    assert _run(study, 0.0) == 5  # the first epoch of the phase after the skipped one
    assert _run(study, 4.0) == 12


def test_keep_share_is_the_percentile() -> None:
    def epochs(share: float) -> int:
        config = PrunerConfig(kind="percentile", keep_share=share, min_peers=4)
        study = optuna.create_study(direction="maximize", pruner=optuna_pruner(config))
        for value in (1.0, 2.0, 3.0, 4.0):
            _run(study, value)
        return _run(study, 1.6)

    assert epochs(0.25) == 5
    assert epochs(0.9) == 12


def test_halving_counts_epochs_not_steps() -> None:
    """Rungs at 1, 4, 16 … epochs. By step numbers 1000 would pass five rungs at once."""
    study = optuna.create_study(
        direction="maximize", pruner=optuna_pruner(PrunerConfig(kind="halving"))
    )
    assert _run(study, 5.0) == 12
    assert _run(study, 1.0) == 1
    best = study.trials[0]
    assert {k for k in best.system_attrs if "rung" in k} == {"completed_rung_0", "completed_rung_1"}
    assert list(best.intermediate_values) == STEPS  # the record itself is left alone


def test_hyperband_prunes_only_after_a_first_complete_trial() -> None:
    study = optuna.create_study(
        study_name="h", direction="maximize", pruner=optuna_pruner(PrunerConfig(kind="hyperband"))
    )
    assert _run(study, 5.0) == 12
    ran = [_run(study, -float(i)) for i in range(12)]
    assert min(ran) < 12
    rungs = {k for t in study.trials for k in t.system_attrs if "completed_rung" in k}
    assert rungs <= {"completed_rung_0", "completed_rung_1", "completed_rung_2"}
