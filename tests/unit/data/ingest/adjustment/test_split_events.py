"""Splits in adjustment factors and in columns of splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.data.ingest.adjustment.split_events import (
    RATIOS,
    onto_kept_rows,
    share_factor,
    splits_in_column,
    splits_in_factor,
)

ONE = np.array([0, 40])
"""One stock of 40 rows."""


def quoted(
    ratio: float, dividend: float = 0.0, row: int = 25, seed: int = 0, level: float = 80.0
) -> tuple[np.ndarray, np.ndarray]:
    """Raw and adjusted closes of a walk that splits, and pays a dividend, at `row`."""
    rng = np.random.default_rng(seed)
    adjusted = level * np.exp(np.cumsum(rng.normal(0, 0.015, 40)))
    factor = np.where(np.arange(40) < row, (1 - dividend) / ratio, 1.0)
    return adjusted / factor, adjusted


def found(close: np.ndarray, adjusted: np.ndarray) -> dict[int, float]:
    ratio_R = splits_in_factor(adjusted / close, close, ONE)
    return {int(row): float(ratio_R[row]) for row in np.flatnonzero(ratio_R != 1)}


@pytest.mark.parametrize(
    "ratio", [1.2, 1.25, 1.5, 2, 3, 4, 5, 7, 10, 20, 1 / 2, 1 / 8, 1 / 10, 2 / 3]
)
def test_a_split_is_found_with_its_ratio(ratio: float) -> None:
    assert found(*quoted(ratio)) == {25: pytest.approx(ratio)}


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, len(RATIOS) - 1), row=st.integers(1, 39), seed=st.integers(0, 999))
def test_every_ratio_is_found_wherever_it_is(place: int, row: int, seed: int) -> None:
    assert found(*quoted(RATIOS[place], row=row, seed=seed)) == {row: pytest.approx(RATIOS[place])}


@pytest.mark.parametrize("ratio", [2, 5, 1 / 10])
def test_a_dividend_on_the_day_of_a_split_is_not_part_of_it(ratio: float) -> None:
    assert found(*quoted(ratio, dividend=0.012)) == {25: pytest.approx(ratio)}


@pytest.mark.parametrize("dividend", [0.005, 0.03, 0.11, 1 / 9, 0.28, 0.42])
def test_a_dividend_is_no_split(dividend: float) -> None:
    assert found(*quoted(1.0, dividend)) == {}


def test_a_jump_that_the_close_does_not_follow_is_no_split() -> None:
    close, adjusted = quoted(1.0)
    assert found(close, np.where(np.arange(40) < 25, adjusted / 2, adjusted)) == {}


@pytest.mark.parametrize("level", [0.05, 0.3, 2.0])
def test_cents_make_no_splits(level: float) -> None:
    rng = np.random.default_rng(1)
    close = np.round(level * 40 * np.exp(np.cumsum(rng.normal(0, 0.02, 40))), 2)
    assert found(close, np.round(close / 40, 2)) == {}


def test_cents_hide_no_split() -> None:
    close, adjusted = quoted(2.0, level=0.6)
    assert found(np.round(close, 2), np.round(adjusted, 2)) == {25: 2.0}


def test_another_stock_is_no_split() -> None:
    close = np.array([10.0, 10, 50, 50])
    factor = np.array([1.0, 1, 0.2, 0.2])
    assert (splits_in_factor(factor, close, np.array([0, 2, 4])) == 1).all()


def test_columns_of_splits_in_three_conventions() -> None:
    starts = np.array([0, 4, 7])
    expected = [1, 1, 5, 1, 1, 0.5, 1]
    shares = np.array([0, np.nan, 5, 0, 1, 0.5, 0])
    price = np.array([1, 1, 0.2, 1, np.nan, 2, 1])
    cumulative = np.array([5, np.nan, 1, 1, 0.5, 1, np.nan])
    np.testing.assert_allclose(splits_in_column(shares, "shares", starts), expected)
    np.testing.assert_allclose(splits_in_column(price, "price", starts), expected)
    np.testing.assert_allclose(splits_in_column(cumulative, "cumulative", starts), expected)


def test_a_convention_that_is_not_said_is_the_one_with_more_forward_splits() -> None:
    for factor in (2.0, 0.5):
        column = np.ones(40)
        column[[10, 20, 30]] = [factor, factor, 1 / factor]
        ratio_R = splits_in_column(column, None, ONE)
        np.testing.assert_allclose(ratio_R[[10, 20, 30]], [2, 2, 0.5])
    divisor = np.where(np.arange(40) < 25, 6.0, 3.0)
    np.testing.assert_allclose(splits_in_column(divisor, None, ONE)[25], 2)


def test_share_factors_are_the_inverse_of_all_later_splits() -> None:
    ratio_R = np.array([1, 2, 1, 5, 1, 3, 1], np.float64)
    found = share_factor(ratio_R, np.array([0, 4, 7]))
    np.testing.assert_allclose(found, [0.1, 0.2, 0.2, 1, 1 / 3, 1, 1])


def test_a_split_on_a_row_left_out_happens_on_the_next_row_of_the_stock() -> None:
    ratio_R = np.array([1, 2, 3, 1, 4, 1, 2], np.float64)
    kept_R = np.array([True, False, False, True, False, True, False])
    stock_R = np.array([0, 0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(onto_kept_rows(ratio_R, kept_R, stock_R), [1, 6, 1])
