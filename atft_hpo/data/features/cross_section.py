"""Percentile ranks among the day's universe, for quantities held as one float32 a row."""

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.array_statistics.ranks import shares_below
from atft_hpo.data.ingest.prices import Prices

_DAYS_AT_ONCE = 128


class CrossSection:
    """Where each row lies in a dense array: its day, and a slot within the day."""

    def __init__(self, prices: Prices) -> None:
        day = prices.day_R.astype(np.int64)
        stocks_D = np.bincount(day, minlength=len(prices.dates))
        self._shape = (len(stocks_D), int(stocks_D.max(initial=0)))
        by_day = np.argsort(day, kind="stable")
        first_D = np.cumsum(stocks_D) - stocks_D
        slot = np.empty(len(day), dtype=np.int64)
        slot[by_day] = np.arange(len(day)) - first_D[day[by_day]]
        self._cell = day * self._shape[1] + slot
        self._member = np.zeros(self._shape, dtype=np.bool_)
        self._member.ravel()[self._cell] = prices.alive_R

    def rank(self, value_R: NDArray[np.float32]) -> None:
        """Replace values by their percentile among the members of the day's universe, in place.

        (members below + ½ members equal) / members with a value: for a member, itself included,
        that is (rank − ½)/n with ties averaged. A row outside the universe gets the percentile
        that a member of the same value has, or would have; it moves no other. NaN where the value
        is not finite or no member has one.
        """
        value_R[~np.isfinite(value_R)] = np.nan
        dense = np.full(self._shape, np.nan, dtype=np.float32)
        dense.ravel()[self._cell] = value_R
        for first in range(0, len(dense), _DAYS_AT_ONCE):
            days = slice(first, first + _DAYS_AT_ONCE)
            dense[days] = shares_below(dense[days], self._member[days])
        value_R[:] = dense.ravel()[self._cell]
