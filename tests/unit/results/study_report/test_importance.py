"""Importances from records."""

import dataclasses
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from atft_hpo.results.study_report.importance import LEAST_TRIALS, parameter_importance
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord


def test_the_parameter_that_matters_comes_first(study_of: Callable[..., StudyRecord]) -> None:
    found = parameter_importance(study_of([Outcome.COMPLETE] * 30))
    assert found is not None
    assert next(iter(found)) == "model.dropout", "the fixture's skill falls with dropout"
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1.0)
    assert set(found) == {
        "model.dropout", "optim.lr_scale", "model.fan.k", "model.gat.heads",
        "phases.gat.weights.sharpe",
    }  # fmt: skip


def test_only_complete_trials_count(study_of: Callable[..., StudyRecord]) -> None:
    few = [Outcome.COMPLETE] * (LEAST_TRIALS - 1)
    assert parameter_importance(study_of([*few, *[Outcome.PRUNED] * 20])) is None
    assert parameter_importance(study_of([*few, Outcome.COMPLETE])) is not None


def test_lists_may_be_stored_as_text_or_decoded(study_of: Callable[..., StudyRecord]) -> None:
    study = study_of([Outcome.COMPLETE] * 12)

    def stored(params: dict[str, Any]) -> dict[str, Any]:
        return params | {"model.gat.heads": str(params["model.gat.heads"])}

    texts = tuple(dataclasses.replace(t, params=stored(t.params)) for t in study.trials)
    assert parameter_importance(dataclasses.replace(study, trials=texts)) == parameter_importance(
        study
    )


def test_trials_outside_the_space_are_left_out(study_of: Callable[..., StudyRecord]) -> None:
    study = study_of([Outcome.COMPLETE] * 12)
    odd = study.trials[0].params | {"model.dropout": 0.9, "model.gat.heads": [8, 8], "gone.key": 1}
    trials = (dataclasses.replace(study.trials[0], params=odd), *study.trials[1:])
    assert parameter_importance(dataclasses.replace(study, trials=trials)) is not None


def test_no_space_no_importance(study_of: Callable[..., StudyRecord]) -> None:
    assert parameter_importance(study_of([Outcome.COMPLETE] * 12, **{"search.space": {}})) is None


def test_optuna_says_nothing_and_keeps_its_verbosity(
    study_of: Callable[..., StudyRecord], capfd: pytest.CaptureFixture[str]
) -> None:
    before = optuna.logging.get_verbosity()
    parameter_importance(study_of([Outcome.COMPLETE] * LEAST_TRIALS))
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
