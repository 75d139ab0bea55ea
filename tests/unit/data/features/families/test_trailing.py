"""Trailing statistics against the plain definition, window by window."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from atft_hpo.data.features.families.known_values import LEAST_KNOWN, KnownValues
from atft_hpo.data.features.families.trailing import Trailing, log, ratio, shift

WINDOWS = (2, 3, 5, 8, 11)


def by_hand(
    x: np.ndarray, w: int, statistic: Callable[[np.ndarray], float], share: float = LEAST_KNOWN
) -> np.ndarray:
    """The statistic of the known values of each window that the series has reached, if enough."""
    out = np.full(x.shape, np.nan)
    for n, t in np.ndindex(x.shape):
        known = ~np.isnan(x[n])
        inside = known[max(t - w + 1, 0) : t + 1]
        if known.any() and t - w + 1 >= known.argmax() and inside.sum() >= share * w:
            out[n, t] = statistic(x[n, t - w + 1 : t + 1][inside])
    return out


def drifting(seed: int = 0) -> np.ndarray:
    x = np.cumsum(np.random.default_rng(seed).normal(0, 0.02, (3, 60)), axis=1) + 5.0
    x[1, 0] = np.nan
    x[1, [30, 33]] = np.nan
    x[2, 41:50] = np.nan
    return x


def rows_since_latest_max(window: np.ndarray) -> float:
    return float(np.argmax(window[::-1]))


STATISTICS = {
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


WANT_ALL = {"max", "min", "rows_since_max", "rows_since_min", "slope", "time_correlation"}
"""Statistics that want every value of the window."""


# Skewness and kurtosis of two values are constants; no feature asks for them.
CASES = [(n, w) for n in STATISTICS for w in WINDOWS if w >= 5 or n not in ("skewness", "kurtosis")]


@pytest.mark.parametrize(("name", "w"), CASES)
def test_statistic_equals_its_definition(name: str, w: int) -> None:
    x = drifting()
    found = getattr(Trailing(x), name)(w)
    share = 1.0 if name in WANT_ALL else LEAST_KNOWN
    expected = by_hand(x, w, STATISTICS[name], share)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("w", WINDOWS)
def test_a_sum_is_w_times_the_mean_of_what_is_known(w: int) -> None:
    x = drifting()
    np.testing.assert_allclose(Trailing(x).sum(w), w * by_hand(x, w, np.mean), rtol=1e-9)


def test_one_unknown_value_of_a_long_window_changes_little_and_nulls_nothing() -> None:
    x = np.random.default_rng(3).normal(1, 0.1, (2, 300))
    gappy = x.copy()
    gappy[:, 150] = np.nan
    for statistic in ("mean", "std"):
        before = getattr(Trailing(x), statistic)(120)
        after = getattr(Trailing(gappy), statistic)(120)
        np.testing.assert_array_equal(np.isnan(after), np.isnan(before))
        np.testing.assert_allclose(after, before, rtol=0.02)
        np.testing.assert_allclose(after[:, :150], before[:, :150], rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), stop=st.integers(1, 40))
def test_what_comes_later_changes_nothing_whatever_is_unknown(seed: int, stop: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 3, 40))
    x[rng.random(x.shape) < 0.15], y[rng.random(y.shape) < 0.1] = np.nan, np.nan
    for w in (1, 3, 5, 10):
        whole, cut = Trailing(x), Trailing(x[:, :stop])
        others = Trailing(y), Trailing(y[:, :stop])
        pairs = [(whole.sum(w), cut.sum(w)), (whole.variance(w), cut.variance(w))]
        pairs.append((whole.correlation(others[0], w), cut.correlation(others[1], w)))
        sums = others[0].sum(w), others[1].sum(w)
        pairs.append((whole.where_known(sums[0], w), cut.where_known(sums[1], w)))
        for later, found in pairs:
            np.testing.assert_allclose(later[:, :stop], found, rtol=1e-6, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_what_is_known_of_two_series_is_what_is_known_of_both(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 4, 12))
    x[rng.random(x.shape) < 0.3], y[rng.random(y.shape) < 0.1] = np.nan, np.nan
    y[0, :3] = np.nan
    one, other, expected = KnownValues.of(x), KnownValues.of(y), KnownValues.of(x + y)
    both = one.both(other)
    np.testing.assert_array_equal(both.first_N, expected.first_N)
    filled = both.zero_elsewhere(np.ones_like(x)) != 0
    np.testing.assert_array_equal(filled, ~np.isnan(x + y))
    gaps = np.union1d(one.with_gaps, other.with_gaps)
    apart = np.flatnonzero((np.isnan(x) != np.isnan(y)).any(axis=1))
    np.testing.assert_array_equal(one.differing(other), np.intersect1d(gaps, apart))


def test_covariance_and_correlation_of_two_series() -> None:
    x, y = drifting(0), drifting(1)
    y[1, [12, 35]] = np.nan  # gaps of its own
    y[0, 20] = np.nan
    joint = x + 1j * y  # one array, so that windows are cut alike

    def covariance(v: np.ndarray) -> float:
        return float(np.cov(v.real, v.imag, ddof=0)[0, 1])

    def correlation(v: np.ndarray) -> float:
        return float(np.corrcoef(v.real, v.imag)[0, 1])

    a, b = Trailing(x), Trailing(y)
    for w in (7, 10):
        expected = by_hand(joint, w, covariance)
        np.testing.assert_allclose(a.covariance(b, w), expected, rtol=1e-6, atol=1e-12)
        expected = by_hand(joint, w, correlation)
        np.testing.assert_allclose(a.correlation(b, w), expected, rtol=1e-6)


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
