"""Weights, tranches, returns and cost, by hand and by property."""

import math
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from atft_hpo.config.schema import PortfolioConfig
from atft_hpo.data.store.trading import Trading
from atft_hpo.evaluation.portfolio import (
    PortfolioSeries,
    carried_out,
    carry_forward,
    constant_days,
    day_weights,
    hold_tranches,
    portfolio_returns,
    target_weights,
)

DATES = np.arange("2021-01-01", 60, dtype="datetime64[D]")
SIZINGS = ("zscore", "decile", "inverse_volatility", "uncertainty")
Draw = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def draw(seed: int, days: int = 12, stocks: int = 40) -> Draw:
    """Scores, liveness (a tenth dead) and positive risks."""
    generator = np.random.default_rng(seed)
    score = generator.standard_normal((days, stocks))
    return score, generator.random((days, stocks)) > 0.1, generator.uniform(0.5, 2, (days, stocks))


def cross_section(*scores: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """One day with these scores, all alive."""
    return np.array([scores]), np.ones((1, len(scores)), dtype=bool)


@pytest.mark.parametrize("sizing", SIZINGS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_targets_are_dollar_neutral_with_gross_exposure_one(sizing: Any, seed: int) -> None:
    score, alive, risk = draw(seed)
    weights = target_weights(score, alive, PortfolioConfig(sizing=sizing), risk)
    np.testing.assert_allclose(weights.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.abs(weights).sum(axis=1), 1.0)
    assert (weights[~alive] == 0.0).all()


def test_zscore_weights_by_hand() -> None:
    score, alive = cross_section(1.0, 2.0, 3.0, 6.0)
    weights = target_weights(score, alive, PortfolioConfig(), min_stocks=3)
    np.testing.assert_allclose(weights, [[-2 / 6, -1 / 6, 0.0, 3 / 6]], atol=1e-15)


def test_an_outlier_is_clipped_and_the_rest_stays_neutral() -> None:
    score, alive = cross_section(*([0.0] * 30), 1.0)
    config = PortfolioConfig(clip=2.0)
    weights = target_weights(score, alive, config)
    z = np.append(np.full(30, -1 / math.sqrt(30)), 2.0)
    expected = (z - z.mean()) / np.abs(z - z.mean()).sum()
    np.testing.assert_allclose(weights[0], expected)


def test_deciles_hold_a_tenth_each_side() -> None:
    score, alive = cross_section(*range(45))
    weights = target_weights(score, alive, PortfolioConfig(sizing="decile"))[0]
    np.testing.assert_allclose(weights[:4], -0.125)
    np.testing.assert_allclose(weights[-4:], 0.125)
    assert (weights[4:-4] == 0).all()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_deciles_depend_on_ranks_only(seed: int) -> None:
    score, alive, _ = draw(seed)
    config = PortfolioConfig(sizing="decile")
    before, after = (
        target_weights(score, alive, config),
        target_weights(np.exp(score), alive, config),
    )
    np.testing.assert_array_equal(before, after)


def test_risk_shrinks_positions_and_a_missing_one_counts_as_the_median() -> None:
    score, alive = cross_section(*[-1.0, 1.0] * 15)
    risk = np.ones((1, 30))
    risk[0, 0], risk[0, 1] = 4.0, np.nan
    weights = target_weights(score, alive, PortfolioConfig(sizing="inverse_volatility"), risk)[0]
    assert abs(weights[0]) < abs(weights[2]) / 2
    assert weights[1] == weights[3]


def test_a_sizing_that_needs_risk_says_so() -> None:
    score, alive, _ = draw(0)
    with pytest.raises(ValueError, match="uncertainty"):
        target_weights(score, alive, PortfolioConfig(sizing="uncertainty"))


def test_a_day_without_a_target_keeps_yesterdays_weights() -> None:
    score, alive, _ = draw(1, days=5)
    score[0], score[2], alive[3, 15:] = 1.0, 7.0, False
    weights = target_weights(score, alive, PortfolioConfig())
    assert (weights[0] == 0).all()
    np.testing.assert_array_equal(weights[2], weights[1])
    np.testing.assert_array_equal(weights[3], weights[1])
    assert (weights[4] != weights[1]).any()


def returns_of(weights: Any, one_day: Any, cost_bps: float) -> PortfolioSeries:
    """Of a book whose every decision is carried out."""
    return portfolio_returns(weights, Trading.without_friction(one_day, DATES), cost_bps)


def test_the_portfolio_never_looks_at_labels_and_drops_no_stock_without_one() -> None:
    weights = np.array([[0.5, -0.5], [0.5, -0.5]])
    series = returns_of(weights, np.array([[0.02, np.nan], [np.nan, np.nan]]), 0.0)
    assert series.gross[0] == pytest.approx(0.01)
    assert np.isnan(series.gross[1])


def test_tranches_are_the_mean_of_the_last_targets() -> None:
    targets = np.random.default_rng(0).standard_normal((9, 4))
    held = hold_tranches(targets, 3)
    for day in range(9):
        np.testing.assert_allclose(held[day], targets[max(0, day - 2) : day + 1].sum(axis=0) / 3)


def test_tranche_profit_is_that_of_positions_held_for_the_horizon() -> None:
    """An h-day book marked daily earns what each position earns over its h days."""
    generator = np.random.default_rng(3)
    targets, one_day = generator.standard_normal((30, 5)), generator.standard_normal((30, 5)) * 0.01
    targets[-3:] = 0.0  # so that every position lives out its horizon
    series = returns_of(hold_tranches(targets, 4), one_day, 0.0)
    over_horizon = np.array([one_day[day : day + 4].sum(axis=0) for day in range(27)])
    assert np.nansum(series.gross) == pytest.approx((targets[:27] * over_horizon).sum() / 4)


def test_cost_and_turnover_by_hand() -> None:
    weights = np.array([[0.5, -0.5], [0.5, -0.5], [-0.5, 0.5]])
    series = returns_of(weights, np.full((3, 2), 0.01), cost_bps=10.0)
    np.testing.assert_allclose(series.turnover, [1.0, 0.0, 2.0])
    np.testing.assert_allclose(series.gross - series.net, [0.001, 0.0, 0.002], atol=1e-15)


@given(seed=st.integers(0, 10_000), low=st.floats(0, 50), more=st.floats(0.1, 50))
@settings(max_examples=25, deadline=None)
def test_cost_is_monotone_and_zero_turnover_costs_nothing(
    seed: int, low: float, more: float
) -> None:
    score, alive, returns = draw(seed)
    weights = target_weights(score, alive, PortfolioConfig())
    cheap, dear = (returns_of(weights, returns, c) for c in (low, low + more))
    assert (dear.net < cheap.net).all()
    still = returns_of(np.repeat(weights[:1], 12, axis=0), returns, low + more)
    np.testing.assert_array_equal(still.net[1:], still.gross[1:])


def test_returns_and_turnover_of_each_day_are_as_defined() -> None:
    generator = np.random.default_rng(5)
    weights = generator.standard_normal((50, 7))  # more days than are worked on at once
    weights[20], weights[31, 3:] = 0.0, 0.0
    returns = generator.standard_normal((50, 7)).astype(np.float32)
    returns[generator.random((50, 7)) < 0.3] = np.nan
    returns[31, :3] = np.nan
    found = returns_of(weights, returns, 10.0)
    assert np.flatnonzero(np.isnan(found.gross)).tolist() == [20, 31]  # nothing held is known
    for day in set(range(50)) - {20, 31}:
        assert found.gross[day] == pytest.approx(np.nansum(weights[day] * returns[day]))
        before = weights[day - 1] if day else np.zeros(7)
        assert found.turnover[day] == pytest.approx(np.abs(weights[day] - before).sum())


@given(scored=st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_day_without_a_target_keeps_the_last_one(scored: list[bool]) -> None:
    weights = np.arange(1.0, len(scored) + 1)[:, None] * np.ones((1, 2))
    held = np.zeros(2)
    for day, found in enumerate(carry_forward(weights, np.array(scored))):
        held = weights[day] if scored[day] else held
        np.testing.assert_array_equal(found, held)


def test_targets_are_those_of_each_day_carried_forward() -> None:
    score, alive, _ = draw(7)
    alive[4, 5:] = False
    score[8] = 1.0
    own, has_target = day_weights(score, alive, PortfolioConfig())
    assert np.flatnonzero(~has_target).tolist() == [4, 8]
    found = target_weights(score, alive, PortfolioConfig())
    np.testing.assert_array_equal(found, carry_forward(own, has_target))
    np.testing.assert_array_equal(found[[4, 8]], own[[3, 7]])
    alone = [day_weights(score[d : d + 1], alive[d : d + 1], PortfolioConfig()) for d in range(12)]
    np.testing.assert_array_equal(np.concatenate([weights for weights, _ in alone]), own)


def test_constant_days_ignore_what_is_masked() -> None:
    values = np.array([[1.0, 1.0, 9.0], [1.0, 2.0, 2.0], [3.0, 4.0, 5.0]])
    mask = np.array([[True, True, False], [True, True, True], [False, False, False]])
    np.testing.assert_array_equal(constant_days(values, mask), [True, False, True])


def held_up(executable: Any, listed: Any, one_day: Any) -> Trading:
    """Trading with these days' obstacles, days as rows."""
    free = Trading.without_friction(np.asarray(one_day), DATES)
    return replace(free, executable_DN=np.asarray(executable), listed_DN=np.asarray(listed))


def test_a_position_is_held_through_a_halt_and_takes_the_jump() -> None:
    wished = np.array([[0.5, -0.5], [-0.5, 0.5], [0.0, 0.0], [0.0, 0.0]])
    one_day = [[0.01, 0.0], [0.0, 0.0], [-0.5, 0.0], [0.02, 0.0]]
    executable = [[True, True], [False, True], [True, True], [True, True]]
    trading = held_up(executable, np.ones((4, 2), bool), one_day)
    series = portfolio_returns(wished, trading, 0.0)
    np.testing.assert_allclose(series.gross, [0.005, 0.0, np.nan, np.nan])
    longer = held_up([*executable[:1], [False, True], [False, True], [True, True]],
                     np.ones((4, 2), bool), one_day)  # fmt: skip
    series = portfolio_returns(wished, longer, 0.0)
    np.testing.assert_allclose(series.gross, [0.005, 0.0, -0.25, np.nan])
    np.testing.assert_allclose(series.turnover, [1.0, 1.0, 0.5, 0.5])
    np.testing.assert_allclose(series.blocked, [0.0, 1.0, 0.5, 0.0])


def test_nothing_is_bought_on_a_day_without_a_trade() -> None:
    wished = np.array([[0.5, -0.5], [0.5, -0.5]])
    trading = held_up([[False, True], [True, True]], np.ones((2, 2), bool), np.full((2, 2), 0.1))
    np.testing.assert_allclose(carried_out(wished, trading), [[0.0, -0.5], [0.5, -0.5]])


def test_a_delisting_is_booked_once_costs_nothing_and_leaves_cash() -> None:
    wished = np.array([[0.5, -0.5], [0.5, -0.5], [0.5, -0.5]])
    listed = [[True, True], [False, True], [False, True]]
    trading = held_up(listed, listed, [[-0.3, 0.0], [0.0, 0.0], [0.0, 0.01]])
    series = portfolio_returns(wished, trading, 10.0)
    np.testing.assert_allclose(series.gross, [-0.15, 0.0, -0.005])
    np.testing.assert_allclose(series.turnover, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(series.blocked, 0.0)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_what_is_held_is_what_was_wished_when_it_could_last_be_traded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wished, executable = rng.standard_normal((12, 5)), rng.random((12, 5)) < 0.6
    found = carried_out(wished, held_up(executable, np.ones((12, 5), bool), wished))
    book = np.zeros(5)
    for day in range(12):
        book = np.where(executable[day], wished[day], book)
        np.testing.assert_array_equal(found[day], book)
