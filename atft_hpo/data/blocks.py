"""Feature rows sorted into blocks of days on disk, in bounded memory.

A table may be sorted by stock, by date, or not at all; normalisation needs whole days. `Spill`
takes rows as they come and appends each to the file of its block; `Spill.days` gives them back day
by day. Along the way it keeps the statistics by which a column is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.table import Rows, Table, feature_rows

_BLOCK_BYTES = 192 << 20
_MAX_BLOCKS = 256


@dataclass
class ColumnStatistics:
    """What one pass over the live rows says about each of F columns."""

    rows: int
    present_F: NDArray[np.int64]
    infinite_F: NDArray[np.int64]
    infinite_since_F: NDArray[np.int32]
    """Earliest day with an infinite value."""
    low_F: NDArray[np.float32]
    high_F: NDArray[np.float32]
    varies_F: NDArray[np.bool_]
    """Two stocks differ on at least one day."""
    day_value_DF: NDArray[np.float32]
    """Any one value of the day, to compare others with."""

    @classmethod
    def empty(cls, days: int, features: int) -> "ColumnStatistics":
        """Before any row."""
        return cls(
            rows=0,
            present_F=np.zeros(features, np.int64),
            infinite_F=np.zeros(features, np.int64),
            infinite_since_F=np.full(features, days, np.int32),
            low_F=np.full(features, np.inf, np.float32),
            high_F=np.full(features, -np.inf, np.float32),
            varies_F=np.zeros(features, np.bool_),
            day_value_DF=np.full((days, features), np.nan, np.float32),
        )

    def add(self, day_R: NDArray[np.int32], x_FR: NDArray[np.float32]) -> None:
        """Count rows; infinite values are counted, then replaced by NaN in `x_FR`."""
        infinite_FR = np.isinf(x_FR)
        for f in np.flatnonzero(infinite_FR.any(axis=1)):
            self.infinite_F[f] += infinite_FR[f].sum()
            first = int(day_R[infinite_FR[f]].min())
            self.infinite_since_F[f] = min(self.infinite_since_F[f], first)
            x_FR[f, infinite_FR[f]] = np.nan
        self.rows += len(day_R)
        self.present_F += len(day_R) - np.isnan(x_FR).sum(axis=1)
        self.low_F = np.fmin(self.low_F, np.fmin.reduce(x_FR, axis=1))
        self.high_F = np.fmax(self.high_F, np.fmax.reduce(x_FR, axis=1))
        self._look_for_variation(day_R, x_FR)

    def _look_for_variation(self, day_R: NDArray[np.int32], x_FR: NDArray[np.float32]) -> None:
        for f in np.flatnonzero(~self.varies_F):
            present = ~np.isnan(x_FR[f])
            days, values = day_R[present], x_FR[f, present]
            known_D = self.day_value_DF[:, f]
            unseen = np.isnan(known_D[days])
            known_D[days[unseen]] = values[unseen]
            self.varies_F[f] = bool((known_D[days] != values).any())


@dataclass(frozen=True)
class Day:
    """The live rows of one day."""

    day: int
    stocks: NDArray[np.int64]
    """[n] ascending."""
    values_Fn: NDArray[np.float32]


class Spill:
    """Rows of features in one file per block of days.

    A file is a chain of pieces [F, r], one for each batch of the table that has rows of the block;
    features come first, since everything is done feature by feature.
    """

    def __init__(self, directory: Path, rows: Rows, features: int) -> None:
        self._directory = directory
        self._rows = rows
        self._features = features
        fitting = _BLOCK_BYTES // (4 * len(rows.codes) * features)
        self._block_days = max(1, fitting, -(-len(rows.dates) // _MAX_BLOCKS))
        self._pieces: dict[int, list[int]] = {}
        """Rows of each piece, by block."""

    def write(self, table: Table) -> ColumnStatistics:
        """Spill all live rows of `table`."""
        statistics = ColumnStatistics.empty(len(self._rows.dates), self._features)
        start = 0
        for _, batch in table.batches(list(table.features)):
            rows_R = start + np.flatnonzero(self._rows.alive_R[start : start + batch.num_rows])
            # Sorted by block, so that each block's rows are one stretch.
            block_R = self._rows.day_R[rows_R] // self._block_days
            order_R = np.argsort(block_R, kind="stable")
            x_FR = feature_rows(batch, table.features, rows_R[order_R] - start)
            if len(rows_R):
                statistics.add(self._rows.day_R[rows_R[order_R]], x_FR)
                self._append(block_R[order_R], x_FR)
            start += batch.num_rows
        return statistics

    def days(self) -> Iterator[Day]:
        """Each day that has rows, in order; a block's file is gone once its days are taken."""
        live_R = np.flatnonzero(self._rows.alive_R)
        block_R = self._rows.day_R[live_R] // self._block_days
        for block in sorted(self._pieces):
            rows_R = live_R[block_R == block]
            order_R = np.lexsort((self._rows.stock_R[rows_R], self._rows.day_R[rows_R]))
            x_FR = self._read(block, order_R)
            day_R, stock_R = self._rows.day_R[rows_R[order_R]], self._rows.stock_R[rows_R[order_R]]
            days, starts = np.unique(day_R, return_index=True)
            for day, start, stop in zip(days, starts, [*starts[1:], len(order_R)], strict=True):
                yield Day(int(day), stock_R[start:stop].astype(np.int64), x_FR[:, start:stop])
            self._path(block).unlink()

    def _append(self, block_R: NDArray[np.int32], x_FR: NDArray[np.float32]) -> None:
        blocks, starts = np.unique(block_R, return_index=True)
        for block, start, stop in zip(blocks, starts, [*starts[1:], len(block_R)], strict=True):
            self._pieces.setdefault(int(block), []).append(int(stop - start))
            with self._path(int(block)).open("ab") as file:
                file.write(np.ascontiguousarray(x_FR[:, start:stop]).data)

    def _read(self, block: int, order_R: NDArray[np.int64]) -> NDArray[np.float32]:
        """[F, rows] of a block; `order_R` is of the table's order."""
        pieces = self._pieces[block]
        x_FR = np.empty((self._features, sum(pieces)), dtype=np.float32)
        with self._path(block).open("rb") as file:
            start = 0
            for count in pieces:
                piece = np.fromfile(file, dtype=np.float32, count=self._features * count)
                x_FR[:, start : start + count] = piece.reshape(self._features, count)
                start += count
        for x_R in x_FR:
            x_R[:] = x_R.take(order_R)
        return x_FR

    def _path(self, block: int) -> Path:
        return self._directory / f"rows-{block}.tmp"
