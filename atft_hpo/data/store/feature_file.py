"""features.bin while it is made: columns of blocks first, then [D, N, F], in the same file.

    file = FeatureFile(path, blocks, features=395)
    file.put(number, first_column, bits_FDS)          # in any order, until all columns are there
    for x_DNF in file.turned(kept, pool, ahead=2): file.append(x_DNF)
    record = file.finish()

A block's columns lie where its days will be if all features are kept; its days are never more, so
appending block after block overwrites only columns that have been read. Pages and disk space are
used twice.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.ingest.row_blocks import Blocks
from atft_hpo.data.store.panel import FileRecord

_WRITE_BACKS = 8
"""As many times the disk is told to begin, so that little is left for the end."""
Bits = NDArray[np.uint16]


class FeatureFile:
    """The file, open for reading and writing by several threads."""

    def __init__(self, path: Path, blocks: Blocks, features: int) -> None:
        self._blocks = blocks
        self._features = features
        self._file = path.open("w+b", buffering=0)
        self._digest, self._size, self._appended = hashlib.sha256(), 0, 0
        self._flusher = ThreadPoolExecutor(1)
        self._flushed: Future[None] | None = None

    def put(self, number: int, first_column: int, bits_FDS: Bits) -> None:
        """Columns from `first_column` on of a block."""
        self._write(bits_FDS, self._place(number) + first_column * bits_FDS[0].nbytes)

    def turned(
        self, kept: NDArray[np.int64], pool: ThreadPoolExecutor, ahead: int
    ) -> Iterator[Bits]:
        """[D, N, F] of each block, in order; turned by all threads, some ahead of the one taken."""
        waiting: deque[Future[Bits]] = deque()
        for number in range(len(self._blocks)):
            waiting.append(pool.submit(self._turn, number, kept))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()

    def append(self, x_DNF: Bits) -> None:
        """The days of the next block, after those that are there."""
        self._write(x_DNF, self._size)
        self._digest.update(x_DNF.data)
        self._size += x_DNF.nbytes
        self._appended += 1
        if self._appended % -(-len(self._blocks) // _WRITE_BACKS) == 0:
            self._start_writing_back()

    def finish(self) -> FileRecord:
        """Nothing but the days is left, and all of it is on disk."""
        self._file.truncate(self._size)
        self._wait()
        os.fsync(self._file.fileno())
        return FileRecord(bytes=self._size, sha256=self._digest.hexdigest())

    def close(self) -> None:
        """Also after an error."""
        self._flusher.shutdown()
        self._file.close()

    def _turn(self, number: int, kept: NDArray[np.int64]) -> Bits:
        block = self._blocks[number]
        bits_FDS = np.empty((self._features, *block.place_DS.shape), np.uint16)
        os.preadv(self._file.fileno(), [bits_FDS.data], self._place(number))
        return block.dense(bits_FDS, kept, self._blocks.shape[1])

    def _place(self, number: int) -> int:
        """Where the columns of a block begin, and at most its days."""
        stocks = self._blocks.shape[1]
        return 2 * number * self._blocks.days * stocks * self._features

    def _write(self, content: NDArray[Any], place: int) -> None:
        left = content.reshape(-1).view(np.uint8).data
        while left:
            written = os.pwrite(self._file.fileno(), left, place)
            left, place = left[written:], place + written

    def _start_writing_back(self) -> None:
        """Let the disk begin with what is there."""
        if self._flushed is None or self._flushed.done():
            self._wait()
            self._flushed = self._flusher.submit(os.fsync, self._file.fileno())

    def _wait(self) -> None:
        if self._flushed is not None:
            self._flushed.result()  # raises what went wrong
