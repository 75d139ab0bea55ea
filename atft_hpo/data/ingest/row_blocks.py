"""Blocks of days: which rows of the table belong to them.

A table may be sorted by stock, by date, or not at all; normalisation needs whole days. Where the
live rows of each day are is found once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.ingest.table import Rows

_BLOCK_CELLS = 1 << 15
"""(day, stock) cells of a block: one feature of it stays in the processor's cache."""


@dataclass(frozen=True)
class Block:
    """Some days, each with its live stocks in S slots."""

    first_day: int
    stocks_D: NDArray[np.int64]
    """How many stocks are alive; S is the most."""
    place_DS: NDArray[np.int64]
    """The place of each live stock's row, stocks ascending; one past the last row after them."""
    live_DN: NDArray[np.bool_]

    def dense(self, x_FDS: NDArray[Any], kept: NDArray[np.int64]) -> NDArray[Any]:
        """[D, N, F] of the features kept, from slots; dead cells 0."""
        x_DNF = np.zeros((*self.live_DN.shape, len(kept)), dtype=x_FDS.dtype)
        for day, (stocks, live_N) in enumerate(zip(self.stocks_D, self.live_DN, strict=True)):
            x_DNF[day, live_N] = np.ascontiguousarray(x_FDS[kept, day, :stocks].T)
        return x_DNF


class Blocks:
    """All days of a table, some at a time."""

    def __init__(self, rows: Rows, row_R: NDArray[np.int64]) -> None:
        """Places count along `row_R`, the table's rows in some order."""
        self.shape = len(rows.dates), len(rows.codes)
        """D, N of the whole table."""
        self.days = max(1, _BLOCK_CELLS // len(rows.codes))
        self._rows = len(row_R)
        place_R = np.flatnonzero(rows.alive_R[row_R])
        alive_R = row_R[place_R]
        self._place_DN = np.full(self.shape, -1, dtype=np.int32)
        self._place_DN[rows.day_R[alive_R], rows.stock_R[alive_R]] = place_R

    def __len__(self) -> int:
        return -(-len(self._place_DN) // self.days)

    def __getitem__(self, number: int) -> Block:
        first_day = number * self.days
        place_DN = self._place_DN[first_day : first_day + self.days]
        live_DN = place_DN >= 0
        stocks_D = live_DN.sum(axis=1)
        place_DS = np.full((len(stocks_D), stocks_D.max()), self._rows, dtype=np.int64)
        place_DS[np.arange(place_DS.shape[1]) < stocks_D[:, None]] = place_DN[live_DN]
        return Block(first_day, stocks_D, place_DS, live_DN)
