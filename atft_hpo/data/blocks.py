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

from atft_hpo.data.table import Rows, Table, feature_matrix

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

    def add(self, day_R: NDArray[np.int32], x_RF: NDArray[np.float32]) -> None:
        """Count rows; infinite values are counted, then replaced by NaN in `x_RF`."""
        infinite_RF = np.isinf(x_RF)
        if infinite_RF.any():
            columns = infinite_RF.any(axis=0)
            first = np.where(infinite_RF, day_R[:, None], np.iinfo(np.int32).max).min(axis=0)
            self.infinite_F += infinite_RF.sum(axis=0)
            self.infinite_since_F[columns] = np.minimum(self.infinite_since_F, first)[columns]
            x_RF[infinite_RF] = np.nan
        self.rows += len(x_RF)
        self.present_F += len(x_RF) - np.isnan(x_RF).sum(axis=0)
        self.low_F = np.fmin(self.low_F, np.fmin.reduce(x_RF, axis=0))
        self.high_F = np.fmax(self.high_F, np.fmax.reduce(x_RF, axis=0))
        self._look_for_variation(day_R, x_RF)

    def _look_for_variation(self, day_R: NDArray[np.int32], x_RF: NDArray[np.float32]) -> None:
        for f in np.flatnonzero(~self.varies_F):
            present = ~np.isnan(x_RF[:, f])
            days, values = day_R[present], x_RF[present, f]
            known_D = self.day_value_DF[:, f]
            unseen = np.isnan(known_D[days])
            known_D[days[unseen]] = values[unseen]
            self.varies_F[f] = bool((known_D[days] != values).any())


class Spill:
    """Rows of features in one file per block of days."""

    def __init__(self, directory: Path, days: int, stocks: int, features: int) -> None:
        self._directory = directory
        self._features = features
        fitting = _BLOCK_BYTES // (4 * stocks * features)
        self._block_days = max(1, fitting, -(-days // _MAX_BLOCKS))
        self._keys: dict[int, list[NDArray[np.int64]]] = {}

    def write(self, table: Table, rows: Rows) -> ColumnStatistics:
        """Spill all live rows of `table`."""
        statistics = ColumnStatistics.empty(len(rows.dates), self._features)
        start = 0
        for _, batch in table.batches(list(table.features)):
            stop = start + batch.num_rows
            live = rows.alive_R[start:stop]
            x_RF = feature_matrix(batch, table.features)[live]
            day_R, stock_R = rows.day_R[start:stop][live], rows.stock_R[start:stop][live]
            if len(x_RF):
                statistics.add(day_R, x_RF)
                self._append(day_R, stock_R, x_RF)
            start = stop
        return statistics

    def days(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float32]]]:
        """(day, stocks [n] ascending, values [n, F]) of each day that has rows, in order."""
        for block in sorted(self._keys):
            keys = np.concatenate(self._keys[block])
            path = self._path(block)
            x_RF = np.fromfile(path, dtype=np.float32).reshape(len(keys), self._features)
            path.unlink()
            order = np.argsort(keys)
            day_R, stock_R = keys[order] >> 32, keys[order] & 0xFFFFFFFF
            days, starts = np.unique(day_R, return_index=True)
            for day, start, stop in zip(days, starts, [*starts[1:], len(keys)], strict=True):
                yield int(day), stock_R[start:stop], x_RF[order[start:stop]]

    def _append(
        self, day_R: NDArray[np.int32], stock_R: NDArray[np.int32], x_RF: NDArray[np.float32]
    ) -> None:
        block_R = day_R // self._block_days
        keys = (day_R.astype(np.int64) << 32) | stock_R
        for block in np.unique(block_R):
            rows = block_R == block
            self._keys.setdefault(int(block), []).append(keys[rows])
            with self._path(int(block)).open("ab") as file:
                file.write(x_RF[rows].data)

    def _path(self, block: int) -> Path:
        return self._directory / f"rows-{block}.tmp"
