"""Which values of a series are known, and prefix sums that pass over those that are not.

Most series are known from their first value on: a window is then full or reaches back too far. Rows
(stocks) with gaps after that are few, and alone pay for counting.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_KNOWN = 0.8
"""Share of a window's values that must be known."""
_CACHED_CELLS = 1 << 14
"""Of a few float64 arrays: several operations in turn find them in the processor's cache."""
_ROUNDING = 2e-14
"""A window sum this small against the largest prefix sum so far is zero up to rounding."""


@dataclass(frozen=True)
class KnownValues:
    """Of a series [N, T]; G of its rows have gaps after their first known value."""

    columns: int
    """T."""
    first_N: NDArray[np.int64]
    """Column of the first known value, T without one."""
    with_gaps: NDArray[np.int64]
    """[G] rows, ascending."""
    known_GT: NDArray[np.bool_]

    @classmethod
    def of(cls, x_NT: Array) -> "KnownValues":
        """What is known of `x_NT`: what is not NaN."""
        columns = x_NT.shape[1]
        known_NT = ~np.isnan(x_NT)
        count_N = np.count_nonzero(known_NT, axis=1)
        first_N = known_NT.argmax(axis=1) if columns else np.zeros(len(x_NT), np.int64)
        first_N = np.where(count_N == 0, columns, first_N)
        with_gaps = np.flatnonzero(count_N < columns - first_N)
        return cls(columns, first_N, with_gaps, known_NT[with_gaps])

    def both(self, other: "KnownValues") -> "KnownValues":
        """Where this and another series are known."""
        first_N = np.maximum(self.first_N, other.first_N)
        rows = np.union1d(self.with_gaps, other.with_gaps)
        if not len(rows):
            return KnownValues(self.columns, first_N, rows, self.known_GT)
        known_GT = self._of_rows(rows) & other._of_rows(rows)
        first_N[rows] = np.where(known_GT.any(axis=1), known_GT.argmax(axis=1), self.columns)
        return KnownValues(self.columns, first_N, rows, known_GT)

    def differing(self, other: "KnownValues") -> NDArray[np.int64]:
        """Rows with gaps, of which another thing is known than in the other series."""
        rows = np.union1d(self.with_gaps, other.with_gaps)
        if not len(rows):
            return rows
        apart_R = (self._of_rows(rows) != other._of_rows(rows)).any(axis=1)
        return np.asarray(rows[apart_R])

    def counts(self, w: int) -> Array:
        """[G, T] known values among the last w columns, of rows with gaps."""
        count_GT = self._counted[:, 1:].copy()
        count_GT[:, w:] -= self._counted[:, 1:-w]
        return count_GT

    def masked(self, statistic_NT: Array, w: int, share: float = LEAST_KNOWN) -> Array:
        """The statistic over w columns; NaN in windows begun too early or known too little."""
        if not self._least and not len(self._late) and not len(self.with_gaps):
            return statistic_NT
        out_NT = statistic_NT.copy()
        self.blank(out_NT, w)
        if len(self.with_gaps):
            enough_GT = self.counts(w) >= share * w
            out_NT[self.with_gaps] = np.where(enough_GT, out_NT[self.with_gaps], np.nan)
        return out_NT

    def blank(self, statistic_NT: Array, w: int) -> None:
        """NaN, in place, in windows of w columns that begin before the first known value."""
        statistic_NT[:, : self._least + w - 1] = np.nan
        for row in self._late:
            statistic_NT[row, : self.first_N[row] + w - 1] = np.nan

    def zero_elsewhere(self, x_NT: Array) -> Array:
        """The series with 0 where it is unknown."""
        if not self.first_N.any() and not len(self.with_gaps):
            return x_NT
        out_NT = x_NT.copy()
        out_NT[:, : self._least] = 0.0
        for row in self._late:
            out_NT[row, : self.first_N[row]] = 0.0
        out_NT[self.with_gaps] = np.where(self.known_GT, out_NT[self.with_gaps], 0.0)
        return out_NT

    def _of_rows(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[rows, T]."""
        known_RT = np.arange(self.columns) >= self.first_N[rows, None]
        inside = np.isin(rows, self.with_gaps)
        known_RT[inside] = self.known_GT[np.searchsorted(self.with_gaps, rows[inside])]
        return known_RT

    @cached_property
    def _least(self) -> int:
        return int(self.first_N.min(initial=self.columns))

    @cached_property
    def _late(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.first_N > self._least)

    @cached_property
    def _counted(self) -> Array:
        """[G, T + 1] known values before each column."""
        counted_GT = np.zeros((len(self.known_GT), self.columns + 1))
        np.cumsum(self.known_GT, axis=1, out=counted_GT[:, 1:])
        return counted_GT


class Prefix:
    """Prefix sums of a series [N, T]."""

    def __init__(self, x_NT: Array, known: KnownValues) -> None:
        self._known = known
        self._sums = np.zeros((len(x_NT), x_NT.shape[1] + 1))
        np.cumsum(known.zero_elsewhere(x_NT), axis=1, out=self._sums[:, 1:])
        self._rounding = np.abs(self._sums)
        np.maximum.accumulate(self._rounding, axis=1, out=self._rounding)
        self._rounding *= _ROUNDING

    def over(self, w: int) -> Array:
        """w times the mean of the known values of the last w columns; NaN where it is not known."""
        rows, columns = self._sums.shape[0], self._sums.shape[1] - 1
        if w > columns:
            return np.full((rows, columns), np.nan)
        out = np.empty((rows, columns))
        step = max(1, _CACHED_CELLS // columns)
        for some in (slice(start, start + step) for start in range(0, rows, step)):
            sums, window = self._sums[some], out[some, w - 1 :]
            np.subtract(sums[:, w:], sums[:, :-w], out=window)
            window[np.abs(window) <= self._rounding[some, w:]] = 0.0
        self._known.blank(out, w)
        if len(gaps := self._known.with_gaps):
            count_GT = self._known.counts(w)
            with np.errstate(divide="ignore", invalid="ignore"):
                scaled_GT = out[gaps] * (w / count_GT)
            out[gaps] = np.where(count_GT >= LEAST_KNOWN * w, scaled_GT, np.nan)
        return out
