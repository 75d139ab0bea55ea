"""Any file of a table as record batches: Parquet, Arrow IPC (file or stream), CSV, also compressed.

    with opened(path) as file:
        file.schema
        for batch in file.batches(["date", "close"]): ...

The format is what the content says, not the name. In a CSV every column is text: whether "0050" is
a code or a number, only its meaning tells. A two-level frame (`wide_frames.py`) comes out melted.
"""

import codecs
import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

from atft_hpo.data.ingest.files.table_files import first_line
from atft_hpo.data.ingest.files.wide_frames import Melt, header_rows, melt_of
from atft_hpo.errors import DataError

BATCH_ROWS = 131_072
_BOUNDED_READ: dict[str, Any] = {"buffer_size": 1 << 17, "pre_buffer": False}
"""With pre_buffer every row group read so far would stay in memory."""
_SNIFFED_BYTES = 1 << 20
_CSV_BLOCK_BYTES = 8 << 20
_PARQUET, _ARROW = {".parquet", ".pq", ".parq"}, {".feather", ".ftr", ".arrow", ".ipc"}
_DELIMITERS = ",;\t|"
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}


class TidyFile:
    """An open file of a table."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._melt: Melt | None = melt_of(schema)
        self.schema: pa.Schema = self._melt.schema if self._melt else schema
        """Of the rows as they will come."""

    @property
    def is_melted(self) -> bool:
        """Whether the rows are not those of the file itself."""
        return self._melt is not None

    def batches(self, columns: Sequence[str], threads: bool = True) -> Iterator[pa.RecordBatch]:
        """Some columns, at most BATCH_ROWS rows at a time, always in the same order.

        Raises:
            DataError: the file cannot be read on.
        """
        wanted = list(columns) if self._melt is None else self._melt.columns
        with _told(self.path, self.kind):
            for batch in self._read(wanted, threads):
                batch.validate(full=True)  # what is damaged is told here, with the file's name
                whole = batch.select(wanted) if self._melt is None else self._melt.rows(batch)
                for start in range(0, whole.num_rows, BATCH_ROWS):
                    yield whole.slice(start, BATCH_ROWS).select(list(columns))

    kind = "a table"
    """What the content is."""
    by_columns = False
    """Whether some columns can be read without the others, in the batches of all."""

    def _read(self, columns: list[str], threads: bool) -> Iterator[pa.RecordBatch]:
        raise NotImplementedError


class _Parquet(TidyFile):
    kind = "Parquet"
    by_columns = True

    def __init__(self, path: Path, content: pq.ParquetFile) -> None:
        super().__init__(path, content.schema_arrow)
        self._content = content

    def _read(self, columns: list[str], threads: bool) -> Iterator[pa.RecordBatch]:
        yield from self._content.iter_batches(BATCH_ROWS, columns=columns, use_threads=threads)


class _Arrow(TidyFile):
    kind = "Feather or Arrow"

    def __init__(self, path: Path, stream: bool) -> None:
        self._stream = stream
        with pa.memory_map(str(path)) as source:
            reader = self._reader(source, None)
            super().__init__(path, reader.schema)
            self.by_columns = not stream and reader.num_record_batches == 1

    def _read(self, columns: list[str], threads: bool) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(self.path)) as source:
            names = self._reader(source, None).schema.names
            source.seek(0)
            wanted = set(columns)
            fields = [i for i, name in enumerate(names) if name in wanted]
            options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=threads)
            reader = self._reader(source, options)
            if self._stream:
                yield from reader
            else:
                yield from map(reader.get_batch, range(reader.num_record_batches))

    def _reader(self, source: pa.NativeFile, options: pa.ipc.IpcReadOptions | None) -> Any:
        read = pa.ipc.open_stream if self._stream else pa.ipc.open_file
        return read(source, options=options)


class _Csv(TidyFile):
    kind = "CSV"

    def __init__(self, path: Path, compression: str | None) -> None:
        self._path, self._compression = path, compression
        with self._bytes() as stream:
            start = stream.read(_SNIFFED_BYTES)
        if b"\0" in start or not start.strip():
            raise pa.ArrowInvalid("it is empty" if not start.strip() else "its bytes are no text")
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start)
        self._delimiter = max(_DELIMITERS, key=text.split("\n", 1)[0].count)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter)
        self._header, names = header_rows(list(itertools.islice(lines, 4)))
        super().__init__(path, pa.schema([(name, pa.string()) for name in names]))
        self._names = names

    def _read(self, columns: list[str], threads: bool) -> Iterator[pa.RecordBatch]:
        read = pv.ReadOptions(
            use_threads=threads, block_size=_CSV_BLOCK_BYTES, column_names=self._names,
            skip_rows=self._header,
        )  # fmt: skip
        convert = pv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), include_columns=columns,
            null_values=[""], strings_can_be_null=True,
        )  # fmt: skip
        parse = pv.ParseOptions(delimiter=self._delimiter)
        with self._bytes() as stream:
            yield from pv.open_csv(stream, read, parse, convert)

    def _bytes(self) -> pa.NativeFile:
        return pa.input_stream(str(self._path), compression=self._compression)


@contextmanager
def opened(path: Path) -> Iterator[TidyFile]:
    """A file of a table.

    Raises:
        DataError: it cannot be read, or two of its columns have the same name.
    """
    with ExitStack() as stack:
        with _told(path, "a table"), path.open("rb") as stream:
            head = stream.read(8)
        kind = _kind(path, head)
        with _told(path, kind.kind):
            if kind is _Parquet:
                content = stack.enter_context(pq.ParquetFile(path, **_BOUNDED_READ))
                file: TidyFile = _Parquet(path, content)
            elif kind is _Arrow:
                file = _Arrow(path, stream=not head.startswith(b"ARROW1"))
            else:
                found = [name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)]
                file = _Csv(path, found[0] if found else None)
        yield _checked(file)


def _kind(path: Path, head: bytes) -> type[TidyFile]:
    """What the content is; what the name says, where it is none of the binary formats."""
    suffix = path.suffix.lower()
    if head.startswith(b"PAR1") or suffix in _PARQUET:
        return _Parquet
    arrow = head.startswith((b"ARROW1", b"\xff\xff\xff\xff")) or suffix in _ARROW
    return _Arrow if arrow else _Csv


def _checked(file: TidyFile) -> TidyFile:
    names = file.schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{file.path}: two columns have the name {twice!r}; rename one of them")
    return file


@contextmanager
def _told(path: Path, kind: str) -> Iterator[None]:
    """Errors of libraries as ours, with the file's name."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError, csv.Error, EOFError) as error:
        raise DataError(f"{path}: cannot be read as {kind} ({first_line(error)})") from error
