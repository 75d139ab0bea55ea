"""Walking through epochs."""

import math
from typing import Any

import pytest

from atft_hpo.config.schema import Config
from atft_hpo.results.run_epochs import by_phase, gradient_norms, kept_epoch, train_values, values
from atft_hpo.search.records import StudyRecord
from atft_hpo.training.phases.epoch_report import EpochReport, TrainingResult


def test_by_phase_keeps_order_and_loses_nothing(result: TrainingResult) -> None:
    phases = by_phase(result.history)
    assert [len(p) for p in phases] == [3, 4, 4, 3, 4]
    assert [e for p in phases for e in p] == list(result.history)
    assert by_phase([]) == []


def test_kept_epoch_is_the_one_training_kept(result: TrainingResult, config: Config) -> None:
    last = by_phase(result.history)[-1]
    assert kept_epoch(last, 4, config.objective).step == result.best_step


def test_short_windows_do_not_compete(remade: Any, result: TrainingResult, config: Config) -> None:
    first: list[EpochReport] = by_phase(result.history)[-1]
    lucky = [remade(first[0], value=9.0), *(remade(e, value=1.0) for e in first[1:])]
    assert kept_epoch(lucky, 4, config.objective) is lucky[2]
    assert kept_epoch(lucky[:2], 4, config.objective) is lucky[1], "no full window: the latest"


def test_records_serve_as_well_as_reports(study: StudyRecord) -> None:
    trial = study.trials[0]
    assert sum(map(len, by_phase(trial.epochs))) == len(trial.epochs)


def test_values_leave_out_what_is_not_a_number(remade: Any, result: TrainingResult) -> None:
    one, two, three = result.history[:3]
    rows = [remade(one, metrics={"ic": 0.5}), remade(two, metrics={"ic": math.nan}),
            remade(three, metrics={})]  # fmt: skip
    assert values(rows, "ic") == [0.5]
    assert train_values([remade(one, train={"lr": 0.1})], "lr") == [0.1]


def test_gradient_norms_are_means_per_term(remade: Any, result: TrainingResult) -> None:
    rows = [
        remade(result.history[0], train={"grad_norm_point": 1.0, "loss": 5.0}),
        remade(result.history[1], train={"grad_norm_point": 3.0, "grad_norm_sharpe": 0.5}),
    ]
    assert gradient_norms(rows) == {"point": pytest.approx(2.0), "sharpe": pytest.approx(0.5)}
