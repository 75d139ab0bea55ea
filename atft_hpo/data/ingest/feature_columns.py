"""Feature columns of a table in memory, read over all its files by several threads.

    columns = FeatureColumns(table, rows, pool, threads=2)
    columns.read(names, out_FR)         # out_FR[:, i] is the table's row columns.row_R[i]

Rows of a batch come sorted by day: who collects whole days later finds those of a batch side by
side in memory, also where the table is sorted by stock.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atft_hpo.data.ingest.files.file_formats import BATCH_ROWS, TidyFile, opened
from atft_hpo.data.ingest.table import Rows, Table
from atft_hpo.data.ingest.values.arrow_values import numbers_of

_TASKS_PER_THREAD = 4
"""At least: so that none is idle for long at the end."""
_COLUMNS_AT_ONCE = 16
"""Decoded at a time by a thread: what Arrow holds stays small, and in the processor's cache."""
Floats = NDArray[np.float32]


class FeatureColumns:
    """Reads some columns at a time; each thread takes a file, or a share of the columns of one."""

    def __init__(self, table: Table, rows: Rows, pool: ThreadPoolExecutor, threads: int) -> None:
        paths = [source.path for source in table.sources]
        starts = np.cumsum(rows.rows_of_file) - rows.rows_of_file
        self._start_of = dict(zip(paths, starts.tolist(), strict=True))
        self._shares = -(-_TASKS_PER_THREAD * threads // len(paths))
        self._pool = pool
        self.row_R = np.concatenate(
            list(pool.map(_by_day, [rows] * len(starts), range(len(starts))))
        )
        """The table's row of each place."""

    def read(self, columns: Sequence[str], out_FR: Floats) -> None:
        """Fill `out_FR` [F, R + 1], in the order of `row_R`; NaN where null and at the end.

        Raises:
            DataError: a file cannot be read.
        """

        def share(task: tuple[Path, int]) -> None:
            path, first = task
            mine = range(first, len(columns), self._shares)
            with opened(path) as file:
                for i in range(0, len(mine), _COLUMNS_AT_ONCE):
                    few = {columns[f]: out_FR[f] for f in mine[i : i + _COLUMNS_AT_ONCE]}
                    _decode(file, few, self._start_of[path], self.row_R)

        out_FR[:, -1] = np.nan
        list(self._pool.map(share, product(self._start_of, range(self._shares))))


def _by_day(rows: Rows, file: int) -> NDArray[np.int64]:
    """The table's rows of a file, batch by batch, each batch sorted by day and stock."""
    stop = int(rows.rows_of_file[: file + 1].sum())
    order = []
    for start in range(stop - int(rows.rows_of_file[file]), stop, BATCH_ROWS):
        batch = slice(start, min(start + BATCH_ROWS, stop))
        cell = rows.day_R[batch].astype(np.int64) * len(rows.codes) + rows.stock_R[batch]
        order.append(start + np.argsort(cell, kind="stable"))
    return np.concatenate([np.empty(0, np.int64), *order])


def _decode(
    file: TidyFile, columns: dict[str, Floats], start: int, row_R: NDArray[np.int64]
) -> None:
    """Columns of a file whose first row is the table's row `start`."""
    for batch in file.batches(list(columns), threads=False):
        stop = start + batch.num_rows
        order = row_R[start:stop] - start
        for name, x_R in columns.items():
            numbers = numbers_of(batch.column(name), pa.float32())
            np.take(numbers, order, out=x_R[start:stop], mode="clip")
        start = stop
