"""One number per epoch, its smoothing, and which epoch stands for a phase."""

import math
from typing import Any

import numpy as np
import pytest

from atft_hpo.config.search_schema import ObjectiveConfig
from atft_hpo.errors import NonFiniteError
from atft_hpo.training.phases.objective import (
    best_epoch,
    epoch_value,
    ic_series,
    objective_series,
    smooth,
)

METRICS = {"sharpe": 1.5, "ic": 0.02, "rank_ic": 0.04, "pure_rank_ic": 0.01, "sharpe_5d": 9.0}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"metric": "sharpe"}, 1.5),
        ({"metric": "rank_ic"}, 0.04),
        ({"metric": "ic"}, 0.02),
        ({"metric": "pure_rank_ic"}, 0.01),
        ({"metric": "weighted", "weights": {"pure_rank_ic": 3.0, "sharpe": 1.0}}, 1.53),
        ({"metric": "weighted"}, 0.1 * 1.5 + 0.04),
        ({"metric": "weighted", "weights": {"ic": 2.0}}, 0.04),
    ],
)
def test_the_metric_asked_for(settings: dict[str, Any], expected: float) -> None:
    assert epoch_value(METRICS, ObjectiveConfig(**settings)) == pytest.approx(expected)


@pytest.mark.parametrize("metrics", [{}, {"sharpe": math.nan}, {"sharpe": math.inf}])
def test_an_undefined_objective_is_an_error_that_counts_days(metrics: dict[str, float]) -> None:
    counts = {"days": 3.0, "days_skipped": 5.0, "days_constant": 4.0}
    with pytest.raises(NonFiniteError, match="sharpe is undefined: 3 days scored, 5 skipped, 4 of"):
        epoch_value(metrics | counts, ObjectiveConfig())


def test_an_undefined_pure_rank_ic_says_what_it_needs() -> None:
    counts = {"days": 30.0, "pure_days": 0.0, "pure_days_constant": 2.0}
    with pytest.raises(NonFiniteError, match=r"0 of 30 days scored, 2 with .* needs 20 stocks"):
        epoch_value(counts, ObjectiveConfig(metric="pure_rank_ic"))


@pytest.mark.parametrize(
    ("settings", "ic", "own"),
    [
        ({}, "ic", "return_net"),
        ({"metric": "ic"}, "ic", "ic"),
        ({"metric": "rank_ic"}, "rank_ic", "rank_ic"),
        ({"metric": "pure_rank_ic"}, "pure_rank_ic", "pure_rank_ic"),
        ({"metric": "weighted"}, "rank_ic", "rank_ic"),
        ({"metric": "weighted", "weights": {"sharpe": 1.0}}, "rank_ic", "rank_ic"),
        (
            {"metric": "weighted", "weights": {"rank_ic": 0.1, "pure_rank_ic": -0.2}},
            "pure_rank_ic",
            "pure_rank_ic",
        ),
    ],
)
def test_the_daily_series_of_an_objective(settings: dict[str, Any], ic: str, own: str) -> None:
    config = ObjectiveConfig(**settings)
    assert ic_series(config) == ic
    assert objective_series(config) == own


def test_smoothing_takes_the_last_epochs() -> None:
    config = ObjectiveConfig(smoothing_epochs=3)
    assert smooth([9.0], config) == 9.0
    assert smooth([9.0, 1.0, 2.0, 3.0], config) == 2.0


def test_a_lucky_first_epoch_does_not_win() -> None:
    values = [9.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    assert best_epoch(values, 6, ObjectiveConfig(smoothing_epochs=3)) == 2
    assert best_epoch(values[1:], 6, ObjectiveConfig(smoothing_epochs=3)) == 3


def test_no_window_is_full_yet() -> None:
    assert best_epoch([5.0, 5.0], 10, ObjectiveConfig(smoothing_epochs=3)) is None


def test_a_phase_shorter_than_the_window_has_its_last_epoch() -> None:
    config = ObjectiveConfig(smoothing_epochs=3)
    assert best_epoch([9.0], 2, config) is None
    assert best_epoch([9.0, 1.0], 2, config) == 1


def test_the_earliest_of_equals_wins() -> None:
    assert best_epoch([1.0, 1.0, 1.0], 3, ObjectiveConfig(smoothing_epochs=1)) == 0


def test_windows_are_far_less_optimistic_than_a_maximum_over_epochs() -> None:
    """On pure noise the value of a phase should be near 0, whatever the number of epochs."""
    generator, config = np.random.default_rng(0), ObjectiveConfig(smoothing_epochs=3)
    maxima, windows = [], []
    for _ in range(300):
        values = generator.standard_normal(15).tolist()
        best = best_epoch(values, 15, config)
        assert best is not None
        maxima.append(max(values))
        windows.append(smooth(values[: best + 1], config))
    assert np.mean(windows) < 0.6 * np.mean(maxima)
