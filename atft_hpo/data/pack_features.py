"""features.bin, from the columns of a table: the bulk of packing, in bounded memory.

    record, features, report = write_features(paths, rows, table, config, progress)

Parquet is read by columns, days are normalised by rows, the store is written by days. So columns
are read some at a time, over all files; normalised, a block of days at a time, on all cores; and
put down in the store's 16 bits. When all are there, and it is known which of them stay, each block
is turned. A journal says what is done.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import DataConfig
from atft_hpo.data.blocks import Blocks
from atft_hpo.data.column_statistics import ColumnStatistics
from atft_hpo.data.columns import check_columns, feature_spec
from atft_hpo.data.feature_columns import FeatureColumns
from atft_hpo.data.feature_file import FeatureFile
from atft_hpo.data.journal import Journal
from atft_hpo.data.normalise import Normaliser
from atft_hpo.data.panel import FeatureSpec, FileRecord
from atft_hpo.data.table import Rows, Table
from atft_hpo.errors import DataError
from atft_hpo.paths import PanelPaths

Progress = Callable[[str], None]
_COLUMNS_BYTES = 512 << 20
"""Of float32 columns in memory at a time; a column larger than this is read alone."""
_MOST_THREADS = 8


def write_features(
    paths: PanelPaths, rows: Rows, table: Table, config: DataConfig, progress: Progress
) -> tuple[FileRecord, tuple[FeatureSpec, ...], dict[str, Any]]:
    """Write features.bin; returns its record, the features kept, and what the columns hold.

    Raises:
        DataError: a column is infinite or useless, and the configuration does not allow it.
    """
    specs = tuple(feature_spec(name, config) for name in table.features)
    blocks = Blocks(rows)
    journal = Journal.open(paths.root / "journal.npz", table, config)
    with (
        ThreadPoolExecutor(_threads()) as pool,
        closing(FeatureFile(paths.features, blocks, len(specs))) as file,
    ):
        if file.bytes_now < _bytes_needed(journal, file, blocks):
            journal = Journal.new(journal.path, table, config)
        if journal.columns:
            progress(f"going on after {journal.columns} of {len(specs)} column(s)")
        source = FeatureColumns(table, rows, pool, _threads())
        _normalise(specs, source, blocks, file, journal, pool, config, progress)
        live_rows = int(rows.alive_R.sum())
        report = check_columns(specs, journal.statistics, live_rows, rows.dates, config.pack)
        kept = [f for f, spec in enumerate(specs) if spec.name not in report["dropped_columns"]]
        if not kept:
            raise DataError(f"all {len(specs)} feature columns are constant; nothing to learn from")
        progress(f"writing {len(rows.dates)} days")
        _turn(np.array(kept), blocks, file, journal, pool)
        record = file.finish()
    journal.path.unlink()
    return record, tuple(specs[f] for f in kept), report


def _threads() -> int:
    return min(os.cpu_count() or 1, _MOST_THREADS)


def _bytes_needed(journal: Journal, file: FeatureFile, blocks: Blocks) -> int:
    """What features.bin must hold for the journal to be of use."""
    if journal.blocks == len(blocks):
        return 0  # complete: a file of the wrong size is found out by its checksum
    return file.columns_bytes(journal.columns) if journal.columns else 0


def _normalise(
    specs: tuple[FeatureSpec, ...], source: FeatureColumns, blocks: Blocks, file: FeatureFile,
    journal: Journal, pool: ThreadPoolExecutor, config: DataConfig, progress: Progress,
) -> None:  # fmt: skip
    """Read and normalise the columns that are not in the file yet."""
    normaliser = Normaliser(specs, config.pack)
    groups = -(-4 * len(specs) * source.rows // _COLUMNS_BYTES)
    step = -(-len(specs) // groups)
    x_FR = np.empty((step, source.rows + 1), np.float32)
    while journal.columns < len(specs):
        columns = range(journal.columns, min(journal.columns + step, len(specs)))
        progress(
            f"normalising columns {columns.start + 1} to {columns.stop} of {len(specs)}, "
            f"{source.rows:,} rows"
        )
        source.read([specs[f].name for f in columns], x_FR[: len(columns)])
        found = _normalise_columns(columns, x_FR, normaliser, blocks, file, pool)
        journal.statistics.put(slice(columns.start, columns.stop), found)
        journal.columns = columns.stop
        journal.save()


def _normalise_columns(
    columns: range, x_FR: NDArray[np.float32], normaliser: Normaliser, blocks: Blocks,
    file: FeatureFile, pool: ThreadPoolExecutor,
) -> ColumnStatistics:  # fmt: skip
    """Put every block of these columns into the file; returns what the columns hold."""

    def work(number: int) -> ColumnStatistics:
        block = blocks[number]

        def fill(f: int, x_DS: NDArray[np.float32]) -> None:
            np.take(x_FR[f], block.rows_DS, out=x_DS, mode="clip")

        bits_FDS, found = normaliser(columns, fill, block.first_day, block.stocks_D)
        file.put(number, columns.start, bits_FDS)
        return found

    found = ColumnStatistics.empty(len(columns))
    for of_block in pool.map(work, range(len(blocks))):
        found.add(of_block)
    return found


def _turn(
    kept: NDArray[np.int64], blocks: Blocks, file: FeatureFile, journal: Journal,
    pool: ThreadPoolExecutor,
) -> None:  # fmt: skip
    """Append the days that are not in the file yet; these columns of them."""
    days, stocks = blocks.shape
    file.resume(2 * min(journal.blocks * blocks.days, days) * stocks * len(kept))
    left = range(journal.blocks, len(blocks))
    for number, x_DNF in file.turned(left, kept, pool, ahead=_threads()):
        file.append(x_DNF)
        if number + 1 - journal.blocks == file.lag or number + 1 == len(blocks):
            file.start_writing_back()
            journal.blocks = number + 1
            journal.save()
