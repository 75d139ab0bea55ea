"""Feature rows sorted into blocks of days on disk, in bounded memory.

A table may be sorted by stock, by date, or not at all; normalisation needs whole days. `Spill`
takes rows as they come and appends each to the file of its block; `Spill.days` gives them back day
by day. Along the way it keeps the statistics by which a column is refused. A journal says what is
done, so that a builder that died costs what it had not written down.
"""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atft_hpo.data.table import Rows, Table, feature_rows, rows_of
from atft_hpo.files import write_atomically

_BLOCK_BYTES = 192 << 20
_MAX_BLOCKS = 256
_JOURNAL_BYTES = 1 << 30
"""Spilled between two entries of the journal, at least a file of the table."""


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


@dataclass
class Journal:
    """How far packing has come, in a file replaced whole: the next builder goes on there."""

    path: Path
    table: str
    """What is packed, and how: a journal of anything else is worth nothing."""
    files: int = 0
    """Files of the table that are spilled."""
    blocks: int = 0
    """Blocks of days whose features are in the store's file."""
    pieces: dict[int, list[int]] = field(default_factory=dict)
    """Rows of each piece of a block's file."""
    statistics: ColumnStatistics | None = None

    @classmethod
    def open(cls, path: Path, table: str) -> "Journal":
        """The journal at `path`, or a new one if it is of another table, damaged or absent."""
        try:
            with np.load(path) as content:
                facts = json.loads(content["facts"].tobytes())
                if facts["table"] != table:
                    return cls(path, table)
                arrays = {name: content[name] for name in content.files if name != "facts"}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return cls(path, table)
        statistics = ColumnStatistics(rows=facts["rows"], **arrays)
        pieces = {int(block): counts for block, counts in facts["pieces"].items()}
        return cls(path, table, facts["files"], facts["blocks"], pieces, statistics)

    def save(self) -> None:
        """Write it; what it speaks of is on disk already."""
        assert self.statistics is not None
        arrays = {k: v for k, v in vars(self.statistics).items() if k != "rows"}
        facts = {
            "table": self.table, "files": self.files, "blocks": self.blocks,
            "pieces": self.pieces, "rows": self.statistics.rows,
        }  # fmt: skip
        buffer = io.BytesIO()
        np.savez(buffer, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
        write_atomically(self.path, buffer.getbuffer())


class Spill:
    """Rows of features in one file per block of days.

    A file is a chain of pieces [F, r], one for each batch of the table that has rows of the block;
    features come first, since everything is done feature by feature.
    """

    def __init__(self, journal: Journal, rows: Rows, features: int) -> None:
        """Files lie beside the journal's, which says what is done already."""
        self._journal = journal
        self._rows = rows
        self._features = features
        fitting = _BLOCK_BYTES // (4 * len(rows.codes) * features)
        self.block_days = max(1, fitting, -(-len(rows.dates) // _MAX_BLOCKS))

    @property
    def blocks(self) -> range:
        """Blocks of days whose features are still to be written."""
        return range(self._journal.blocks, -(-len(self._rows.dates) // self.block_days))

    def write(self, table: Table) -> ColumnStatistics:
        """Spill the live rows of the files of `table` that are not spilled yet."""
        journal = self._journal
        if journal.statistics is None or not self._truncate():
            journal.files, journal.blocks, journal.pieces = 0, 0, {}
            journal.statistics = ColumnStatistics.empty(len(self._rows.dates), self._features)
            for left in journal.path.parent.glob("rows-*.tmp"):
                left.unlink()
        start, unsaved = 0, 0
        for number, path in enumerate(table.files):
            if number < journal.files:
                start += rows_of(path)
                continue
            for batch in table.batches_of(path, list(table.features)):
                unsaved += self._spill(batch, table, start, journal.statistics)
                start += batch.num_rows
            if unsaved > _JOURNAL_BYTES or number + 1 == len(table.files):
                self._sync()
                journal.files, unsaved = number + 1, 0
                journal.save()
        return journal.statistics

    def days(self, block: int) -> Iterator[Day]:
        """Each day of `block`, in order."""
        in_block_R = self._rows.alive_R & (self._rows.day_R // self.block_days == block)
        rows_R = np.flatnonzero(in_block_R)
        order_R = np.lexsort((self._rows.stock_R[rows_R], self._rows.day_R[rows_R]))
        x_FR = self._read(block, order_R)
        day_R, stock_R = self._rows.day_R[rows_R[order_R]], self._rows.stock_R[rows_R[order_R]]
        days, starts = np.unique(day_R, return_index=True)
        for day, start, stop in zip(days, starts, [*starts[1:], len(order_R)], strict=True):
            yield Day(int(day), stock_R[start:stop].astype(np.int64), x_FR[:, start:stop])

    def done(self, block: int) -> None:
        """The features of `block` are on disk: it is not asked for again."""
        self._journal.blocks = block + 1
        self._journal.save()
        self._path(block).unlink()

    def _spill(
        self, batch: pa.RecordBatch, table: Table, start: int, statistics: ColumnStatistics
    ) -> int:
        """Spill the live rows of a batch that begins at row `start`; returns bytes."""
        rows_R = start + np.flatnonzero(self._rows.alive_R[start : start + batch.num_rows])
        if not len(rows_R):
            return 0
        # Sorted by block, so that each block's rows are one stretch.
        block_R = self._rows.day_R[rows_R] // self.block_days
        order_R = np.argsort(block_R, kind="stable")
        x_FR = feature_rows(batch, table.features, rows_R[order_R] - start)
        statistics.add(self._rows.day_R[rows_R[order_R]], x_FR)
        blocks, starts = np.unique(block_R[order_R], return_index=True)
        for block, begin, stop in zip(blocks, starts, [*starts[1:], len(block_R)], strict=True):
            self._journal.pieces.setdefault(int(block), []).append(int(stop - begin))
            with self._path(int(block)).open("ab") as file:
                file.write(np.ascontiguousarray(x_FR[:, begin:stop]).data)
        return x_FR.nbytes

    def _truncate(self) -> bool:
        """Cut from the files what the journal does not know of; False when something is missing."""
        for block, pieces in self._journal.pieces.items():
            size, path = 4 * self._features * sum(pieces), self._path(block)
            if block < self._journal.blocks:
                path.unlink(missing_ok=True)  # the builder died between its journal and this
                continue
            if not path.is_file() or path.stat().st_size < size:
                return False
            os.truncate(path, size)
        return True

    def _sync(self) -> None:
        for block in self._journal.pieces:
            with self._path(block).open("rb") as file:
                os.fsync(file.fileno())

    def _read(self, block: int, order_R: NDArray[np.int64]) -> NDArray[np.float32]:
        """[F, rows] of a block; `order_R` is of the table's order."""
        pieces = self._journal.pieces[block]
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
        return self._journal.path.parent / f"rows-{block}.tmp"
