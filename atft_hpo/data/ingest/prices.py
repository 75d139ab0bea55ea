"""Daily prices as arrays: read from any table, checked, adjusted, sorted by (code, date).

    prices = read_prices(path, config.data, progress=print)

`price_rows.py` says which columns there must be, `repairs.py` what becomes of rows without a trade
and of blemishes. What cannot be right is an error; what was taken, mended or left out is told once
and kept in `Prices.report`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.adjustment.adjusted_prices import RawPrices, adjust
from atft_hpo.data.ingest.adjustment.split_events import onto_kept_rows, splits_in_column
from atft_hpo.data.ingest.price_rows import PRICE_COLUMNS, PriceRows, read_price_rows
from atft_hpo.data.ingest.repairs import (
    KINDS,
    limit_locked,
    mend,
    refuse_adjusted_close_alone,
    refuse_impossible,
    refuse_too_many,
    rows_with_close,
)
from atft_hpo.errors import DataError
from atft_hpo.progress import Progress

_Floats = NDArray[np.float64]


def _no_dates() -> NDArray[np.datetime64]:
    return np.empty(0, "datetime64[D]")


@dataclass(frozen=True)
class Prices:
    """R rows sorted by stock, then day; a row is a day with a known close. N stocks, D days."""

    dates: NDArray[np.datetime64]
    """[D] ascending."""
    codes: tuple[str, ...]
    """[N] ascending."""
    starts: NDArray[np.int64]
    """[N + 1] first row of each stock, then R."""
    day_R: NDArray[np.int32]
    open_R: _Floats
    """NaN where the day's range is unknown, as high and low."""
    high_R: _Floats
    low_R: _Floats
    close_R: _Floats
    volume_R: _Floats
    """In shares of the stock's last row, as far as splits are known; 0 where nothing was traded."""
    traded_value_R: _Floats
    """The day's money: the table's own, else raw close times raw volume."""
    alive_R: NDArray[np.bool_]
    """In the universe that day."""
    tradable_R: NDArray[np.bool_]
    """Can be bought and sold at that day's close: something was traded, not locked at a limit."""
    sector_names: tuple[str, ...]
    """Ascending; empty without a sector column."""
    sector_R: NDArray[np.int32]
    """Indices into `sector_names`; -1 where there is none."""
    report: dict[str, Any]
    """For the manifest: `columns` taken for what, `unused` ones, rows `repaired`, `adjustment`."""
    price_factor_R: _Floats | None = None
    """Adjusted over given prices, which later splits and dividends decide; None: not adjusted."""
    share_factor_R: _Floats | None = None
    """Shares of the stock's last row are the day's over this; None without a known split."""
    empty_dates: NDArray[np.datetime64] = field(default_factory=_no_dates)
    """Days left out on which the table has rows and no stock has a close."""


def read_prices(source: Path, config: DataConfig, progress: Progress) -> Prices:
    """The prices in `source`, a file or a directory of them.

    Raises:
        DataError: a file cannot be read; a column is absent or ambiguous; duplicate (date, code)
            rows; a price or volume is infinite or below 0; more had to be mended or left out than
            `data.max_repaired_share`; the close alone is adjusted.
    """
    rows = read_price_rows(source, config, progress)
    refuse_impossible(rows)
    kept, counts = rows_with_close(rows)
    given, ratio_R = rows, _split_ratios(rows, kept)
    rows = _only(rows, kept)
    refuse_adjusted_close_alone(rows, config.max_repaired_share)
    one_price_R = _one_price(rows)
    counts |= mend(rows.numbers)
    refuse_too_many(given, counts, config.max_repaired_share)
    starts = np.searchsorted(rows.stock_R, np.arange(len(rows.codes) + 1))
    adjusted = adjust(_raw(rows, starts, ratio_R), config.volume_adjustment, progress)
    locked_R = limit_locked(one_price_R, adjusted.close_R, starts)
    counts["limit_locked"] = int((locked_R & (adjusted.volume_R > 0)).sum())
    counts = {kind: counts[kind] for kind in KINDS if counts[kind]}
    empty = np.setdiff1d(given.dates, rows.dates)
    _tell(rows, counts, empty, progress)
    return Prices(
        dates=rows.dates,
        codes=rows.codes,
        starts=starts,
        day_R=rows.day_R,
        open_R=adjusted.open_R,
        high_R=adjusted.high_R,
        low_R=adjusted.low_R,
        close_R=adjusted.close_R,
        volume_R=adjusted.volume_R,
        traded_value_R=adjusted.traded_value_R,
        alive_R=rows.alive_R,
        tradable_R=(adjusted.volume_R > 0) & ~locked_R,
        sector_names=rows.sector_names,
        sector_R=rows.sector_R,
        report={
            "columns": rows.columns,
            "unused": list(rows.unused),
            "repaired": counts,
            "adjustment": adjusted.report,
        },
        price_factor_R=adjusted.price_factor_R,
        share_factor_R=adjusted.share_factor_R,
        empty_dates=empty,
    )


def _tell(
    rows: PriceRows,
    counts: dict[str, int],
    empty: NDArray[np.datetime64],
    progress: Progress,
) -> None:
    progress(f"{len(rows.codes):,} stocks, {len(rows.dates):,} days, {len(rows.day_R):,} rows")
    if len(empty):
        progress(f"{len(empty):,} days without any close, such as {empty[0]}: left out")
    for kind, count in counts.items():
        progress(f"{count:,} rows {KINDS[kind]} ({kind})")


def _only(rows: PriceRows, kept: NDArray[np.bool_]) -> PriceRows:
    """The rows that are prices, and the days and stocks that have one."""
    if kept.all():
        return rows
    if not kept.any():
        raise DataError(f"{rows.source}: no row has a close; expected daily prices")
    days, day_R = np.unique(rows.day_R[kept], return_inverse=True)
    stocks, stock_R = np.unique(rows.stock_R[kept], return_inverse=True)
    return replace(
        rows,
        row_of=rows.row_of[kept],
        dates=rows.dates[days],
        codes=tuple(rows.codes[stock] for stock in stocks),
        day_R=day_R.astype(np.int32),
        stock_R=stock_R.astype(np.int32),
        numbers={name: values[kept] for name, values in rows.numbers.items()},
        alive_R=rows.alive_R[kept],
        sector_R=rows.sector_R[kept],
    )


def _one_price(rows: PriceRows) -> NDArray[np.bool_]:
    open_R, high_R, low_R, close_R = (rows.numbers[name] for name in PRICE_COLUMNS)
    equal: NDArray[np.bool_] = (open_R == close_R) & (high_R == close_R) & (low_R == close_R)
    return equal


def _split_ratios(rows: PriceRows, kept: NDArray[np.bool_]) -> _Floats | None:
    """[kept rows] new shares per old one on the day of a split, from the column of splits."""
    column_R = rows.numbers.get("split_factor")
    if column_R is None:
        return None
    starts = np.searchsorted(rows.stock_R, np.arange(len(rows.codes) + 1))
    ratio_R = splits_in_column(column_R, rows.split_convention, starts)
    return onto_kept_rows(ratio_R, kept, rows.stock_R)


def _raw(rows: PriceRows, starts: NDArray[np.int64], ratio_R: _Floats | None) -> RawPrices:
    numbers = rows.numbers
    return RawPrices(
        starts=starts,
        open_R=numbers["open"],
        high_R=numbers["high"],
        low_R=numbers["low"],
        close_R=numbers["close"],
        volume_R=numbers["volume"],
        adj_close_R=numbers.get("adj_close"),
        adj_volume_R=numbers.get("adj_volume"),
        traded_value_R=numbers.get("traded_value"),
        split_ratio_R=ratio_R,
    )
