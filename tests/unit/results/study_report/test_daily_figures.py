"""Daily figures against the metric module and by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atft_hpo.evaluation.metrics import max_drawdown
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.results.study_report.daily_figures import (
    daily_ic,
    drawdown,
    drawdown_curve,
    equity,
    equity_curve,
    rolling_mean,
)
from atft_hpo.results.study_report.theme import Plate
from atft_hpo.training.phases.epoch_report import TrainingResult

RETURNS = arrays(np.float64, st.integers(2, 40), elements=st.floats(-0.2, 0.2))


@pytest.fixture
def series(result: TrainingResult) -> DailySeries:
    return result.history[-1].daily


@settings(max_examples=100, deadline=None)
@given(RETURNS)
def test_deepest_drawdown_is_the_metric(returns: np.ndarray) -> None:
    assert drawdown_curve(returns).max() == pytest.approx(max_drawdown(returns), abs=1e-12)


def test_equity_compounds_and_stands_still_on_missing_days() -> None:
    curve = equity_curve(np.array([0.1, np.nan, -0.5, 0.2]))
    np.testing.assert_allclose(curve, [1.1, 1.1, 0.55, 0.66])


def test_rolling_mean_skips_missing_days_and_needs_half_a_window() -> None:
    found = rolling_mean(np.array([1.0, np.nan, 3.0, 5.0, 7.0]), 4)
    np.testing.assert_allclose(found, [np.nan, np.nan, 2.0, 3.0, 5.0])


@settings(max_examples=50, deadline=None)
@given(RETURNS, st.integers(1, 10))
def test_rolling_mean_looks_back_only(returns: np.ndarray, window: int) -> None:
    changed = returns.copy()
    changed[-1] += 1.0
    one, other = rolling_mean(returns, window), rolling_mean(changed, window)
    np.testing.assert_array_equal(one[:-1], other[:-1])


def test_titles_state_the_numbers(series: DailySeries) -> None:
    days = series.rank_ic[np.isfinite(series.rank_ic)]
    assert f"{days.mean():.4f}" in daily_ic(series, "Trial 7").title
    net = np.nan_to_num(series.return_net.astype(np.float64))
    assert f"{100 * (np.prod(1 + net) - 1):.1f} % net" in equity(series, "Trial 7").title
    assert f"{100 * max_drawdown(net):.1f} %" in drawdown(series, "Trial 7").title


def test_curves_hold_the_series(series: DailySeries) -> None:
    plate: Plate = equity(series, "Trial 7")
    assert plate.figure is not None
    gross, net = plate.figure.data
    assert (gross.name, net.name) == ("gross", "net of cost")
    np.testing.assert_allclose(net.y, 100 * (equity_curve(series.return_net) - 1))
    assert gross.y[-1] > net.y[-1], "cost can only take"


def test_a_series_without_days_is_explained(series: DailySeries) -> None:
    gone = np.full_like(series.ic, np.nan)
    empty = dataclasses.replace(series, rank_ic=gone, return_net=gone, return_gross=gone)
    for plate in (daily_ic(empty, "T"), equity(empty, "T"), drawdown(empty, "T")):
        assert plate.figure is None
        assert plate.note
