"""A multivariate series as one checked table: read from a file, or generated with known structure.

    series = read_series(Path("ETTh1.csv"))
    series.values_NC        # float64, rows × channels, finite, no column constant

The first column of a file is left out if it is not numeric (a date). Every problem is a DataError
that names the column and what was found in it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from atft_hpo.errors import DataError

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
"""Texts of a CSV that say that a value is absent."""

TURN = 500
"""Rows between turns of a generated cycle's period and amplitude."""


@dataclass(frozen=True)
class Series:
    """Values [rows, channels] in time order, and where they are from."""

    name: str
    channels: tuple[str, ...]
    values_NC: NDArray[np.float64]


def read_series(path: Path) -> Series:
    """The series in a CSV or Parquet file.

    Raises DataError for an absent or unreadable file, columns that are not numeric, missing,
    infinite or constant values.
    """
    table = _read(path)
    if table.width and not _numeric(table.to_series(0)):
        table = table.drop(table.columns[0])
    if table.width == 0 or table.height == 0:
        raise DataError(f"{path}: found no numeric column with values; expected a time series")
    columns = [_checked(path, table.to_series(i)) for i in range(table.width)]
    return Series(path.stem, tuple(table.columns), np.stack(columns, axis=1))


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pl.read_parquet(path)
        table = _read_csv(path, header=True)
        return _read_csv(path, header=False) if _is_headless(table) else table
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read as a series: {error}") from error


def _read_csv(path: Path, header: bool) -> pl.DataFrame:
    return pl.read_csv(path, has_header=header, infer_schema_length=None, null_values=MISSING)


def _is_headless(table: pl.DataFrame) -> bool:
    """Whether the first line holds numbers, as in some public copies of these data sets.

    Polars appends `_duplicated_0` to a repeated name.
    """
    try:
        for name in table.columns:
            float(name.split("_duplicated_")[0])
    except ValueError:
        return False
    return True


def _numeric(column: pl.Series) -> bool:
    return column.dtype.is_numeric() or column.null_count() == len(column)


def _checked(path: Path, column: pl.Series) -> NDArray[np.float64]:
    """The column as float64."""
    where = f"{path}: column {column.name!r}"
    if not _numeric(column):
        raise DataError(f"{where} is not numeric ({_example(column)}); leave it out or encode it")
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    missing = int(np.isnan(values).sum())
    if missing:
        first = int(np.isnan(values).argmax()) + 1
        raise DataError(f"{where} has {missing:,} missing values, the first in row {first:,}; fill")
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise DataError(f"{where} has {infinite:,} infinite values; replace them")
    if values.min() == values.max():
        raise DataError(f"{where} is constant ({values[0]:g} in all rows); leave it out")
    return values


def _example(column: pl.Series) -> str:
    """A value that does not read as a number, with its row."""
    if column.dtype != pl.String:
        return f"type {column.dtype}"
    bad = column.cast(pl.Float64, strict=False).is_null() & column.is_not_null()
    row = int(bad.arg_true()[0])
    return f"{column[row]!r} in row {row + 1:,}"


def drifting_cycles(rows: int, channels: int, seed: int = 0) -> Series:
    """Two cycles per channel whose period and amplitude drift, a random walk, noise.

    A cycle's period lies in 12–36 steps and moves by up to 10 % either way, its amplitude within
    0.5–2: what a window holds at its own frequencies goes on, and no one linear filter fits all.
    """
    rng = np.random.default_rng(seed)
    columns = []
    for _ in range(channels):
        cycles = _cycle(rows, rng) + _cycle(rows, rng)
        walk = rng.standard_normal(rows).cumsum() * 0.01
        columns.append(cycles + walk + 0.2 * rng.standard_normal(rows))
    return _generated("drifting cycles", np.stack(columns, axis=1))


def random_walk(rows: int, channels: int, seed: int = 0) -> Series:
    """Independent random walks: nothing to forecast but the last value."""
    steps = np.random.default_rng(seed).standard_normal((rows, channels))
    return _generated("random walk", steps.cumsum(axis=0))


def _generated(name: str, values_NC: NDArray[np.float64]) -> Series:
    return Series(name, tuple(f"c{i}" for i in range(values_NC.shape[1])), values_NC)


def _cycle(rows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """sin of an accumulated phase; log period and log amplitude wander."""
    period = 12.0 * 3.0 ** rng.uniform() * 1.2 ** (_wander(rows, rng) - 0.5)
    amplitude = 0.5 * 4.0 ** _wander(rows, rng)
    return amplitude * np.sin(np.cumsum(2 * np.pi / period) + rng.uniform(0, 2 * np.pi))


def _wander(rows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth path in [0, 1], straight for TURN rows at a time."""
    knots = rng.uniform(size=rows // TURN + 2)
    return np.interp(np.arange(rows) / TURN, np.arange(len(knots)), knots)
