"""The files of a table with one row per (date, code): which they are.

    files = table_files(path)                 # a path without any is refused
    for line in left_out(path): ...           # what else lies there

A path is a path, never a pattern. What is in a file is `file_formats.py`'s affair.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from atft_hpo.data.ingest.column_names import meaning_of
from atft_hpo.errors import DataError

_SUFFIXES = {
    ".parquet", ".pq", ".parq", ".csv", ".tsv", ".feather", ".ftr", ".arrow", ".ipc",
}  # fmt: skip
_COMPRESSED = {".gz", ".bz2", ".zst"}
_FOREIGN = {
    ".xlsx", ".xls", ".xlsb", ".ods", ".h5", ".hdf", ".hdf5", ".pkl", ".pickle", ".jsonl",
    ".ndjson", ".zip", ".tar", ".tgz", ".7z", ".rar", ".xz", ".dta", ".sas7bdat",
    ".orc", ".avro", ".npz",
}  # fmt: skip
"""Tables in formats that are not read: silence would lose their rows."""
_LINE_BYTES = 1 << 16
FORMATS = "Parquet, CSV (also .gz) or Feather/Arrow"


def files_at(path: Path) -> list[Path]:
    """The file at `path`, or every table in the directory and below, always in one order.

    Folders behind links count, each once; a folder named like a file counts for what is in it;
    names that begin with a point or an underscore are marks of other programs.

    Raises:
        DataError: a file there is a table of a format that is not read.
    """
    if not path.is_dir():
        return [path]
    found = []
    for file in _walk(path):
        suffixes = _suffixes(file)
        if suffixes and suffixes[0] in _FOREIGN:
            raise DataError(f"{file}: {suffixes[0]} is not read; give {FORMATS}, or move it away")
        if suffixes and (suffixes[0] in _SUFFIXES or _is_table_of_text(file)):
            found.append(file)
    return sorted(found)


def left_out(path: Path) -> list[Path]:
    """Files of a directory that are no table, by their names."""
    taken = set(files_at(path))
    return sorted(file for file in _walk(path) if file not in taken) if path.is_dir() else []


def table_files(path: Path) -> tuple[Path, ...]:
    """`files_at`, at least one.

    Raises:
        DataError: there is none.
    """
    files = tuple(files_at(path))
    if not files:
        raise DataError(f"{path}: no table in it; give a file or a directory of {FORMATS}")
    if not files[0].is_file():
        raise DataError(f"{path}: no such file; give a file or a directory of {FORMATS}")
    return files


def stem(path: Path) -> str:
    """The name without what says its format: AAPL of AAPL.csv.gz, BRK.B of BRK.B.parquet."""
    if path.is_dir():
        return path.name
    suffixes = _suffixes(path)
    known = bool(suffixes) and suffixes[0] in _SUFFIXES | {".txt"}
    return path.name[: -sum(map(len, suffixes))] if known else path.stem


def no_rows(place: Path) -> DataError:
    """The error for an empty table."""
    return DataError(f"{place}: no rows; expected one row per (date, code)")


def first_line(error: Exception) -> str:
    """What a library's error says, in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _walk(path: Path) -> list[Path]:
    found: list[Path] = []
    seen: set[Path] = set()
    for root, folders, files in os.walk(path, followlinks=True):
        place = Path(root)
        if place.resolve() in seen:
            folders.clear()
            continue
        seen.add(place.resolve())
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [place / name for name in files if not name.startswith((".", "_"))]
    return found


def _is_table_of_text(file: Path) -> bool:
    """Whether a .txt is a CSV by another name: its first line names a column of dates."""
    if file.suffix.lower() != ".txt":
        return False
    with suppress(OSError), file.open(encoding="utf-8-sig", errors="replace") as stream:
        names = re.split(r"[,;\t|]", stream.readline(_LINE_BYTES))
        return len(names) > 2 and "date" in map(meaning_of, names)
    return False


def _suffixes(file: Path) -> list[str]:
    """The one that says the format, and that of a compression after it; in small letters."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if len(suffixes) > 1 and suffixes[-1] in _COMPRESSED:
        return suffixes[-2:]
    return suffixes[-1:]
