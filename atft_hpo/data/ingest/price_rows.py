"""Rows of daily prices as they are given, sorted by stock, then day: arrays, nothing repaired yet.

    rows = read_price_rows(path, config)
    rows.numbers["close"], rows.place(17)          # "(2020-01-02, 7203) in 2020.csv"

Which columns are needed: date, code, volume, and open, high, low, close of one kind, raw or
adjusted. Raw prices come with their adjusted close, where there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.adjustment.split_events import Convention
from atft_hpo.data.ingest.column_names import SPLIT_CONVENTIONS, key_of
from atft_hpo.data.ingest.files.table_files import left_out, no_rows
from atft_hpo.data.ingest.row_keys import RowKeys
from atft_hpo.data.ingest.sources import (
    Source,
    absent,
    find_sources,
    require_in_all,
    taken,
    told,
)
from atft_hpo.data.ingest.values.arrow_values import flags_of
from atft_hpo.data.ingest.values.number_column import NumberColumn, all_values
from atft_hpo.errors import DataError
from atft_hpo.progress import Progress

PRICE_COLUMNS = ("open", "high", "low", "close")
_ADJUSTED = tuple(f"adj_{name}" for name in (*PRICE_COLUMNS, "volume"))
_MORE = ("traded_value", "split_factor")
_UNIVERSE = "universe"
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PriceRows:
    """R rows sorted by stock, then day; numbers are NaN where absent."""

    source: Path
    files: tuple[Path, ...]
    row_of: NDArray[np.int64]
    """The place of each row in the files, one after another."""
    stops: NDArray[np.int64]
    """Where each file's rows end."""
    dates: NDArray[np.datetime64]
    """[D] ascending."""
    codes: tuple[str, ...]
    """[N] ascending."""
    day_R: NDArray[np.int32]
    stock_R: NDArray[np.int32]
    numbers: dict[str, _Floats]
    """open, high, low, close, volume, and what else the table has: adj_close, adj_volume,
    traded_value, split_factor."""
    columns: dict[str, str]
    """Meaning → column of the input."""
    alive_R: NDArray[np.bool_]
    sector_names: tuple[str, ...]
    """Ascending; empty without a sector column."""
    sector_R: NDArray[np.int32]
    """Indices into `sector_names`; -1 where there is none."""
    unused: tuple[str, ...]
    """Columns and files that nothing was taken from."""

    @property
    def split_convention(self) -> Convention | None:
        """What `split_factor` counts (`column_names.SPLIT_CONVENTIONS`); None where unknown."""
        return SPLIT_CONVENTIONS.get(key_of(self.columns.get("split_factor", "")))

    def place(self, row: int) -> str:
        """Date, code and file of a row, for errors."""
        where = f"({self.dates[self.day_R[row]]}, {self.codes[self.stock_R[row]]})"
        if len(self.files) == 1:
            return where
        file = self.files[int(np.searchsorted(self.stops, self.row_of[row], side="right"))]
        return f"{where} in {file.name}"


def read_price_rows(source: Path, config: DataConfig, progress: Progress) -> PriceRows:
    """The rows in `source`, a file or a directory of them.

    Raises:
        DataError: a file cannot be read; a column is absent, ambiguous or cannot be understood;
            duplicate (date, code) rows; no rows.
    """
    files = price_sources(source, config)
    ignored = sorted({n for file in files for n in file.schema.names} - _own_columns(files))
    unused = (*ignored, *(file.name for file in left_out(source)))
    progress(told(files, unused))
    return _read(source, files, config, unused, progress)


def price_sources(source: Path, config: DataConfig) -> tuple[Source, ...]:
    """The files in `source` and the meanings of their columns.

    Raises:
        DataError: a file cannot be read; a column is absent or ambiguous.
    """
    optional = (*PRICE_COLUMNS, *_ADJUSTED, "volume", *_MORE, "sector")
    files = _of_one_kind(find_sources(source, config.said_columns, ("date", "code"), optional))
    for name in ("adj_close", "adj_volume"):
        require_in_all(files, name)
    universe = config.features.universe_column
    return files if universe is None else tuple(_with_universe(file, universe) for file in files)


def _of_one_kind(files: tuple[Source, ...]) -> tuple[Source, ...]:
    """All files with one set of prices: the raw ones where all have them, else the adjusted."""
    raw = all(set(PRICE_COLUMNS) <= set(file.columns) for file in files)
    if not raw and all(set(_ADJUSTED[:4]) <= set(file.columns) for file in files):
        files = tuple(_adjusted_as_given(file) for file in files)
    for file in files:
        for name in (*PRICE_COLUMNS, "volume"):
            if name not in file.columns:
                raise absent(name, file)
    left = {"adj_open", "adj_high", "adj_low"}
    return tuple(
        replace(file, columns={k: v for k, v in file.columns.items() if k not in left})
        for file in files
    )


def _adjusted_as_given(file: Source) -> Source:
    columns = {k: v for k, v in file.columns.items() if k not in (*PRICE_COLUMNS, *_ADJUSTED)}
    columns |= {name: file.columns[f"adj_{name}"] for name in PRICE_COLUMNS}
    if "adj_volume" in file.columns:
        columns["volume"] = file.columns["adj_volume"]
    return replace(file, columns=columns)


def _with_universe(file: Source, column: str) -> Source:
    if column not in file.schema.names:
        raise absent(column, file)
    return replace(file, columns={**file.columns, _UNIVERSE: column})


def _own_columns(files: Sequence[Source]) -> set[str]:
    return {column for file in files for column in file.columns.values()}


def _read(
    source: Path,
    files: tuple[Source, ...],
    config: DataConfig,
    unused: tuple[str, ...],
    progress: Progress,
) -> PriceRows:
    columns = taken(files)
    keys = RowKeys(columns, config.date_format)
    asked = [*PRICE_COLUMNS, "volume", "adj_close", "adj_volume", *_MORE]
    numbers = {name: NumberColumn(columns[name]) for name in asked if name in columns}
    universe = [_UNIVERSE] if _UNIVERSE in columns else []
    alive, lengths = [], []
    for file in files:
        lengths.append(0)
        with file.opened() as content:
            for batch in content.batches([*keys.asked, *numbers, *universe]):
                lengths[-1] += batch.num_rows
                keys.add(batch, file.path)
                for name, column in numbers.items():
                    column.add(batch.column(name), file.path)
                for name in universe:
                    alive.append(flags_of(batch.column(name), columns[name], file.path))
    if not sum(lengths):
        raise no_rows(source)
    found = keys.read(progress)
    cell_R = found.stock_R.astype(np.int64) * len(found.dates) + found.day_R
    order = np.argsort(cell_R, kind="stable")  # linear where they are in order already
    rows = PriceRows(
        source=source,
        files=tuple(file.path for file in files),
        row_of=order,
        stops=np.cumsum(lengths),
        dates=found.dates,
        codes=found.codes,
        day_R=found.day_R[order],
        stock_R=found.stock_R[order],
        numbers={name: values[order] for name, values in all_values(numbers)},
        columns=columns,
        alive_R=np.concatenate(alive)[order] if alive else np.ones(len(order), np.bool_),
        sector_names=found.sector_names,
        sector_R=found.sector_R[order],
        unused=unused,
    )
    _refuse_duplicates(rows)
    return rows


def _refuse_duplicates(rows: PriceRows) -> None:
    same_day, same_stock = np.diff(rows.day_R) == 0, np.diff(rows.stock_R) == 0
    if doubled := int((again := same_day & same_stock).sum()):
        example = rows.place(int(again.argmax()) + 1)
        raise DataError(
            f"{rows.source}: {doubled:,} duplicate (date, code) row(s), such as {example}; "
            "expected one row each: remove the duplicates"
        )
