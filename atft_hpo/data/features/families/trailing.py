"""Trailing statistics of a daily series, for a block of stocks at once.

A block is [N, T]: row n holds the T own rows of stock n, oldest first, NaN after its last row (and
wherever a value is unknown). Every statistic at column t reads columns ≤ t of its own row only;
a window that is not full, or that holds a NaN, gives NaN.

Sums are differences of prefix sums and maxima come from windows of doubled width, so the cost of a
window does not depend on its length. Each is computed once and kept: a `Trailing` lives as long as
its block. What rounding leaves of an exact zero is set to zero, so that 0/0 is NaN and not noise.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Array = NDArray[np.float64]

_ROUNDING = 2e-14
"""A window sum this small against the largest prefix sum so far is zero up to rounding."""
_LEAST_VARIANCE = 1e-11
"""Variances below are zero up to rounding: the series are logarithms and returns, of order .01."""


def shift(x_NT: Array, rows: int) -> Array:
    """The value `rows` rows before; NaN where there is none."""
    out_NT = np.full_like(x_NT, np.nan)
    out_NT[:, rows:] = x_NT[:, : max(x_NT.shape[1] - rows, 0)]
    return out_NT


def ratio(a_NT: Array, b_NT: Array) -> Array:
    """a / b; NaN where b is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b_NT == 0, np.nan, a_NT / b_NT)


def log(x_NT: Array) -> Array:
    """Natural logarithm; NaN where x ≤ 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x_NT > 0, np.log(x_NT), np.nan)


class Trailing:
    """A series x [N, T] with its trailing statistics over windows of w rows."""

    def __init__(self, x_NT: Array) -> None:
        self.x = x_NT
        self._kept: dict[Any, Any] = {}

    def lag(self, rows: int) -> Array:
        """x[t − rows]."""
        return shift(self.x, rows)

    def change(self, rows: int) -> Array:
        """x[t] − x[t − rows]."""
        return self.x - shift(self.x, rows)

    def sum(self, w: int) -> Array:
        """Σ over the last w rows."""
        return self._keep(("sum", w), lambda: self._sums.over(w))

    def mean(self, w: int) -> Array:
        """Mean over the last w rows."""
        return self.sum(w) / w

    def variance(self, w: int) -> Array:
        """Population variance over the last w rows; exactly 0 where only rounding is left."""
        return self._keep(("variance", w), lambda: np.maximum(self.covariance(self, w), 0.0))

    def std(self, w: int) -> Array:
        """Sample standard deviation over the last w ≥ 2 rows."""
        return np.sqrt(self.variance(w) * (w / (w - 1)))

    def covariance(self, other: "Trailing", w: int) -> Array:
        """Population covariance with another series of the same block over the last w rows."""
        return self._keep(("covariance", id(other), w), lambda: self._covariance(other, w))

    def correlation(self, other: "Trailing", w: int) -> Array:
        """Pearson correlation with another series over the last w rows."""
        scale = np.sqrt(self.variance(w) * other.variance(w))
        return np.clip(ratio(self.covariance(other, w), scale), -1.0, 1.0)

    def skewness(self, w: int) -> Array:
        """Third standardised moment over the last w rows."""
        m1, m2, m3 = (self._moment(k, w) for k in (1, 2, 3))
        variance = self.variance(w)
        return ratio(m3 - m1 * (3 * m2 - 2 * m1 * m1), variance * np.sqrt(variance))

    def kurtosis(self, w: int) -> Array:
        """Fourth standardised moment over the last w rows (3 for a normal)."""
        m1, m2, m3, m4 = (self._moment(k, w) for k in (1, 2, 3, 4))
        square = m1 * m1
        return ratio(m4 - 4 * m1 * m3 + square * (6 * m2 - 3 * square), self.variance(w) ** 2)

    def max(self, w: int) -> Array:
        """Largest value of the last w rows."""
        return self._keep(("max", w), lambda: self._max(w))

    def min(self, w: int) -> Array:
        """Smallest value of the last w rows."""
        return -self._negative.max(w)

    def rows_since_max(self, w: int) -> Array:
        """Rows since the (latest) largest value of the last w rows: 0 … w − 1."""
        half = _power_of_two(w)
        value, age = self._doubled(half)
        return np.where(np.isnan(self.max(w)), np.nan, _older(value, age, w - half)[1])

    def rows_since_min(self, w: int) -> Array:
        """Rows since the (latest) smallest value of the last w rows: 0 … w − 1."""
        return self._negative.rows_since_max(w)

    def ema(self, span: int) -> Array:
        """Exponential average of weight 2/(span+1), begun at row 0; NaN for span − 1 rows.

        The series must have no NaN before its stock's last row.
        """
        return self._keep(("ema", span), lambda: self._ema(span))

    def slope(self, w: int) -> Array:
        """Least-squares slope on time over the last w rows, per row."""
        return self._time_covariance(w) * (12.0 / (w**2 - 1))

    def time_correlation(self, w: int) -> Array:
        """Correlation with time over the last w rows; its square is R² of the trend."""
        scale = np.sqrt(self.variance(w) * ((w**2 - 1) / 12.0))
        return np.clip(ratio(self._time_covariance(w), scale), -1.0, 1.0)

    @cached_property
    def _first(self) -> Array:
        """[N, 1] first known value of each stock, 0 without one."""
        if self.x.shape[1] == 0:
            return np.zeros((len(self.x), 1))
        known = ~np.isnan(self.x)
        first = np.take_along_axis(self.x, known.argmax(axis=1)[:, None], axis=1)
        return np.nan_to_num(first, nan=0.0)

    @cached_property
    def _centred(self) -> Array:
        # Squares of levels would drown the variance of a short window in rounding.
        return self.x - self._first

    @cached_property
    def _sums(self) -> "_Prefix":
        return _Prefix(self.x)

    @cached_property
    def _negative(self) -> "Trailing":
        return Trailing(-self.x)

    def _keep(self, key: Any, compute: Any) -> Array:
        if key not in self._kept:
            self._kept[key] = compute()
        found: Array = self._kept[key]
        return found

    def _prefix(self, key: Any, compute: Any) -> "_Prefix":
        if key not in self._kept:
            self._kept[key] = _Prefix(compute())
        found: _Prefix = self._kept[key]
        return found

    def _moment(self, power: int, w: int) -> Array:
        """Mean of the centred series' power over the last w rows."""
        prefix = self._prefix(("power", power), lambda: self._power(power))
        return prefix.over(w) / w

    def _power(self, power: int) -> Array:
        # numpy's own power is some twenty times slower than products.
        return self._centred if power == 1 else self._power(power - 1) * self._centred

    def _covariance(self, other: "Trailing", w: int) -> Array:
        product = self._prefix(("product", id(other)), lambda: self._centred * other._centred)
        out = product.over(w) / w - self._moment(1, w) * other._moment(1, w)
        return np.where(np.abs(out) < _LEAST_VARIANCE, 0.0, out)

    def _time_covariance(self, w: int) -> Array:
        time = np.arange(self.x.shape[1], dtype=np.float64)
        weighted = self._prefix("time", lambda: self._centred * time).over(w) / w
        return weighted - (time - (w - 1) / 2) * self._moment(1, w)

    def _max(self, w: int) -> Array:
        half = _power_of_two(w)
        if half == w:
            lower = self.max(w // 2) if w > 1 else self.x
            return np.maximum(lower, shift(lower, w // 2)) if w > 1 else lower
        return np.maximum(self.max(half), shift(self.max(half), w - half))

    def _doubled(self, w: int) -> tuple[Array, Array]:
        """Maximum and its age for a window of w rows, a power of two."""
        if ("doubled", w) not in self._kept:
            if w == 1:
                self._kept["doubled", w] = self.x, np.zeros_like(self.x)
            else:
                self._kept["doubled", w] = _older(*self._doubled(w // 2), w // 2)
        found: tuple[Array, Array] = self._kept["doubled", w]
        return found

    def _ema(self, span: int) -> Array:
        weight = 2.0 / (span + 1)
        # Centred on the first value, the filter starts at rest.
        out: Array = lfilter([weight], [1.0, weight - 1.0], self._centred, axis=1) + self._first
        out[:, : span - 1] = np.nan
        return out


class _Prefix:
    """Prefix sums of a series [N, T], and how many known values in a row end at each column."""

    def __init__(self, x_NT: Array) -> None:
        stocks, rows = x_NT.shape[0], x_NT.shape[1]
        gaps = np.isnan(x_NT)
        self._sums = np.zeros((stocks, rows + 1))
        np.cumsum(np.where(gaps, 0.0, x_NT), axis=1, out=self._sums[:, 1:])
        self._rounding = np.maximum.accumulate(np.abs(self._sums), axis=1) * _ROUNDING
        place = np.arange(1, rows + 1, dtype=np.int32)
        last_gap = np.maximum.accumulate(np.where(gaps, place, 0), axis=1)
        self._known_run: NDArray[np.int32] = place - last_gap

    def over(self, w: int) -> Array:
        """Sums of the last w rows; NaN where one of them is unknown."""
        out = np.full(self._known_run.shape, np.nan)
        if w > self._sums.shape[1] - 1:
            return out
        window = self._sums[:, w:] - self._sums[:, :-w]
        window[np.abs(window) <= self._rounding[:, w:]] = 0.0
        window[self._known_run[:, w - 1 :] < w] = np.nan
        out[:, w - 1 :] = window
        return out


def _power_of_two(w: int) -> int:
    """The largest power of two ≤ w."""
    return 1 << (w.bit_length() - 1)


def _older(value: Array, age: Array, rows: int) -> tuple[Array, Array]:
    """The larger of a window and the one `rows` before it, with its age; the later one on ties."""
    before = shift(value, rows)
    older = before > value
    return np.where(older, before, value), np.where(older, shift(age, rows) + rows, age)
