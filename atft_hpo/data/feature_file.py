"""features.bin, from the columns of a table: the bulk of packing, in bounded memory.

    record, features, report = write_features(paths, rows, table, config, progress)

Parquet is read by columns, days are normalised by rows, the store is written by days. So columns
are read some at a time, over all files; normalised, a block of days at a time, on all cores; and
spilled in the store's 16 bits. When all are there, and it is known which of them stay, each block
is turned and appended to the file. A journal says what is done.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import DataConfig
from atft_hpo.data.blocks import Blocks, Spill
from atft_hpo.data.column_statistics import ColumnStatistics
from atft_hpo.data.columns import check_columns, feature_spec
from atft_hpo.data.feature_columns import FeatureColumns
from atft_hpo.data.journal import Journal
from atft_hpo.data.normalise import Normaliser
from atft_hpo.data.panel import FeatureSpec, FileRecord
from atft_hpo.data.table import Rows, Table
from atft_hpo.errors import DataError
from atft_hpo.paths import PanelPaths

Progress = Callable[[str], None]
_COLUMNS_BYTES = 512 << 20
"""Of float32 columns in memory at a time; a column more than this is read alone."""
_JOURNAL_BYTES = 256 << 20
"""Of features.bin between two entries of the journal."""
_MOST_THREADS = 8
_CHUNK_BYTES = 1 << 22


def write_features(
    paths: PanelPaths, rows: Rows, table: Table, config: DataConfig, progress: Progress
) -> tuple[FileRecord, tuple[FeatureSpec, ...], dict[str, Any]]:
    """Write features.bin; returns its record, the features kept, and what the columns hold.

    Raises:
        DataError: a column is infinite or useless, and the configuration does not allow it.
    """
    specs = tuple(feature_spec(name, config) for name in table.features)
    with ThreadPoolExecutor(_threads()) as pool:
        work = _Work(paths, rows, table, config, pool, progress)
        work.normalise(specs)
        live_rows = int(rows.alive_R.sum())
        report = check_columns(specs, work.statistics, live_rows, rows.dates, config.pack)
        kept = [f for f, spec in enumerate(specs) if spec.name not in report["dropped_columns"]]
        if not kept:
            raise DataError(f"all {len(specs)} feature columns are constant; nothing to learn from")
        record = work.write(np.array(kept))
    return record, tuple(specs[f] for f in kept), report


def _threads() -> int:
    return min(os.cpu_count() or 1, _MOST_THREADS)


class _Work:
    """The two steps, going on where the journal says."""

    def __init__(
        self, paths: PanelPaths, rows: Rows, table: Table, config: DataConfig,
        pool: ThreadPoolExecutor, progress: Progress,
    ) -> None:  # fmt: skip
        self._out = paths.features
        self._rows, self._table, self._config = rows, table, config
        self._pool, self._progress = pool, progress
        self._blocks = Blocks(rows)
        self._spill = Spill(paths.root, self._blocks)
        self._journal = Journal.open(paths.root / "journal.npz", table, config)
        if not self._spill.holds(self._blocks_left, self._journal.columns):
            self._journal = Journal.new(self._journal.path, table, config)
        if self._journal.columns:
            progress(f"going on after {self._journal.columns} of {len(table.features)} column(s)")

    @property
    def statistics(self) -> ColumnStatistics:
        """Of all columns that are normalised."""
        return self._journal.statistics

    def normalise(self, specs: tuple[FeatureSpec, ...]) -> None:
        """Read, normalise and spill the columns that are not spilled yet."""
        journal, total = self._journal, len(specs)
        groups = -(-4 * total * len(self._rows.day_R) // _COLUMNS_BYTES)
        step = -(-total // groups)
        source = FeatureColumns(self._table, self._rows, self._pool, _threads())
        x_FR = np.empty((min(step, total - journal.columns), len(self._rows.day_R) + 1), np.float32)
        while journal.columns < total:
            columns = slice(journal.columns, min(journal.columns + step, total))
            self._progress(
                f"normalising columns {columns.start + 1} to {columns.stop} of {total}, "
                f"{len(self._rows.day_R):,} rows"
            )
            x_FR = x_FR[: columns.stop - columns.start]
            source.read(self._table.features[columns], x_FR)
            self._normalise_group(columns, x_FR, Normaliser(specs[columns], self._config.pack))
            journal.columns = columns.stop
            journal.save()

    def write(self, kept: NDArray[np.int64]) -> FileRecord:
        """Append the blocks that are not in features.bin yet; these columns of them."""
        journal, blocks = self._journal, self._blocks
        self._progress(f"writing {len(self._rows.dates)} days")
        days_done = min(journal.blocks * blocks.days, len(self._rows.dates))
        done = days_done * len(self._rows.codes) * len(kept) * 2
        with closing(_HashedFile(self._out, done)) as file:
            unsaved = 0
            for number, x_DNF in self._in_order(lambda b: self._turned(b, kept), self._blocks_left):
                unsaved += file.append(x_DNF)
                if unsaved > _JOURNAL_BYTES:
                    file.start_writing_back()
                    written, journal.blocks, unsaved = journal.blocks, number + 1, 0
                    journal.save()
                    self._spill.drop(range(written, number + 1))
            record = file.finish()
        self._spill.drop(range(len(blocks)))
        journal.path.unlink()
        return record

    @property
    def _blocks_left(self) -> range:
        return range(self._journal.blocks, len(self._blocks))

    def _normalise_group(
        self, columns: slice, x_FR: NDArray[np.float32], normaliser: Normaliser
    ) -> None:
        """Spill every block of these columns, and put what they hold into the journal."""

        def work(number: int) -> ColumnStatistics:
            block = self._blocks[number]

            def fill(f: int, x_DS: NDArray[np.float32]) -> None:
                np.take(x_FR[f], block.rows_DS, out=x_DS, mode="clip")

            bits_FDS, found = normaliser(fill, block.first_day, block.stocks_D)
            self._spill.write(number, columns.start, bits_FDS)
            return found

        found = ColumnStatistics.empty(len(x_FR))
        for of_block in self._pool.map(work, range(len(self._blocks))):
            found.add(of_block)
        self.statistics.put(columns, found)

    def _turned(self, number: int, kept: NDArray[np.int64]) -> NDArray[np.uint16]:
        """[D, N, F] of a block."""
        bits_FDS = self._spill.read(number)[kept]
        features, days, slots = bits_FDS.shape
        turned = np.ascontiguousarray(bits_FDS.reshape(features, -1).T)
        return self._blocks[number].dense(turned.reshape(days, slots, features))

    def _in_order(
        self, work: Callable[[int], NDArray[Any]], numbers: Iterable[int]
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """`work` of each block, by all threads, a few ahead of the one that is asked for."""
        ahead: deque[tuple[int, Future[NDArray[Any]]]] = deque()
        for number in numbers:
            ahead.append((number, self._pool.submit(work, number)))
            if len(ahead) > _MOST_THREADS // 2:
                first, future = ahead.popleft()
                yield first, future.result()
        for number, future in ahead:
            yield number, future.result()


class _HashedFile:
    """A file that grows, with the checksum of its content."""

    def __init__(self, path: Path, done: int) -> None:
        """Go on after the first `done` bytes."""
        self._file = path.open("r+b" if done else "wb")
        self._digest = hashlib.sha256()
        self._flusher = ThreadPoolExecutor(1)
        self._flushed: Future[None] | None = None
        self._file.truncate(done)
        while chunk := self._file.read(_CHUNK_BYTES) if done else b"":
            self._digest.update(chunk)

    def append(self, content: NDArray[Any]) -> int:
        """Returns the bytes written."""
        self._file.write(content.data)
        self._digest.update(content.data)
        return content.nbytes

    def start_writing_back(self) -> None:
        """Hand all to the operating system, and let the disk begin."""
        self._file.flush()
        if self._flushed is None or self._flushed.done():
            self._wait()
            self._flushed = self._flusher.submit(os.fsync, self._file.fileno())

    def finish(self) -> FileRecord:
        """All is on disk."""
        self._file.flush()
        self._wait()
        os.fsync(self._file.fileno())
        return FileRecord(bytes=self._file.tell(), sha256=self._digest.hexdigest())

    def close(self) -> None:
        """Also after an error."""
        self._flusher.shutdown()
        self._file.close()

    def _wait(self) -> None:
        if self._flushed is not None:
            self._flushed.result()  # raises what went wrong
