"""Trailing statistics against the plain definition, window by window."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from atft_hpo.data.features.families.trailing import Trailing, log, ratio, shift

WINDOWS = (2, 3, 5, 8, 11)


def by_hand(x: np.ndarray, w: int, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
    """The statistic of each full window without NaN."""
    out = np.full(x.shape, np.nan)
    for n, t in np.ndindex(x.shape):
        window = x[n, t - w + 1 : t + 1] if t >= w - 1 else np.array([np.nan])
        if not np.isnan(window).any():
            out[n, t] = statistic(window)
    return out


def drifting(seed: int = 0) -> np.ndarray:
    x = np.cumsum(np.random.default_rng(seed).normal(0, 0.02, (3, 60)), axis=1) + 5.0
    x[1, 0] = np.nan
    x[1, 30] = np.nan
    x[2, 41:] = np.nan
    return x


def rows_since_latest_max(window: np.ndarray) -> float:
    return float(np.argmax(window[::-1]))


STATISTICS = {
    "sum": np.sum,
    "mean": np.mean,
    "variance": np.var,
    "std": lambda v: np.std(v, ddof=1),
    "max": np.max,
    "min": np.min,
    "rows_since_max": rows_since_latest_max,
    "rows_since_min": lambda v: rows_since_latest_max(-v),
    "skewness": stats.skew,
    "kurtosis": lambda v: stats.kurtosis(v, fisher=False),
    "slope": lambda v: np.polyfit(np.arange(len(v)), v, 1)[0],
    "time_correlation": lambda v: np.corrcoef(np.arange(len(v)), v)[0, 1],
}


# Skewness and kurtosis of two values are constants; no feature asks for them.
CASES = [(n, w) for n in STATISTICS for w in WINDOWS if w >= 5 or n not in ("skewness", "kurtosis")]


@pytest.mark.parametrize(("name", "w"), CASES)
def test_statistic_equals_its_definition(name: str, w: int) -> None:
    x = drifting()
    found = getattr(Trailing(x), name)(w)
    np.testing.assert_allclose(found, by_hand(x, w, STATISTICS[name]), rtol=1e-6, atol=1e-9)


def test_covariance_and_correlation_of_two_series() -> None:
    x, y = drifting(0), drifting(1)
    joint = x + 1j * y  # one array, so that windows are cut alike

    def covariance(v: np.ndarray) -> float:
        return float(np.cov(v.real, v.imag, ddof=0)[0, 1])

    expected = np.full(x.shape, np.nan)
    for n, t in np.ndindex(x.shape):
        window = joint[n, max(t - 6, 0) : t + 1]
        if t >= 6 and not np.isnan(window).any():
            expected[n, t] = covariance(window)
    a, b = Trailing(x), Trailing(y)
    np.testing.assert_allclose(a.covariance(b, 7), expected, rtol=1e-6, atol=1e-12)
    scale = by_hand(x, 7, np.std) * by_hand(y, 7, np.std)
    np.testing.assert_allclose(a.correlation(b, 7), expected / scale, rtol=1e-6)


def test_ema_is_the_recursion_begun_at_the_first_value() -> None:
    x = drifting()[:1]
    value, expected = x[0, 0], []
    for t in range(x.shape[1]):
        value = value + (x[0, t] - value) * 2 / 11 if t else value
        expected.append(value if t >= 9 else np.nan)
    np.testing.assert_allclose(Trailing(x).ema(10)[0], expected, rtol=1e-12)


def test_window_longer_than_the_series_is_null() -> None:
    x = np.ones((2, 4))
    series = Trailing(x)
    for found in (series.sum(5), series.max(5), series.rows_since_max(9), series.slope(6)):
        assert np.isnan(found).all()
    for rows in (5, 7, 9):
        assert np.isnan(shift(x, rows)).all()


def test_a_flat_window_has_variance_zero_after_any_past() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(0, 3, 50), np.full(10, 0.1)])[None]
    series = Trailing(x)
    assert series.variance(5)[0, -1] == 0
    assert series.std(5)[0, -1] == 0
    assert np.isnan(series.skewness(5)[0, -1])
    assert np.isnan(series.time_correlation(5)[0, -1])


def test_small_moves_are_told_from_rounding() -> None:
    x = 5e-4 * np.random.default_rng(0).standard_normal((1, 200))
    x[0, :20] = 0.05
    found = Trailing(x).kurtosis(60)[0, -1]
    assert found == pytest.approx(stats.kurtosis(x[0, -60:], fisher=False), rel=1e-4)


def test_a_sum_of_zeros_is_zero_after_any_past() -> None:
    x = np.concatenate([np.random.default_rng(0).lognormal(20, 3, 50), np.zeros(10)])[None]
    assert Trailing(x).sum(7)[0, -1] == 0


def test_ratio_and_log_give_nan_instead_of_infinity() -> None:
    a = np.array([[1.0, 0.0, 2.0]])
    np.testing.assert_array_equal(ratio(a, np.array([[0.0, 0.0, 4.0]])), [[np.nan, np.nan, 0.5]])
    np.testing.assert_array_equal(log(np.array([[0.0, -1.0, 1.0]])), [[np.nan, np.nan, 0.0]])


@settings(max_examples=25, deadline=None)
@given(
    x=arrays(np.float64, (2, 24), elements=st.floats(-0.3, 0.3)),
    t=st.integers(0, 22),
    w=st.sampled_from(WINDOWS),
)
def test_nothing_after_t_changes_anything_at_t(x: np.ndarray, t: int, w: int) -> None:
    changed = x.copy()
    changed[:, t + 1 :] = 7.0
    for name in STATISTICS:
        before, after = getattr(Trailing(x), name)(w), getattr(Trailing(changed), name)(w)
        np.testing.assert_array_equal(before[:, : t + 1], after[:, : t + 1])
