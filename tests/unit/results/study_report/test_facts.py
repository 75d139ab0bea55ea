"""Numbers of a study, against records counted by hand and the formulas' own modules."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from atft_hpo.config.toml import with_values
from atft_hpo.evaluation.luck import serial_sharpe_error
from atft_hpo.evaluation.mean_error import mean_error
from atft_hpo.results.study_report.facts import (
    best_epoch,
    epochs_saved,
    phase_epochs,
    standard_error,
    status_of,
    study_facts,
)
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord, TrialRecord

Study = Callable[..., StudyRecord]


def trial_of(study: StudyRecord, outcome: Outcome | None) -> TrialRecord:
    return next(t for t in study.trials if t.outcome is outcome)


def test_counts_by_outcome(study: StudyRecord) -> None:
    facts = study_facts(study)
    assert facts.counts["COMPLETE"] == 11
    assert facts.counts["PRUNED"] == 4
    assert facts.counts["RUNNING"] == 1
    assert sum(facts.counts.values()) == 20
    assert next(iter(facts.counts)) == "COMPLETE"


def test_best_is_the_largest_complete_value(study: StudyRecord) -> None:
    facts = study_facts(study)
    values = [t.value for t in study.trials if t.value is not None]
    assert facts.best is not None
    assert facts.best.value == max(values)
    assert facts.best_epoch is not None
    assert facts.best_epoch.smoothed == facts.best.value, "the epoch whose weights were kept"


def test_epochs_saved_only_by_pruning(study: StudyRecord) -> None:
    pruned = trial_of(study, Outcome.PRUNED)
    assert epochs_saved(pruned, study.config) == 18 - len(pruned.epochs) > 0
    for outcome in (Outcome.COMPLETE, Outcome.CRASHED, None):
        assert epochs_saved(trial_of(study, outcome), study.config) == 0
    unreported = dataclasses.replace(pruned, epochs=())
    assert epochs_saved(unreported, study.config) == 18


def test_time_saved_prices_epochs_by_phase(study_of: Study) -> None:
    study = study_of([Outcome.COMPLETE, Outcome.PRUNED])
    pruned = study.trials[1]
    seconds = {p: 8.0 + p for p in range(5)}  # as the fixture's epochs take
    left = [0] * 3 + [1] * 4 + [2] * 4 + [3] * 3 + [4] * 4
    expected = sum(seconds[p] for p in left[len(pruned.epochs) :])
    assert study_facts(study).seconds_saved == pytest.approx(expected)


def test_searched_epochs_count(study: StudyRecord) -> None:
    trial = dataclasses.replace(study.trials[0], params={"phases.gat.epochs": 9})
    assert phase_epochs(trial, study.config, "gat") == 9
    assert phase_epochs(None, study.config, "gat") == 4


def test_standard_error_of_a_sharpe(study: StudyRecord) -> None:
    facts = study_facts(study)
    assert facts.best_epoch is not None
    assert facts.best_epoch.daily is not None
    net = facts.best_epoch.daily.return_net
    expected = math.sqrt(252) * serial_sharpe_error(net[np.isfinite(net)].astype(float))
    assert facts.standard_error == pytest.approx(expected)
    days = dataclasses.replace(facts.best_epoch, daily=None)
    assert standard_error(days, study.config) is None, "without days there is no error to give"


def test_standard_error_of_a_rank_ic(study: StudyRecord, study_config: Any) -> None:
    config = study_config(**{"objective.metric": "rank_ic"})
    epoch = study.trials[0].epochs[-1]
    rank_ic = epoch.daily.rank_ic[np.isfinite(epoch.daily.rank_ic)].astype(float)
    for horizon in (1, 5):
        found = with_values(config, {"objective.horizon_days": horizon})
        expected = mean_error(rank_ic, horizon)
        assert expected is not None
        assert standard_error(epoch, found) == pytest.approx(expected.standard_error)
    still = dataclasses.replace(epoch.daily, rank_ic=np.zeros_like(epoch.daily.rank_ic))
    assert standard_error(dataclasses.replace(epoch, daily=still), config) is None


def test_a_weighted_objective_has_no_standard_error(study: StudyRecord, study_config: Any) -> None:
    config = study_config(**{"objective.metric": "weighted"})
    assert standard_error(study.trials[0].epochs[-1], config) is None


@pytest.mark.parametrize("outcomes", [[], [None], [Outcome.ERROR] * 3, [Outcome.PRUNED] * 2])
def test_without_a_best_trial(study_of: Study, outcomes: list[Outcome | None]) -> None:
    study = study_of(outcomes)
    facts = study_facts(study)
    assert (facts.best, facts.best_epoch, facts.standard_error) == (None, None, None)


def test_waiting_trials(study: StudyRecord) -> None:
    waiting = dataclasses.replace(study.trials[-1], state="waiting", epochs=())
    assert status_of(waiting) == "WAITING"
    assert best_epoch(waiting, study.config) is None
