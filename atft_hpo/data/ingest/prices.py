"""Daily prices as arrays: read from Parquet, checked, adjusted, sorted by (code, date).

    prices = read_prices(path, config.data, progress=print)

Input columns: date, code, open, high, low, close, volume; optional adj_close, adj_volume,
traded_value, split_factor (see `adjustment.adjusted_prices` on what becomes of them), sector, and a
boolean universe column. Other columns are ignored.
What cannot be right is an error. One blemish is mended and reported: a high below, or a low above,
the day's open or close is widened to contain both.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.adjustment.adjusted_prices import RawPrices, adjust
from atft_hpo.data.ingest.adjustment.split_events import splits_in_column
from atft_hpo.data.ingest.tidy_files import first_line, no_rows, parquet_files, require_column
from atft_hpo.errors import DataError
from atft_hpo.progress import Progress

PRICE_COLUMNS = ("open", "high", "low", "close")
REQUIRED_COLUMNS = ("date", "code", *PRICE_COLUMNS, "volume")
SECTOR = "sector"
_ADJUSTMENT = ("adj_close", "adj_volume", "traded_value", "split_factor")
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prices:
    """R rows sorted by stock, then day. N stocks, D days."""

    dates: NDArray[np.datetime64]
    """[D] ascending."""
    codes: tuple[str, ...]
    """[N] ascending."""
    starts: NDArray[np.int64]
    """[N + 1] first row of each stock, then R."""
    day_R: NDArray[np.int32]
    open_R: _Floats
    high_R: _Floats
    low_R: _Floats
    close_R: _Floats
    volume_R: _Floats
    """In shares of the stock's last row, as far as splits are known; NaN where null."""
    traded_value_R: _Floats
    """The day's money; NaN where the volume is null."""
    alive_R: NDArray[np.bool_]
    """In the universe that day."""
    tradable_R: NDArray[np.bool_]
    """Can be bought and sold at that day's close."""
    sector_names: tuple[str, ...]
    """Ascending; empty without a sector column."""
    sector_R: NDArray[np.int32]
    """Indices into `sector_names`; -1 where there is none."""
    report: dict[str, Any]
    """For the panel's manifest: how prices and volume were adjusted, how many were mended."""
    price_factor_R: _Floats | None = None
    """Adjusted over given prices, which later splits and dividends decide; None: not adjusted."""
    share_factor_R: _Floats | None = None
    """Shares of the stock's last row are the day's over this; None without a known split."""


def read_prices(source: Path, config: DataConfig, progress: Progress) -> Prices:
    """The prices in `source`, a Parquet file or a directory of them.

    Raises:
        DataError: unreadable file, a missing column, duplicate (date, code) rows, a price that is
            null, not finite or ≤ 0, a volume < 0.
    """
    universe_column = config.features.universe_column
    frame = _sorted(_read(source, universe_column), source)
    dates = frame["date"].unique().sort()
    codes = frame["code"].unique(maintain_order=True)
    starts = np.flatnonzero(frame["code"].ne_missing(frame["code"].shift(1)).to_numpy())
    starts = np.append(starts, frame.height)
    numbers = {name: _checked_prices(frame, name, source) for name in _price_columns(frame)}
    volume_R = _checked_volume(frame, source)
    clamped = _contain(numbers)
    progress(f"{frame.height:,} rows, {len(codes):,} stocks, {len(dates):,} days")
    if clamped:
        progress(f"{clamped:,} rows had open or close outside low … high: widened to contain them")
    raw = _raw(frame, starts, numbers, volume_R)
    adjusted = adjust(raw, config.volume_adjustment, progress)
    sector_names, sector_R = _sectors(frame)
    return Prices(
        dates=dates.to_numpy().astype("datetime64[D]"),
        codes=tuple(codes),
        starts=starts,
        day_R=dates.search_sorted(frame["date"]).to_numpy().astype(np.int32),
        open_R=adjusted.open_R,
        high_R=adjusted.high_R,
        low_R=adjusted.low_R,
        close_R=adjusted.close_R,
        volume_R=adjusted.volume_R,
        traded_value_R=adjusted.traded_value_R,
        alive_R=_flags(frame, universe_column),
        tradable_R=volume_R > 0,
        sector_names=sector_names,
        sector_R=sector_R,
        report={"widened": clamped, "adjustment": adjusted.report},
        price_factor_R=adjusted.price_factor_R,
        share_factor_R=adjusted.share_factor_R,
    )


def _read(source: Path, universe_column: str | None) -> pl.DataFrame:
    try:
        lazy = pl.scan_parquet(parquet_files(source))
        found = lazy.collect_schema()
        wanted = [*REQUIRED_COLUMNS, *([universe_column] if universe_column else [])]
        for name in wanted:
            require_column(name, source, found.names())
        optional = [name for name in (*_ADJUSTMENT, SECTOR) if name in found]
        columns = list(dict.fromkeys([*wanted, *optional]))
        return lazy.select(columns).with_columns(_types(found, universe_column)).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{source}: cannot be read as daily prices ({first_line(error)})"
        ) from error


def _types(found: pl.Schema, universe_column: str | None) -> list[pl.Expr]:
    numbers = [*PRICE_COLUMNS, "volume", *(name for name in _ADJUSTMENT if name in found)]
    date = pl.col("date")
    types = [date.str.to_date() if found["date"] == pl.String else date.cast(pl.Date)]
    types.append(pl.col("code").cast(pl.String))
    types += [pl.col(name).cast(pl.Float64) for name in numbers]
    if SECTOR in found:
        types.append(pl.col(SECTOR).cast(pl.String))
    if universe_column:
        types.append(pl.col(universe_column).cast(pl.Boolean))
    return types


def _sorted(frame: pl.DataFrame, source: Path) -> pl.DataFrame:
    if frame.is_empty():
        raise no_rows(source)
    for name in ("date", "code"):
        if nulls := frame[name].null_count():
            raise DataError(f"{source}: column {name!r} is null in {nulls:,} row(s)")
    frame = frame.sort("code", "date")
    again = (frame["code"] == frame["code"].shift(1)) & (frame["date"] == frame["date"].shift(1))
    if doubled := int(again.sum()):
        example = _place(frame, int(again.fill_null(False).arg_max() or 0))
        raise DataError(
            f"{source}: {doubled:,} duplicate (date, code) row(s), such as {example}; "
            "expected one row each: remove the duplicates"
        )
    return frame


def _price_columns(frame: pl.DataFrame) -> list[str]:
    return [name for name in (*PRICE_COLUMNS, "adj_close") if name in frame.columns]


def _checked_prices(frame: pl.DataFrame, name: str, source: Path) -> _Floats:
    values = frame[name].to_numpy(writable=True)
    wrong = ~(np.isfinite(values) & (values > 0))
    _refuse(frame, name, wrong, "a finite price above 0", source)
    return values


def _checked_volume(frame: pl.DataFrame, source: Path) -> _Floats:
    values = frame["volume"].to_numpy(writable=True)
    _refuse(
        frame, "volume", (values < 0) | np.isinf(values), "a finite volume of 0 or more", source
    )
    return values


def _refuse(
    frame: pl.DataFrame, name: str, wrong: NDArray[np.bool_], expected: str, source: Path
) -> None:
    if count := int(wrong.sum()):
        row = int(wrong.argmax())
        raise DataError(
            f"{source}: column {name!r} has {count:,} wrong value(s), such as "
            f"{frame[name][row]} at {_place(frame, row)}; expected {expected}: "
            "mend or remove those rows"
        )


def _place(frame: pl.DataFrame, row: int) -> str:
    return f"({frame['date'][row]}, {frame['code'][row]})"


def _contain(numbers: dict[str, _Floats]) -> int:
    """Widen high and low to contain open and close, in place; returns the rows it touched."""
    top = np.maximum(numbers["open"], numbers["close"])
    bottom = np.minimum(numbers["open"], numbers["close"])
    touched = int(((numbers["high"] < top) | (numbers["low"] > bottom)).sum())
    np.maximum(numbers["high"], top, out=numbers["high"])
    np.minimum(numbers["low"], bottom, out=numbers["low"])
    return touched


def _raw(
    frame: pl.DataFrame, starts: NDArray[np.int64], numbers: dict[str, _Floats], volume_R: _Floats
) -> RawPrices:
    more = {name: frame[name].to_numpy() for name in _ADJUSTMENT[1:] if name in frame.columns}
    split_R = more.get("split_factor")
    return RawPrices(
        starts=starts,
        open_R=numbers["open"],
        high_R=numbers["high"],
        low_R=numbers["low"],
        close_R=numbers["close"],
        volume_R=volume_R,
        adj_close_R=numbers.get("adj_close"),
        adj_volume_R=more.get("adj_volume"),
        traded_value_R=more.get("traded_value"),
        split_ratio_R=None if split_R is None else splits_in_column(split_R, None, starts),
    )


def _flags(frame: pl.DataFrame, universe_column: str | None) -> NDArray[np.bool_]:
    if universe_column is None:
        return np.ones(frame.height, dtype=np.bool_)
    return frame[universe_column].fill_null(False).to_numpy()


def _sectors(frame: pl.DataFrame) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Names, ascending, and each row's number."""
    if SECTOR not in frame.columns:
        return (), np.full(frame.height, -1, dtype=np.int32)
    names = frame[SECTOR].drop_nulls().unique().sort()
    numbers = frame[SECTOR].cast(pl.Enum(names)).to_physical().cast(pl.Int32)
    return tuple(names), numbers.fill_null(-1).to_numpy()
