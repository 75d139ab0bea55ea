"""The tidy input table: which columns mean what, and which row is which (date, code) cell.

`open_table` decides from schemas, and from texts that may be numbers; `read_rows` reads the narrow
columns (date, code, sector, alive, close, targets, …) in one pass and leaves the features to
`feature_columns.py`. Both raise `DataError` that names file, column, date and count.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.column_names import meaning_of
from atft_hpo.data.ingest.files.file_formats import opened
from atft_hpo.data.ingest.files.table_files import left_out, no_rows, table_files
from atft_hpo.data.ingest.number_columns import NumberColumns, plain_copies
from atft_hpo.data.ingest.row_keys import Keys, RowKeys
from atft_hpo.data.ingest.sources import (
    Source,
    absent,
    find_sources,
    is_index_name,
    require_in_all,
    taken,
    told,
)
from atft_hpo.data.ingest.values.arrow_values import flags_of
from atft_hpo.data.ingest.values.number_column import NumberColumn, all_values
from atft_hpo.errors import DataError
from atft_hpo.progress import Progress, silent

ORACLE_PREFIX = "oracle__"
REPORT_KEY = b"atft_hpo.input"
"""In the metadata of a file: what `build_features` says of its own input, as JSON."""
_TARGET = re.compile(r"target_(\d+)d")
_NUMBERS = ("close", "return_1d", "traded_value")
_FLAGS = ("alive", "tradable", "suspicious")
_KEYS = ("date", "code")
_MAY_LACK = ("sector", "return_1d", "traded_value")
"""Columns whose absence from a file says no more than: unknown there."""


@dataclass(frozen=True)
class Table:
    """The files of a tidy table and what its columns mean."""

    sources: tuple[Source, ...]
    """All can be read by columns: what could not was copied."""
    features: tuple[str, ...]
    """Numeric columns with no other meaning, in the order of the first file."""
    targets: dict[int, str]
    """Horizon in days → label column given."""
    oracle: tuple[str, ...]
    """Parts of a synthetic market's true forecast, without their prefix."""
    optional: frozenset[str]
    """Those of sector, alive, tradable, suspicious, close, return_1d, traded_value there are."""
    ignored: tuple[str, ...]
    """Columns that are neither numeric nor known; reported in the manifest."""
    report: dict[str, Any]
    """Columns taken for what, what was left out; of prices, what was mended in them."""


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
    suspicious_R: NDArray[np.bool_]
    """The return since the row before is not to be trusted; none where the table does not say."""
    sector_names: tuple[str, ...]
    """Ascending; without "unknown"."""
    sector_R: NDArray[np.int32]
    """Indices into `sector_names`; -1 where there is none."""
    rows_of_file: NDArray[np.int64]
    """Of each file of the table."""
    numbers: dict[str, NDArray[np.float64]]
    """close, return_1d, traded_value, target and oracle columns; NaN where null."""


def open_table(path: Path, config: DataConfig, copies: Path, progress: Progress = silent) -> Table:
    """The table at `path`, a file or a directory of them.

    Args:
        copies: a directory for copies of files that cannot be read by columns.

    Raises:
        DataError: no table there, a column is absent or ambiguous, files differ in features, or
            numbers written as text cannot be understood.
    """
    optional = ("sector", *_FLAGS, "adj_close", *_NUMBERS)
    by_name = (*_FLAGS, *_NUMBERS)
    report = _built_from(path)
    said = {} if report else config.said_columns
    sources = find_sources(path, said, _KEYS, optional, by_name)
    sources, raw_close = _labels_from_adjusted(sources)
    for meaning in set(optional) - set(_MAY_LACK):
        require_in_all(sources, meaning)
    targets = _targets(sources, config.horizons_days)
    fixed = {column for source in sources for column in source.columns.values()}
    fixed |= {*targets.values(), *raw_close}
    numbers = NumberColumns(sources, [n for n in _names(sources) if _may_be_number(n, fixed)])
    features = tuple(n for n in numbers.names if not n.startswith(ORACLE_PREFIX))
    oracle = [n.removeprefix(ORACLE_PREFIX) for n in numbers.names if n not in features]
    if not features:
        found = ", ".join(sources[0].schema.names)
        raise DataError(f"{sources[0].path}: no numeric feature column; found {found}")
    ignored = [n for n in _names(sources) if n not in {*numbers.names, *fixed} or n in raw_close]
    if not report:
        unused = [*ignored, *(file.name for file in left_out(path))]
        progress(told(sources, unused))
        report = {"columns": taken(sources), "unused": unused}
    found_optional = frozenset(taken(sources)) & {"sector", *_FLAGS, *_NUMBERS}
    sources = plain_copies(sources, numbers, copies)
    return Table(sources, features, targets, tuple(oracle), found_optional, tuple(ignored), report)


def read_rows(table: Table, config: DataConfig, progress: Progress = silent) -> Rows:
    """One pass over the narrow columns.

    Raises:
        DataError: dates that cannot be parsed, null keys, duplicate (date, code) rows, no rows.
    """
    columns = taken(table.sources)
    numeric: list[str] = [name for name in _NUMBERS if name in table.optional]
    numeric += [*table.targets.values(), *(ORACLE_PREFIX + part for part in table.oracle)]
    numbers = {name: NumberColumn(columns.get(name, name)) for name in numeric}
    flags: dict[str, list[NDArray[np.bool_]]] = {n: [] for n in _FLAGS if n in table.optional}
    keys = RowKeys(columns, config.date_format)
    counts = []
    for source in table.sources:
        counts.append(0)
        with source.opened() as content:
            for batch in content.batches([*keys.asked, *flags, *numeric]):
                counts[-1] += batch.num_rows
                keys.add(batch, source.name)
                for name, parts in flags.items():
                    parts.append(flags_of(batch.column(name), columns[name], source.name))
                for name, column in numbers.items():
                    column.add(batch.column(name), source.name)
    if not sum(counts):
        raise no_rows(table.sources[0].name)
    found = keys.read(progress)
    _refuse_duplicates(found)
    of_flag = {name: np.concatenate(parts) for name, parts in flags.items()}
    all_true = np.ones(len(found.day_R), dtype=np.bool_)
    return Rows(
        dates=found.dates,
        codes=found.codes,
        day_R=found.day_R,
        stock_R=found.stock_R,
        alive_R=of_flag.get("alive", all_true),
        tradable_R=of_flag.get("tradable", all_true),
        suspicious_R=of_flag.get("suspicious", ~all_true),
        sector_names=found.sector_names,
        sector_R=found.sector_R,
        rows_of_file=np.array(counts),
        numbers=dict(all_values(numbers)),
    )


def _labels_from_adjusted(sources: tuple[Source, ...]) -> tuple[tuple[Source, ...], set[str]]:
    """Adjusted closes in the place of raw ones, and the raw ones: returns come from the former."""
    require_in_all(sources, "adj_close")
    if "adj_close" not in sources[0].columns:
        return sources, set()
    raw = {source.columns["close"] for source in sources if "close" in source.columns}
    return tuple(source.renamed("adj_close", "close") for source in sources), raw


def _names(sources: tuple[Source, ...]) -> list[str]:
    """Columns of all files, those of the first file first."""
    return list(dict.fromkeys(name for source in sources for name in source.schema.names))


def _may_be_number(name: str, fixed: set[str]) -> bool:
    """Whether a column may be a feature, by its name."""
    if name in fixed or is_index_name(name) or meaning_of(name) in (*_KEYS, "sector"):
        return False
    return not _TARGET.fullmatch(name)


def _targets(sources: tuple[Source, ...], horizons: tuple[int, ...]) -> dict[int, str]:
    """Horizon → label column; what is absent is derived from closes, which must be there then."""
    common = set.intersection(*(set(source.schema.names) for source in sources))
    for source in sources:
        for h in horizons:
            if f"target_{h}d" in set(source.schema.names) - common:
                lacking = next(s for s in sources if f"target_{h}d" not in s.schema.names)
                raise absent(f"target_{h}d", lacking, f", which {source.path.name} has")
    targets = {h: f"target_{h}d" for h in horizons if f"target_{h}d" in common}
    missing = [f"target_{h}d" for h in horizons if h not in targets]
    if missing and "close" not in sources[0].columns:
        raise absent(missing[0], sources[0], " or column 'close' to derive labels from")
    return targets


def _built_from(path: Path) -> dict[str, Any]:
    """What `build_features` says of its own input; empty of any other table.

    Such a table has our names: what `data.columns` says was said of the prices.
    """
    with opened(table_files(path)[0]) as file:
        metadata = file.schema.metadata or {}
    report: dict[str, Any] = json.loads(metadata.get(REPORT_KEY, b"{}"))
    return report


def _refuse_duplicates(keys: Keys) -> None:
    cell_R = keys.day_R.astype(np.int64) * len(keys.codes) + keys.stock_R
    cells, counts = np.unique(cell_R, return_counts=True)
    if doubled := int((counts > 1).sum()):
        day, stock = divmod(int(cells[np.argmax(counts > 1)]), len(keys.codes))
        raise DataError(
            f"{doubled} (date, code) pair(s) occur more than once, such as ({keys.dates[day]}, "
            f"{keys.codes[stock]}); expected one row each: remove the duplicates"
        )
