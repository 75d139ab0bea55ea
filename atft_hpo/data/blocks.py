"""Blocks of days: which rows of the table belong to them, and their unfinished features on disk.

A table may be sorted by stock, by date, or not at all; normalisation needs whole days, and the
store wants all features of a cell side by side. `Blocks` finds the rows of each day once, `Spill`
keeps normalised columns, in the store's 16 bits, until all of them are there.
"""

from dataclasses import dataclass
from pathlib import Path
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

    def dense(self, x_DSF: NDArray[Any]) -> NDArray[Any]:
        """[D, N, F] from slots; dead cells 0."""
        x_DNF = np.zeros((*self.live_DN.shape, x_DSF.shape[-1]), dtype=x_DSF.dtype)
        for live_N, stocks, x_SF, x_NF in zip(
            self.live_DN, self.stocks_D, x_DSF, x_DNF, strict=True
        ):
            x_NF[live_N] = x_SF[:stocks]
        return x_DNF


class Blocks:
    """All days of a table, some at a time."""

    def __init__(self, rows: Rows) -> None:
        self._rows = len(rows.day_R)
        self._row_DN = np.full((len(rows.dates), len(rows.codes)), -1, dtype=np.int32)
        alive_R = np.flatnonzero(rows.alive_R)
        self._row_DN[rows.day_R[alive_R], rows.stock_R[alive_R]] = alive_R
        self.days = max(1, _BLOCK_CELLS // len(rows.codes))

    def __len__(self) -> int:
        return -(-len(self._row_DN) // self.days)

    def __getitem__(self, number: int) -> Block:
        first_day = number * self.days
        row_DN = self._row_DN[first_day : first_day + self.days]
        live_DN = row_DN >= 0
        stocks_D = live_DN.sum(axis=1)
        rows_DS = np.full((len(stocks_D), stocks_D.max()), self._rows, dtype=np.int64)
        rows_DS[np.arange(rows_DS.shape[1]) < stocks_D[:, None]] = row_DN[live_DN]
        return Block(first_day, stocks_D, rows_DS, live_DN)


class Spill:
    """Normalised columns in one file per block, [F, D, S], written some columns at a time."""

    def __init__(self, folder: Path, blocks: Blocks) -> None:
        self._folder = folder
        self._blocks = blocks

    def write(self, number: int, first_column: int, bits_FDS: NDArray[np.uint16]) -> None:
        """Columns from `first_column` on of a block."""
        path = self._path(number)
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(first_column * bits_FDS[0].nbytes)
            file.write(bits_FDS.data)

    def read(self, number: int) -> NDArray[np.uint16]:
        """All columns of a block, [F, D, S]."""
        shape = self._blocks[number].rows_DS.shape
        return np.fromfile(self._path(number), dtype=np.uint16).reshape(-1, *shape)

    def holds(self, numbers: range, columns: int) -> bool:
        """Whether the files of these blocks have as many columns."""
        return all(
            self._path(number).is_file()
            and self._path(number).stat().st_size >= 2 * columns * self._blocks[number].rows_DS.size
            for number in numbers
        )

    def drop(self, numbers: range) -> None:
        """Remove the files of these blocks, if they are there."""
        for number in numbers:
            self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"block-{number}.tmp"
