"""Trailing statistics of a daily series, for a block of stocks at once.

A block is [N, T]: row n holds the T own rows of stock n, oldest first; what stands after its last
row has no meaning, nor has a result there. NaN is a value that is unknown. Every statistic at
column t reads columns ≤ t of its own row only. A window that reaches back beyond the first known
value of the series gives NaN. Sums, means, moments, covariances and correlations pass over values
that are unknown later on, as long as LEAST_KNOWN of the window is known: they are taken over the
known values, and a sum is w times their mean. All other statistics want every value of the window.

Sums are differences of prefix sums and maxima come from windows of doubled width, so the cost of a
window does not depend on its length. Each is computed once and kept: a `Trailing` lives as long as
its block. What rounding leaves of an exact zero is set to zero, so that 0/0 is NaN and not noise.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from atft_hpo.data.features.families.known_values import KnownValues, Prefix

Array = NDArray[np.float64]

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
        out_NT = np.asarray(a_NT / b_NT)
    out_NT[b_NT == 0] = np.nan
    return out_NT


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
        square = self.variance(w) * (w / (w - 1))
        if len(rows := self._known.with_gaps):
            count_GT = np.maximum(self._known.counts(w), 2)
            square[rows] = self.variance(w)[rows] * (count_GT / (count_GT - 1))
        return np.sqrt(square, out=square)

    def covariance(self, other: "Trailing", w: int) -> Array:
        """Population covariance with another series of the same block over the last w rows.

        Over the rows of which both are known, where one of them has gaps.
        """
        return self._keep(("covariance", id(other), w), lambda: self._covariance(other, w))

    def correlation(self, other: "Trailing", w: int) -> Array:
        """Pearson correlation with another series over the last w rows, with gaps as above."""
        scale = np.sqrt(self.variance(w) * other.variance(w))
        out = np.clip(ratio(self.covariance(other, w), scale), -1.0, 1.0)
        if pair := self._pair(other):
            rows, mine, others = pair
            out[rows] = mine.correlation(others, w)
        return out

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

        The series must be known from row 0 on: a NaN is one for all rows after it.
        """
        return self._keep(("ema", span), lambda: self._ema(span))

    def slope(self, w: int) -> Array:
        """Least-squares slope on time over the last w rows, per row."""
        return self._time_covariance(w) * (12.0 / (w**2 - 1))

    def time_correlation(self, w: int) -> Array:
        """Correlation with time over the last w rows; its square is R² of the trend."""
        scale = np.sqrt(self.variance(w) * ((w**2 - 1) / 12.0))
        return np.clip(ratio(self._time_covariance(w), scale), -1.0, 1.0)

    def where_known(self, statistic_NT: Array, w: int) -> Array:
        """`statistic_NT`, NaN where too little of this series is known in the last w rows."""
        return self._known.masked(statistic_NT, w)

    @cached_property
    def _known(self) -> KnownValues:
        return KnownValues.of(self.x)

    @cached_property
    def _first(self) -> Array:
        """[N, 1] first known value of each stock, 0 without one."""
        if self.x.shape[1] == 0:
            return np.zeros((len(self.x), 1))
        place = np.minimum(self._known.first_N, self.x.shape[1] - 1)
        first_N = self.x[np.arange(len(self.x)), place]
        return np.asarray(np.nan_to_num(first_N[:, None], nan=0.0))

    @cached_property
    def _centred(self) -> Array:
        # Squares of levels would drown the variance of a short window in rounding.
        return self.x - self._first

    @cached_property
    def _sums(self) -> Prefix:
        return Prefix(self.x, self._known)

    @cached_property
    def _negative(self) -> "Trailing":
        return Trailing(-self.x)

    def _keep(self, key: Any, compute: Any) -> Array:
        if key not in self._kept:
            self._kept[key] = compute()
        found: Array = self._kept[key]
        return found

    def _prefix(self, key: Any, compute: Any) -> Prefix:
        if key not in self._kept:
            self._kept[key] = Prefix(*compute())
        found: Prefix = self._kept[key]
        return found

    def _moment(self, power: int, w: int) -> Array:
        """Mean of the centred series' power over the last w rows."""

        def mean() -> Array:
            prefix = self._prefix(("power", power), lambda: (self._power(power), self._known))
            return prefix.over(w) / w

        return self._keep(("moment", power, w), mean)

    def _power(self, power: int) -> Array:
        # numpy's own power is some twenty times slower than products.
        return self._centred if power == 1 else self._power(power - 1) * self._centred

    def _covariance(self, other: "Trailing", w: int) -> Array:
        known = self._known if other is self else self._known.both(other._known)
        product = self._prefix(
            ("product", id(other)), lambda: (self._centred * other._centred, known)
        )
        out = product.over(w) / w - self._moment(1, w) * other._moment(1, w)
        out[np.abs(out) < _LEAST_VARIANCE] = 0.0
        if pair := self._pair(other):
            rows, mine, others = pair
            out[rows] = mine.covariance(others, w)
        return out

    def _pair(self, other: "Trailing") -> "tuple[NDArray[np.int64], Trailing, Trailing] | None":
        """The rows where one series has gaps that the other has not, and both without those cells.

        None where the same is known of both: means of one are then over the cells of the product.
        """
        if other is self:
            return None
        rows = self._known.differing(other._known)
        if not len(rows):
            return None

        def pair() -> tuple[Trailing, Trailing]:
            unknown = np.isnan(self.x[rows]) | np.isnan(other.x[rows])
            mine, others = (np.where(unknown, np.nan, s.x[rows]) for s in (self, other))
            return Trailing(mine), Trailing(others)

        return (rows, *self._keep(("pair", id(other)), pair))

    def _time_covariance(self, w: int) -> Array:
        time = np.arange(self.x.shape[1], dtype=np.float64)
        prefix = self._prefix("time", lambda: (self._centred * time, self._known))
        out = prefix.over(w) / w - (time - (w - 1) / 2) * self._moment(1, w)
        return self._known.masked(out, w, share=1.0)

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


def _power_of_two(w: int) -> int:
    """The largest power of two ≤ w."""
    return 1 << (w.bit_length() - 1)


def _older(value: Array, age: Array, rows: int) -> tuple[Array, Array]:
    """The larger of a window and the one `rows` before it, with its age; the later one on ties."""
    before = shift(value, rows)
    older = before > value
    return np.where(older, before, value), np.where(older, shift(age, rows) + rows, age)
