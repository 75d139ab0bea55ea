"""The tidy input table: which columns mean what, and which row is which (date, code) cell.

`open_table` looks at schemas only; `read_rows` reads the narrow columns (date, code, sector,
alive, close, targets, …) in one pass and leaves the features to `feature_columns.py`. Both raise
`DataError` that names file, column, date and count.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atft_hpo.data.ingest.arrow_values import (
    Vocabulary,
    dates_of,
    flags_of,
    is_number,
    numbers_of,
    without_null,
)
from atft_hpo.data.ingest.tidy_files import (
    BATCH_ROWS,
    common_schema,
    no_rows,
    opened,
    require_column,
    table_files,
)
from atft_hpo.errors import DataError

ORACLE_PREFIX = "oracle__"
REPORT_KEY = b"atft_hpo.input"
"""In the metadata of a Parquet file: what `build_features` says of its own input, as JSON."""
_TARGET = re.compile(r"target_(\d+)d")
_NUMBERS = ("close", "return_1d", "traded_value")
_FLAGS = ("alive", "tradable")
_RESERVED = ("date", "code", "sector", *_FLAGS, *_NUMBERS)


@dataclass(frozen=True)
class Table:
    """The files of a tidy table and what its columns mean."""

    files: tuple[Path, ...]
    features: tuple[str, ...]
    """Numeric columns with no other meaning, in the order of the first file."""
    targets: dict[int, str]
    """Horizon in days → label column given."""
    oracle: tuple[str, ...]
    """Parts of a synthetic market's true forecast, without their prefix."""
    optional: frozenset[str]
    """Those of sector, alive, tradable, close, return_1d, traded_value that are there."""
    ignored: tuple[str, ...]
    """Columns that are neither numeric nor known; reported in the manifest."""
    report: dict[str, Any]
    """What `build_features` says of the prices the table was built from; else empty."""

    def batches(self, columns: list[str]) -> Iterator[tuple[Path, pa.RecordBatch]]:
        """Record batches of at most BATCH_ROWS rows, file after file, always in the same order.

        Raises:
            DataError: a file cannot be read.
        """
        for path in self.files:
            with opened(path) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                    yield path, batch


@dataclass(frozen=True)
class Rows:
    """Every row's cell, and the narrow columns as rows. R rows in the table's order."""

    dates: NDArray[np.datetime64]
    """[D] ascending."""
    codes: tuple[str, ...]
    """[N] ascending."""
    day_R: NDArray[np.int32]
    stock_R: NDArray[np.int32]
    alive_R: NDArray[np.bool_]
    """In the universe that day; all where the table does not say."""
    tradable_R: NDArray[np.bool_]
    """Can be bought and sold at that day's close; all where the table does not say."""
    sector_names: tuple[str, ...]
    """Ascending; without "unknown"."""
    sector_R: NDArray[np.int32]
    """Indices into `sector_names`; -1 where there is none."""
    rows_of_file: NDArray[np.int64]
    """Of each file of the table."""
    numbers: dict[str, NDArray[np.float64]]
    """close, return_1d, traded_value, target and oracle columns; NaN where null."""


def open_table(path: Path, horizons_days: tuple[int, ...]) -> Table:
    """The table at `path`, a Parquet file or a directory of them.

    Raises:
        DataError: no Parquet file, a required column is missing, or files differ in columns.
    """
    files = table_files(path)
    return _classify(files, common_schema(files), horizons_days)


def read_rows(table: Table) -> Rows:
    """One pass over the narrow columns.

    Raises:
        DataError: dates that cannot be parsed, null keys, duplicate (date, code) rows, no rows.
    """
    numeric: list[str] = [name for name in _NUMBERS if name in table.optional]
    numeric += [*table.targets.values(), *(ORACLE_PREFIX + part for part in table.oracle)]
    flags = [name for name in _FLAGS if name in table.optional]
    extra = [*flags, *(("sector",) if "sector" in table.optional else ())]
    codes, sectors = Vocabulary(), Vocabulary()
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("date", "code", *extra, *numeric)}
    rows_of_file = dict.fromkeys(table.files, 0)
    for file, batch in table.batches(list(parts)):
        rows_of_file[file] += batch.num_rows
        parts["date"].append(dates_of(batch.column("date"), file))
        parts["code"].append(codes.encode(without_null(batch.column("code"), "code", file)))
        if "sector" in extra:
            parts["sector"].append(sectors.encode(batch.column("sector")))
        for name in flags:
            parts[name].append(flags_of(batch.column(name), name, file))
        for name in numeric:
            parts[name].append(numbers_of(batch.column(name), pa.float64()))
    if not parts["date"]:
        raise no_rows(table.files[0])
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    counts = np.array(list(rows_of_file.values()))
    return _index(columns, numeric, counts, codes, sectors)


def _classify(files: tuple[Path, ...], schema: pa.Schema, horizons: tuple[int, ...]) -> Table:
    names = schema.names
    require_column("date", files[0], names)
    require_column("code", files[0], names)
    targets = {h: f"target_{h}d" for h in horizons if f"target_{h}d" in names}
    absent = [f"target_{h}d" for h in horizons if h not in targets]
    if absent and "close" not in names:
        require_column(absent[0], files[0], names, " or column 'close' to derive labels from")
    features, ignored = [], []
    for field in schema:
        if field.name in _RESERVED or field.name.startswith(ORACLE_PREFIX):
            continue
        usable = is_number(field.type) and not _TARGET.fullmatch(field.name)
        if usable:
            features.append(field.name)
        elif field.name not in targets.values():
            ignored.append(field.name)
    if not features:
        raise DataError(f"{files[0]}: no numeric feature column; found {', '.join(names)}")
    oracle = [n.removeprefix(ORACLE_PREFIX) for n in names if n.startswith(ORACLE_PREFIX)]
    optional = frozenset({"sector", *_FLAGS, *_NUMBERS} & set(names))
    report = json.loads((schema.metadata or {}).get(REPORT_KEY, b"{}"))
    return Table(files, tuple(features), targets, tuple(oracle), optional, tuple(ignored), report)


def _index(
    columns: dict[str, NDArray[Any]],
    numeric: list[str],
    rows_of_file: NDArray[np.int64],
    codes: Vocabulary,
    sectors: Vocabulary,
) -> Rows:
    days, day_R = np.unique(columns["date"], return_inverse=True)
    dates = days.astype("datetime64[D]")
    code_names, stock_R = codes.ascending(columns["code"])
    _refuse_duplicates(dates, code_names, day_R, stock_R)
    unknown = np.full(len(day_R), -1, dtype=np.int32)
    all_true = np.ones(len(day_R), dtype=np.bool_)
    sector_names, sector_R = sectors.ascending(columns.get("sector", unknown))
    return Rows(
        dates=dates,
        codes=code_names,
        day_R=day_R.astype(np.int32),
        stock_R=stock_R,
        alive_R=columns.get("alive", all_true),
        tradable_R=columns.get("tradable", all_true),
        sector_names=sector_names,
        sector_R=sector_R,
        rows_of_file=rows_of_file,
        numbers={name: columns[name] for name in numeric},
    )


def _refuse_duplicates(
    dates: NDArray[np.datetime64],
    codes: tuple[str, ...],
    day_R: NDArray[np.int64],
    stock_R: NDArray[np.int32],
) -> None:
    cells, counts = np.unique(day_R.astype(np.int64) * len(codes) + stock_R, return_counts=True)
    if doubled := int((counts > 1).sum()):
        day, stock = divmod(int(cells[np.argmax(counts > 1)]), len(codes))
        raise DataError(
            f"{doubled} (date, code) pair(s) occur more than once, such as ({dates[day]}, "
            f"{codes[stock]}); expected one row each: remove the duplicates"
        )
