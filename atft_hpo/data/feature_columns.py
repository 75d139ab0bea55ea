"""Feature columns of a table in memory, read over all its files by several threads.

    columns = FeatureColumns(table, rows, pool, threads=2)
    columns.read(names, out_FR)
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from atft_hpo.data.arrow_values import numbers_of
from atft_hpo.data.table import BATCH_ROWS, Rows, Table, opened

_COLUMNS_AT_ONCE = 16
"""Decoded at a time by a thread: what Arrow holds stays small, and in the processor's cache."""
Floats = NDArray[np.float32]


class FeatureColumns:
    """Reads some columns at a time; each thread takes a file, or a share of the columns of one."""

    def __init__(self, table: Table, rows: Rows, pool: ThreadPoolExecutor, threads: int) -> None:
        starts = np.cumsum(rows.rows_of_file) - rows.rows_of_file
        self._start_of = dict(zip(table.files, starts.tolist(), strict=True))
        self._shares = -(-threads // len(table.files))
        self._pool = pool
        self.rows = len(rows.day_R)

    def read(self, columns: Sequence[str], out_FR: Floats) -> None:
        """Fill `out_FR` [F, R + 1], in the table's order of rows; NaN where null and at the end.

        Raises:
            DataError: a file cannot be read.
        """

        def share(task: tuple[Path, int]) -> None:
            path, first = task
            mine = range(first, len(columns), self._shares)
            with opened(path) as file:
                for i in range(0, len(mine), _COLUMNS_AT_ONCE):
                    few = {columns[f]: out_FR[f] for f in mine[i : i + _COLUMNS_AT_ONCE]}
                    _decode(file, few, self._start_of[path])

        out_FR[:, -1] = np.nan
        list(self._pool.map(share, product(self._start_of, range(self._shares))))


def _decode(file: pq.ParquetFile, columns: dict[str, Floats], start: int) -> None:
    """Columns of a file whose first row is the table's row `start`."""
    for batch in file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False):
        stop = start + batch.num_rows
        for name, x_R in columns.items():
            x_R[start:stop] = numbers_of(batch.column(name), pa.float32())
        start = stop
