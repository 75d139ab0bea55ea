"""Blocks of days: which rows of the table belong to them.

A table may be sorted by stock, by date, or not at all; normalisation needs whole days. The live
rows of each day are found once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.table import Rows

_BLOCK_CELLS = 1 << 15
"""(day, stock) cells of a block: one feature of it stays in the processor's cache."""


@dataclass(frozen=True)
class Block:
    """Some days, each with its live stocks in S slots."""

    first_day: int
    stocks_D: NDArray[np.int64]
    """How many stocks are alive; S is the most."""
    rows_DS: NDArray[np.int64]
    """The table's row of each live stock, stocks ascending; one past the last row after them."""
    live_DN: NDArray[np.bool_]

    def dense(self, x_FDS: NDArray[Any], kept: NDArray[np.int64]) -> NDArray[Any]:
        """[D, N, F] of the features kept, from slots; dead cells 0."""
        x_DNF = np.zeros((*self.live_DN.shape, len(kept)), dtype=x_FDS.dtype)
        for day, (stocks, live_N) in enumerate(zip(self.stocks_D, self.live_DN, strict=True)):
            x_DNF[day, live_N] = np.ascontiguousarray(x_FDS[kept, day, :stocks].T)
        return x_DNF


class Blocks:
    """All days of a table, some at a time."""

    def __init__(self, rows: Rows) -> None:
        self._rows = len(rows.day_R)
        self._row_DN = np.full((len(rows.dates), len(rows.codes)), -1, dtype=np.int32)
        alive_R = np.flatnonzero(rows.alive_R)
        self._row_DN[rows.day_R[alive_R], rows.stock_R[alive_R]] = alive_R
        self.shape = self._row_DN.shape
        """D, N of the whole table."""
        self.days = max(1, _BLOCK_CELLS // len(rows.codes))

    def __len__(self) -> int:
        return -(-len(self._row_DN) // self.days)

    def cells(self, number: int) -> int:
        """Days × slots of a block."""
        return int(self[number].rows_DS.size)

    def __getitem__(self, number: int) -> Block:
        first_day = number * self.days
        row_DN = self._row_DN[first_day : first_day + self.days]
        live_DN = row_DN >= 0
        stocks_D = live_DN.sum(axis=1)
        rows_DS = np.full((len(stocks_D), stocks_D.max()), self._rows, dtype=np.int64)
        rows_DS[np.arange(rows_DS.shape[1]) < stocks_D[:, None]] = row_DN[live_DN]
        return Block(first_day, stocks_D, rows_DS, live_DN)
