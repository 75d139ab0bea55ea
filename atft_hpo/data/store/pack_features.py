"""features.bin, from the columns of a table: the bulk of packing, in bounded memory.

    record, features, report = write_features(paths, rows, table, config, progress)

Tables are read by columns, days are normalised by rows, the store is written by days. So columns
are read some at a time, over all files; normalised, a block of days at a time, on all cores; and
put down in the store's 16 bits. When all are there, and it is known which of them stay, each block
is turned.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig, PackConfig
from atft_hpo.data.ingest.feature_columns import FeatureColumns
from atft_hpo.data.ingest.row_blocks import Blocks
from atft_hpo.data.ingest.table import Rows, Table
from atft_hpo.data.store.column_statistics import ColumnStatistics
from atft_hpo.data.store.columns import check_columns, feature_spec
from atft_hpo.data.store.feature_file import FeatureFile
from atft_hpo.data.store.normalise import Normaliser
from atft_hpo.data.store.panel import FeatureSpec, FileRecord
from atft_hpo.errors import DataError
from atft_hpo.paths import PanelPaths
from atft_hpo.progress import Progress

_COLUMNS_BYTES = 512 << 20
"""Of float32 columns in memory at a time; a column larger than this is read alone."""
_PASSES = 4
"""As many times a table that is not large is read, for less memory."""
_MOST_THREADS = 8


def write_features(
    paths: PanelPaths, rows: Rows, table: Table, config: DataConfig, progress: Progress
) -> tuple[FileRecord, tuple[FeatureSpec, ...], dict[str, Any]]:
    """Write features.bin; returns its record, the features kept, and what the columns hold.

    Raises:
        DataError: a column is infinite or useless, and the configuration does not allow it.
    """
    specs = tuple(feature_spec(name, config) for name in table.features)
    with ThreadPoolExecutor(_threads()) as pool:
        source = FeatureColumns(table, rows, pool, _threads())
        blocks = Blocks(rows, source.row_R)
        with closing(FeatureFile(paths.features, blocks, len(specs))) as file:
            builder = _Builder(specs, source, blocks, file, pool)
            found = builder.normalise(config.pack, progress)
            live_rows = int(rows.alive_R.sum())
            report = check_columns(specs, found, live_rows, rows.dates, config.pack)
            kept = [f for f, spec in enumerate(specs) if spec.name not in report["dropped_columns"]]
            if not kept:
                raise DataError(
                    f"all {len(specs)} feature columns are constant; nothing to learn from"
                )
            progress(f"writing {len(rows.dates)} days")
            for x_DNF in file.turned(np.array(kept), pool, ahead=_threads()):
                file.append(x_DNF)
            record = file.finish()
    return record, tuple(specs[f] for f in kept), report


def _threads() -> int:
    return min(os.cpu_count() or 1, _MOST_THREADS)


@dataclass(frozen=True)
class _Builder:
    """Puts columns into the file."""

    specs: tuple[FeatureSpec, ...]
    source: FeatureColumns
    blocks: Blocks
    file: FeatureFile
    pool: ThreadPoolExecutor

    def normalise(self, config: PackConfig, progress: Progress) -> ColumnStatistics:
        """Read and normalise all columns; returns what they hold."""
        total, rows = len(self.specs), len(self.source.row_R)
        step = -(-total // max(_PASSES, -(-4 * total * rows // _COLUMNS_BYTES)))
        x_FR = np.empty((step, rows + 1), np.float32)
        normaliser = Normaliser(self.specs, config)
        statistics = ColumnStatistics.empty(total)
        for first in range(0, total, step):
            columns = range(first, min(first + step, total))
            progress(
                f"normalising columns {columns.start + 1} to {columns.stop} of {total}, "
                f"{rows:,} rows"
            )
            self.source.read([self.specs[f].name for f in columns], x_FR[: len(columns)])
            found = self._put(columns, x_FR, normaliser)
            statistics.put(slice(columns.start, columns.stop), found)
        return statistics

    def _put(
        self, columns: range, x_FR: NDArray[np.float32], normaliser: Normaliser
    ) -> ColumnStatistics:
        """Put every block of these columns into the file; returns what the columns hold."""

        def work(number: int) -> ColumnStatistics:
            bits_FDS, found = normaliser(columns, x_FR, self.blocks[number])
            self.file.put(number, columns.start, bits_FDS)
            return found

        found = ColumnStatistics.empty(len(columns))
        for of_block in self.pool.map(work, range(len(self.blocks))):
            found.add(of_block)
        return found
