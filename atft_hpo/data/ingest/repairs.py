"""Rows without a trade, and blemishes of prices: what is understood, mended, left out or refused.

    refuse_impossible(rows)
    kept, counts = rows_with_close(rows)
    counts |= mend(kept_rows.numbers)
    refuse_too_many(rows, counts, config.max_repaired_share)

Negative and infinite values are errors. Null, NaN and 0 are absent. A row without a close is no
price: left out. A close without open, high or low is a price whose range is unknown. No volume is
a day without a trade: the close is a mark, at which nobody could trade. A high below, or a low
above, the day's open or close is widened to contain both. All are counted by kind; a kind beyond
`data.max_repaired_share` of the rows is an error: such a table is of another kind than it seems.
"""

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.ingest.price_rows import PRICE_COLUMNS, PriceRows
from atft_hpo.errors import DataError

LIMIT_JUMP = 0.03
"""A day of one price only, this far from the last close, was locked at its limit."""
_OUTSIDE_TOLERANCE = 1e-4
"""Of the price: less is rounding, by the source or by its 32 bits."""
KINDS = {
    "outside_listing": "before a stock's first or after its last close, without a value: left out",
    "no_close": "without a close: left out",
    "no_adjusted_close": "with a close but without an adjusted close: left out",
    "no_range": "with a close but without open, high or low: the range is unknown",
    "no_volume": "with a close but without a volume: taken as not traded",
    "zero_volume": "with a volume of 0: not traded that day",
    "widened": "with open or close outside low … high: widened to contain them",
    "limit_locked": f"with one price only, {LIMIT_JUMP:.0%} or more from the last: not tradable",
}
_AS_GIVEN = frozenset({"outside_listing", "zero_volume", "limit_locked"})
"""Kinds that say something of the market, not of the table: any share is accepted."""
_Floats = NDArray[np.float64]
_Flags = NDArray[np.bool_]


def refuse_impossible(rows: PriceRows) -> None:
    """Refuse prices below 0 and infinite numbers.

    Raises:
        DataError: names column, count and an example.
    """
    for name, values in rows.numbers.items():
        wrong = np.isinf(values) | (values < 0)
        if count := int(np.count_nonzero(wrong)):
            row = int(wrong.argmax())
            column = rows.columns[name]
            midpoints = name == "close" and column.strip().lower().endswith("prc")
            advice = (
                "CRSP writes the mid of bid and ask as a negative price where nothing was traded: "
                "set it to null, or to its absolute value, first"
                if midpoints
                else "mend or remove those rows"
            )
            raise DataError(
                f"{rows.source}: column {column!r} ({name}) has {count:,} wrong value(s), such as "
                f"{values[row]:g} at {rows.place(row)}; expected finite numbers of 0 or more: "
                f"{advice}"
            )


def rows_with_close(rows: PriceRows) -> tuple[_Flags, dict[str, int]]:
    """Which rows are prices, and how many are not, by kind; prices of 0 become NaN, in place."""
    numbers = rows.numbers
    for name in (*PRICE_COLUMNS, "adj_close"):
        if name in numbers:
            numbers[name][numbers[name] == 0] = np.nan
    closed = ~np.isnan(numbers["close"])
    adjusted = ~np.isnan(numbers.get("adj_close", numbers["close"]))
    silent = ~closed & ~(numbers["volume"] > 0)
    for name in PRICE_COLUMNS[:3]:
        silent &= np.isnan(numbers[name])
    outside = silent & ~_between_closes(closed, rows.stock_R) if silent.any() else silent
    return closed & adjusted, {
        "outside_listing": int(outside.sum()),
        "no_close": int((~closed & ~outside).sum()),
        "no_adjusted_close": int((closed & ~adjusted).sum()),
    }


def mend(numbers: dict[str, _Floats]) -> dict[str, int]:
    """Make rows with a close consistent, in place; returns how many were touched, by kind."""
    open_R, high_R, low_R, close_R = (numbers[name] for name in PRICE_COLUMNS)
    no_range = np.isnan(open_R) | np.isnan(high_R) | np.isnan(low_R)
    for prices in (open_R, high_R, low_R):
        prices[no_range] = np.nan
    top, bottom = np.maximum(open_R, close_R), np.minimum(open_R, close_R)
    slack = 1 + _OUTSIDE_TOLERANCE
    widened = (high_R * slack < top) | (low_R > bottom * slack)
    np.maximum(high_R, top, out=high_R)
    np.minimum(low_R, bottom, out=low_R)
    volume_R = numbers["volume"]
    no_volume = np.isnan(volume_R)
    zero_volume = int((volume_R == 0).sum())
    volume_R[no_volume] = 0
    return {
        "no_range": int(no_range.sum()),
        "no_volume": int(no_volume.sum()),
        "zero_volume": zero_volume,
        "widened": int(widened.sum()),
    }


def refuse_adjusted_close_alone(rows: PriceRows, max_share: float) -> None:
    """Refuse a table whose close is adjusted and whose open, high and low are not.

    Raises:
        DataError: the close is outside low … high in more than `max_share` of the rows.
    """
    numbers = rows.numbers
    slack = 1 + _OUTSIDE_TOLERANCE
    close_R = numbers["close"]
    outside = (close_R > numbers["high"] * slack) | (close_R * slack < numbers["low"])
    if (count := int(outside.sum())) > max_share * len(close_R):
        example = rows.place(int(outside.argmax()))
        columns = [rows.columns[name] for name in PRICE_COLUMNS]
        raise DataError(
            f"{rows.source}: {columns[3]!r} is outside {columns[2]!r} … {columns[1]!r} in "
            f"{count:,} of {len(close_R):,} rows, such as {example}: a close adjusted for splits "
            f"or dividends, with {columns[0]!r}, {columns[1]!r} and {columns[2]!r} that are not; "
            "give the raw close, and the adjusted one as adj_close"
        )


def refuse_too_many(rows: PriceRows, counts: dict[str, int], max_share: float) -> None:
    """Refuse a table of which too much had to be mended.

    Raises:
        DataError: a kind exceeds `max_share` of the rows.
    """
    total = len(rows.row_of) - counts["outside_listing"]
    for kind, count in counts.items():
        if kind not in _AS_GIVEN and count > max_share * total:
            raise DataError(
                f"{rows.source}: {count:,} of {total:,} rows ({count / total:.1%}) {KINDS[kind]} "
                f"({kind}); accepted up to data.max_repaired_share = {max_share:g}: correct the "
                "table, or raise it"
            )


def limit_locked(one_price_R: _Flags, close_R: _Floats, starts: NDArray[np.int64]) -> _Flags:
    """Rows of one price only, `LIMIT_JUMP` or more from the stock's last close.

    Args:
        one_price_R: open, high, low and close are equal.
        close_R: adjusted: a split is no jump.
        starts: first row of each stock, then R.
    """
    jump_R = np.zeros(len(close_R))
    jump_R[1:] = np.abs(close_R[1:] / close_R[:-1] - 1)
    jump_R[starts[:-1]] = 0
    return one_price_R & (jump_R >= LIMIT_JUMP - 1e-9)


def _between_closes(closed: _Flags, stock_R: NDArray[np.int32]) -> _Flags:
    """Rows from a stock's first close to its last; none of a stock without any."""
    row_R = np.flatnonzero(closed)
    stocks = int(stock_R[-1]) + 1
    first_N, last_N = np.full(stocks, len(closed)), np.full(stocks, -1)
    np.minimum.at(first_N, stock_R[row_R], row_R)
    np.maximum.at(last_N, stock_R[row_R], row_R)
    place = np.arange(len(closed))
    return (place >= first_N[stock_R]) & (place <= last_N[stock_R])
