"""The files of a table, and which column of each means what.

    sources = find_sources(path, config.columns, required=(...), optional=(...))
    for batch in batches(source, ["date", "code", "close"]): ...      # under their meanings
    taken(sources)                                                    # for people, and the manifest

Files of one table may call a column differently, hold it in another type, and have more columns
than are needed. Where no file has a column of codes, each holds one stock and bears its code in its
name, or in that of its folder.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from atft_hpo.config.toml import nearest
from atft_hpo.data.ingest.column_names import meaning_of, recognise
from atft_hpo.data.ingest.files.file_formats import TidyFile, opened
from atft_hpo.data.ingest.files.table_files import stem, table_files
from atft_hpo.data.ingest.values.dates import looks_like_dates
from atft_hpo.errors import DataError

FILE_NAME = "(name of the file)"
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+|level_\d+|index|row_(nr|index)|", re.I)
"""What libraries call an index that was saved as a column."""


@dataclass(frozen=True)
class Source:
    """A file of a table."""

    path: Path
    schema: pa.Schema
    columns: Mapping[str, str]
    """Meaning → column."""
    code: str | None = None
    """The code of all its rows, where no column says."""
    given: Path | None = None
    """The user's file, where `path` is a copy of it."""

    @property
    def name(self) -> Path:
        """The file that errors name."""
        return self.given or self.path

    def renamed(self, meaning: str, other: str) -> "Source":
        """The column of `meaning` in the place of that of `other`."""
        kept = {m: column for m, column in self.columns.items() if m not in (meaning, other)}
        return replace(self, columns={**kept, other: self.columns[meaning]})

    @contextmanager
    def opened(self) -> Iterator["OpenSource"]:
        """The file, open.

        Raises:
            DataError: it cannot be read.
        """
        with opened(self.path) as file:
            yield OpenSource(self, file)


@dataclass(frozen=True)
class OpenSource:
    """A file that is open."""

    source: Source
    file: TidyFile

    def batches(self, columns: Sequence[str], threads: bool = True) -> Iterator[pa.RecordBatch]:
        """Batches of these columns, by meaning or else by their own name; null where absent."""
        source = self.source
        own = {name: source.columns.get(name, name) for name in columns}
        there = [name for name in own.values() if name in source.schema.names]
        for batch in self.file.batches(there, threads):
            yield pa.RecordBatch.from_arrays(
                [
                    _constant(source.code, batch.num_rows)
                    if name == "code" and source.code is not None
                    else batch.column(column)
                    if column in there
                    else pa.nulls(batch.num_rows)
                    for name, column in own.items()
                ],
                names=list(own),
            )


def find_sources(
    path: Path,
    said: Mapping[str, str],
    required: Sequence[str],
    optional: Iterable[str],
    by_name: Collection[str] = (),
) -> tuple[Source, ...]:
    """The files at `path` and the meanings of their columns, `required` ones in each.

    Args:
        said, by_name: see `column_names.recognise`.

    Raises:
        DataError: no table there, a file that cannot be read, a column that is absent or that two
            columns may be, or a meaning said that nothing here has.
    """
    files, meanings = table_files(path), [*required, *optional]
    _refuse_unread(said, meanings, path)
    found = [_recognised(file, said, meanings, by_name) for file in files]
    if path.is_dir() and "code" in required and not any("code" in s.columns for s in found):
        found = [replace(source, code=_code_of(source.path, path)) for source in found]
    for source in found:
        for meaning in required:
            if meaning not in source.columns and not (meaning == "code" and source.code):
                raise absent(meaning, source)
    return tuple(found)


def absent(meaning: str, source: Source, alternative: str = "") -> DataError:
    """The error for a file that lacks a column."""
    hint = nearest(meaning, source.schema.names, "columns")
    return DataError(
        f"{source.path}: no column {meaning!r}{alternative}; {hint} (data.columns.{meaning} may "
        "name it)"
    )


def require_in_all(sources: Sequence[Source], meaning: str) -> None:
    """Refuse files without a column that others have, where an absent value would mislead.

    Raises:
        DataError: names the first such file.
    """
    having = [source for source in sources if meaning in source.columns]
    lacking = [source for source in sources if meaning not in source.columns]
    if having and lacking:
        raise absent(meaning, lacking[0], f", which {having[0].path.name} has")


def taken(sources: Sequence[Source]) -> dict[str, str]:
    """Meaning → column, over all files."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        for meaning, column in source.columns.items():
            found.setdefault(meaning, {})[column] = None
        if source.code is not None:
            found.setdefault("code", {})[FILE_NAME] = None
    return {meaning: " / ".join(columns) for meaning, columns in found.items()}


def told(sources: Sequence[Source], unused: Sequence[str]) -> str:
    """One line for people: what was taken for what, and what was not."""
    pairs = ", ".join(f"{meaning} = {column}" for meaning, column in taken(sources).items())
    return f"columns: {pairs}" + (f"; left out: {', '.join(unused)}" if unused else "")


def _refuse_unread(said: Mapping[str, str], meanings: Sequence[str], path: Path) -> None:
    """Refuse a meaning that would be passed over in silence."""
    for meaning in said:
        if meaning not in meanings:
            hint = (
                " (data.features.universe_column names the universe)" if meaning == "alive" else ""
            )
            raise DataError(
                f"{path}: data.columns.{meaning} is not read from such a table{hint}; leave it "
                f"out: expected some of {', '.join(meanings)}"
            )


def is_index_name(name: str) -> bool:
    """Whether a library calls a saved index so."""
    return _INDEX.fullmatch(name) is not None


def _recognised(
    path: Path, said: Mapping[str, str], meanings: Sequence[str], by_name: Collection[str]
) -> Source:
    with opened(path) as file:
        names = file.schema.names
        columns = recognise(names, said, meanings, path, by_name)
        if "date" not in columns and "date" in meanings:
            index = (name for name in names if is_index_name(name) and _holds_dates(file, name))
            if (dates := next(index, None)) is not None:
                columns["date"] = dates
        return Source(path, file.schema, columns)


def _code_of(path: Path, table: Path) -> str:
    """The code that a file of one stock bears: 7203 of 7203.csv, or of code=7203/part-0.parquet,
    as engines name the folders of a table that they partition."""
    for folder in path.relative_to(table).parent.parts[::-1]:
        key, equals, value = folder.partition("=")
        if equals and value and meaning_of(key) == "code":
            return unquote(value)
    return stem(path)


def _holds_dates(file: TidyFile, name: str) -> bool:
    first = next(file.batches([name]), None)
    return first is not None and looks_like_dates(first.column(0))


def _constant(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), [text])
