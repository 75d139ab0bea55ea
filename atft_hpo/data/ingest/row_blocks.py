"""Blocks of days: which rows of the table belong to them.

A table may be sorted by stock, by date, or not at all; normalisation needs whole days. Where the
rows of each day are is found once.
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
    """Some days, each with its stocks in S slots: first those of its universe, then the others."""

    first_day: int
    members_D: NDArray[np.int64]
    """How many stocks are in the universe: the first slots."""
    stocks_D: NDArray[np.int64]
    """How many stocks have a row; S is the most."""
    place_DS: NDArray[np.int64]
    """The place of each stock's row, stocks ascending among members and among others; `none` after
    them."""
    stock_DS: NDArray[np.int64]
    """The stock of each slot; 0 after the last."""
    none: int
    """One past the last row."""

    @property
    def member_DS(self) -> NDArray[np.bool_]:  # noqa: N802  (axes)
        """Slots of the universe."""
        return np.arange(self.place_DS.shape[1]) < self.members_D[:, None]

    def dense(self, x_FDS: NDArray[Any], kept: NDArray[np.int64], stocks: int) -> NDArray[Any]:
        """[D, N, F] of the features kept, from slots; cells without a row are 0."""
        x_DNF = np.zeros((len(self.stocks_D), stocks, len(kept)), dtype=x_FDS.dtype)
        kept_FDS = x_FDS if len(kept) == len(x_FDS) else x_FDS[kept]
        for day, (count, stock_S) in enumerate(zip(self.stocks_D, self.stock_DS, strict=True)):
            x_DNF[day, stock_S[:count]] = np.ascontiguousarray(kept_FDS[:, day, :count].T)
        return x_DNF


class Blocks:
    """All days of a table, some at a time."""

    def __init__(self, rows: Rows, row_R: NDArray[np.int64]) -> None:
        """Places count along `row_R`, the table's rows in some order."""
        self.shape = len(rows.dates), len(rows.codes)
        """D, N of the whole table."""
        self.days = max(1, _BLOCK_CELLS // len(rows.codes))
        self._rows = len(row_R)
        self._place_DN = np.full(self.shape, -1, dtype=np.int32)
        self._place_DN[rows.day_R[row_R], rows.stock_R[row_R]] = np.arange(len(row_R))
        self._alive_DN = np.zeros(self.shape, dtype=np.bool_)
        self._alive_DN[rows.day_R, rows.stock_R] = rows.alive_R

    def __len__(self) -> int:
        return -(-len(self._place_DN) // self.days)

    def __getitem__(self, number: int) -> Block:
        first_day = number * self.days
        days = slice(first_day, first_day + self.days)
        place_DN, alive_DN = self._place_DN[days], self._alive_DN[days]
        present_DN = place_DN >= 0
        members_D, stocks_D = alive_DN.sum(axis=1), present_DN.sum(axis=1)
        place_DS = np.full((len(stocks_D), stocks_D.max()), self._rows, dtype=np.int64)
        stock_DS = np.zeros_like(place_DS)
        slot_S = np.arange(place_DS.shape[1])
        for wanted_DN, first_D, stop_D in (
            (alive_DN, np.zeros_like(members_D), members_D),
            (present_DN & ~alive_DN, members_D, stocks_D),
        ):
            slots = (slot_S >= first_D[:, None]) & (slot_S < stop_D[:, None])
            place_DS[slots] = place_DN[wanted_DN]
            stock_DS[slots] = np.nonzero(wanted_DN)[1]
        return Block(first_day, members_D, stocks_D, place_DS, stock_DS, self._rows)
