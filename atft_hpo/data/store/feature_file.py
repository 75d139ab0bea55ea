"""features.bin while it is made: columns of blocks first, then [D, N, F], in the same file.

    file = FeatureFile(path, blocks, features=395)
    file.put(number, first_column, bits_FDS)          # in any order, until all columns are there
    for number, x_DNF in file.turned(numbers, kept, pool): file.append(x_DNF)
    record = file.finish()

A block's columns lie a few blocks behind the place where its days will be, so that appending day
after day overwrites only columns that have been read. Pages and disk space are used twice, and a
builder that dies between two entries of the journal finds the columns of all blocks that the
journal does not know of.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.ingest.row_blocks import Blocks
from atft_hpo.data.store.panel import FileRecord

_LAG_SHARE = 8
"""Columns lie 1/8 of the blocks behind the days."""
_CHUNK_BYTES = 1 << 22
Bits = NDArray[np.uint16]


class FeatureFile:
    """The file, open for reading and writing by several threads."""

    def __init__(self, path: Path, blocks: Blocks, features: int) -> None:
        self._blocks = blocks
        self._features = features
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._digest, self._size = hashlib.sha256(), 0
        self._flusher = ThreadPoolExecutor(1)
        self._flushed: Future[None] | None = None
        self.lag = -(-len(blocks) // _LAG_SHARE)
        """Blocks that may be appended after the last that the journal knows of."""

    def columns_bytes(self, columns: int) -> int:
        """The file's size when so many columns of every block are there; 0 for none."""
        if not columns:
            return 0
        last = len(self._blocks) - 1
        return self._place(last) + 2 * columns * self._blocks[last].place_DS.size

    @property
    def bytes_now(self) -> int:
        """The file's size."""
        return os.fstat(self._file.fileno()).st_size

    def put(self, number: int, first_column: int, bits_FDS: Bits) -> None:
        """Columns from `first_column` on of a block."""
        self._write(bits_FDS, self._place(number) + first_column * bits_FDS[0].nbytes)

    def resume(self, size: int) -> None:
        """Go on appending after the first `size` bytes."""
        for start in range(0, size, _CHUNK_BYTES):
            wanted = min(_CHUNK_BYTES, size - start)
            self._digest.update(os.pread(self._file.fileno(), wanted, start))
        self._size = size

    def turned(
        self, numbers: Iterable[int], kept: NDArray[np.int64], pool: ThreadPoolExecutor, ahead: int
    ) -> Iterator[tuple[int, Bits]]:
        """[D, N, F] of each block, in order; turned by all threads, some ahead of the one taken."""
        waiting: deque[tuple[int, Future[Bits]]] = deque()
        for number in numbers:
            waiting.append((number, pool.submit(self._turn, number, kept)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        for number, future in waiting:
            yield number, future.result()

    def append(self, x_DNF: Bits) -> int:
        """The days after those that are there; returns the size of all that are there then."""
        self._write(x_DNF, self._size)
        self._digest.update(x_DNF.data)
        self._size += x_DNF.nbytes
        return self._size

    def start_writing_back(self) -> None:
        """Let the disk begin with what was appended."""
        if self._flushed is None or self._flushed.done():
            self._wait()
            self._flushed = self._flusher.submit(os.fsync, self._file.fileno())

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
        return block.dense(bits_FDS, kept)

    def _place(self, number: int) -> int:
        """Where the columns of a block begin."""
        stocks = self._blocks.shape[1]
        return 2 * (number + self.lag) * self._blocks.days * stocks * self._features

    def _write(self, content: NDArray[Any], place: int) -> None:
        left = content.reshape(-1).view(np.uint8).data
        while left:
            written = os.pwrite(self._file.fileno(), left, place)
            left, place = left[written:], place + written

    def _wait(self) -> None:
        if self._flushed is not None:
            self._flushed.result()  # raises what went wrong
