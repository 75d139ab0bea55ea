"""The Parquet files of a table with one row per (date, code): which they are, what all must have.

    files = table_files(path)                 # a path without any is refused
    schema = common_schema(files)             # and so is a file with other columns
    with opened(files[0]) as file: ...

What columns mean is the readers' affair: `table.py` reads in pieces, `prices.py` all at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atft_hpo.config.toml import nearest
from atft_hpo.errors import DataError

BATCH_ROWS = 131_072
_BOUNDED_READ: dict[str, Any] = {"buffer_size": 1 << 17, "pre_buffer": False}
"""With pre_buffer every row group read so far would stay in memory."""


def parquet_files(path: Path) -> list[Path]:
    """The file at `path`, or every Parquet file in the directory and below, always in one order.

    Folders behind links count, each once; a folder named like a file counts for what is in it.
    """
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    seen: set[Path] = set()
    for root, folders, files in os.walk(path, followlinks=True):
        place = Path(root)
        if place.resolve() in seen:
            folders.clear()
            continue
        seen.add(place.resolve())
        found += [place / name for name in files if name.endswith(".parquet")]
    return sorted(found)


def table_files(path: Path) -> tuple[Path, ...]:
    """`parquet_files`, at least one.

    Raises:
        DataError: there is none.
    """
    files = tuple(parquet_files(path))
    if not files:
        raise DataError(f"{path}: no *.parquet file in it; give a Parquet file or a directory")
    if not files[0].is_file():
        raise DataError(f"{path}: no such file; give a Parquet file or a directory of them")
    return files


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A file of a table.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with pq.ParquetFile(path, **_BOUNDED_READ) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error})") from error


def common_schema(files: tuple[Path, ...]) -> pa.Schema:
    """The schema of the first file, whose columns all have.

    Raises:
        DataError: a file cannot be read, or has other columns.
    """
    schemas = {file: _schema(file) for file in files}
    first = schemas[files[0]]
    for file, schema in schemas.items():
        if difference := set(schema.names) ^ set(first.names):
            raise DataError(
                f"{file}: columns differ from those of {files[0].name} by "
                f"{', '.join(sorted(difference)[:5])}; expected the same columns in every file"
            )
    return first


def require_column(column: str, place: Path, names: list[str], alternative: str = "") -> None:
    """Refuse a table without `column`.

    Raises:
        DataError: names `alternative`, what would do instead, and the nearest column.
    """
    if column not in names:
        raise DataError(
            f"{place}: no column {column!r}{alternative}; {nearest(column, names, 'columns')}"
        )


def no_rows(place: Path) -> DataError:
    """The error for an empty table."""
    return DataError(f"{place}: no rows; expected one row per (date, code)")


def first_line(error: Exception) -> str:
    """What a library's error says, in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _schema(file: Path) -> pa.Schema:
    with opened(file) as content:
        return content.schema_arrow
