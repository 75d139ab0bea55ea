"""Percentile ranks among the day's universe, for quantities held as one float32 a row."""

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.array_statistics.ranks import average_ranks
from atft_hpo.data.ingest.prices import Prices

_DAYS_AT_ONCE = 128


class CrossSection:
    """Where each row of the universe lies in a dense array: its day, and a slot within the day."""

    def __init__(self, prices: Prices) -> None:
        self._rows = np.flatnonzero(prices.alive_R)
        self._outside = ~prices.alive_R
        day = prices.day_R[self._rows].astype(np.int64)
        stocks_D = np.bincount(day, minlength=len(prices.dates))
        self._shape = (len(stocks_D), int(stocks_D.max(initial=0)))
        by_day = np.argsort(day, kind="stable")
        first_D = np.cumsum(stocks_D) - stocks_D
        slot = np.empty(len(day), dtype=np.int64)
        slot[by_day] = np.arange(len(day)) - first_D[day[by_day]]
        self._cell = day * self._shape[1] + slot

    def rank(self, value_R: NDArray[np.float32]) -> None:
        """Replace values by (rank − ½)/n in place: ties averaged, n = known values of the day.

        Rows outside the universe, and values that are not finite, become NaN and take no rank.
        """
        value_R[~np.isfinite(value_R)] = np.nan
        dense = np.full(self._shape, np.nan, dtype=np.float32)
        dense.ravel()[self._cell] = value_R[self._rows]
        for first in range(0, len(dense), _DAYS_AT_ONCE):
            days = dense[first : first + _DAYS_AT_ONCE]
            known = (~np.isnan(days)).sum(axis=1, keepdims=True, dtype=np.int32)
            days[:] = (average_ranks(days) - np.float32(0.5)) / np.maximum(known, 1)
        value_R[self._outside] = np.nan
        value_R[self._rows] = dense.ravel()[self._cell]
