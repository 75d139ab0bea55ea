"""Windows against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atft_hpo.data.array_statistics.rolling import trailing_max, trailing_sum, trailing_volatility

windows = st.integers(1, 40)
seeds = st.integers(0, 10_000)


def plain(values_DN: np.ndarray, window: int, reduce) -> np.ndarray:  # type: ignore[no-untyped-def]
    days = range(len(values_DN))
    return np.array([reduce(values_DN[max(0, d - window + 1) : d + 1], axis=0) for d in days])


@given(windows, seeds, st.integers(1, 50))
def test_windows_equal_a_plain_loop(window: int, seed: int, days: int) -> None:
    values_DN = np.random.default_rng(seed).normal(size=(days, 3))
    before = values_DN.copy()
    np.testing.assert_allclose(trailing_sum(values_DN, window), plain(values_DN, window, np.sum))
    np.testing.assert_array_equal(trailing_max(values_DN, window), plain(values_DN, window, np.max))
    np.testing.assert_array_equal(values_DN, before)


@given(windows, seeds, st.integers(0, 20))
def test_a_day_is_bitwise_the_same_wherever_the_series_was_cut(
    window: int, seed: int, cut: int
) -> None:
    values_DN = np.random.default_rng(seed).normal(size=(80, 2))
    np.testing.assert_array_equal(
        trailing_sum(values_DN[cut:], window)[window - 1 :],
        trailing_sum(values_DN, window)[cut + window - 1 :],
    )


@pytest.mark.parametrize("window", [3, 20])
def test_a_huge_value_leaves_nothing_behind(window: int) -> None:
    values_DN = np.zeros((60, 1))
    values_DN[5] = 1e12
    values_DN[6] = 0.1
    assert (trailing_sum(values_DN, window)[6 + window :] == 0.0).all()
    assert trailing_sum(values_DN, window)[5 + window, 0] == 0.1


def test_trailing_volatility_is_known_at_the_day_and_needs_half_a_window() -> None:
    returns = np.random.default_rng(0).standard_normal((80, 3)) * 0.01
    returns[10, 0] = np.nan
    found = trailing_volatility(returns, 20)
    assert np.isnan(found[8]).all()
    np.testing.assert_allclose(found[40, 1], np.sqrt((returns[21:41, 1] ** 2).mean()))
    np.testing.assert_allclose(found[15, 0], np.sqrt(np.nanmean(returns[:16, 0] ** 2)))
    later = returns.copy()
    later[41:] = 5.0
    np.testing.assert_array_equal(trailing_volatility(later, 20)[:41], found[:41])
