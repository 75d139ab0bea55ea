"""Closes as rows by stock and day: all that the search for suspicious prices reads.

    rows = JudgedPrices.of_prices(prices)               # daily prices, with open and volume
    rows, row_R = JudgedPrices.of_closes(table_rows)    # a table's closes, and where they stood

A row is a day with a known close; "the row before" is the stock's last known close, however many
days ago. Letters here: R rows, M rows (or days, or runs) that are looked at, W rows around each.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.ingest.prices import Prices
from atft_hpo.data.ingest.table import Rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
SAME_CLOSE = 1e-6
"""Log returns up to this are an unchanged close: adjustment in float32 leaves some 1e-7."""


@dataclass(frozen=True)
class JudgedPrices:
    """R rows sorted by stock, then day. N stocks, D days."""

    dates: NDArray[np.datetime64]
    """[D] ascending."""
    codes: tuple[str, ...]
    """[N] ascending."""
    starts: Ints
    """[N + 1] first row of each stock, then R; a stock may have no row."""
    day_R: NDArray[np.int32]
    close_R: Floats
    """Finite, above 0."""
    open_R: Floats | None
    """NaN where unknown; None where there are closes only."""
    volume_R: Floats | None
    """Shares; 0 = not traded, NaN where unknown; None where there are closes only."""
    empty_dates: tuple[str, ...] = ()
    """Days, none of `dates`, of which the table has rows without any close; ISO, ascending."""

    @classmethod
    def of_prices(cls, prices: Prices) -> "JudgedPrices":
        """All rows of `prices`."""
        return cls(
            dates=prices.dates,
            codes=prices.codes,
            starts=prices.starts,
            day_R=prices.day_R,
            close_R=prices.close_R,
            open_R=prices.open_R,
            volume_R=prices.volume_R,
            empty_dates=tuple(map(str, prices.empty_dates)),
        )

    @classmethod
    def of_closes(cls, rows: Rows) -> tuple["JudgedPrices", Ints]:
        """The rows of a feature table that have a close, and their numbers in the table."""
        close_R = rows.numbers["close"]
        known = np.flatnonzero(np.isfinite(close_R) & (close_R > 0))
        cell_R = rows.stock_R[known].astype(np.int64) * len(rows.dates) + rows.day_R[known]
        row_R = known[np.argsort(cell_R, kind="stable")]
        counts = np.bincount(rows.stock_R[row_R], minlength=len(rows.codes))
        closes = cls(
            dates=rows.dates,
            codes=rows.codes,
            starts=np.concatenate([[0], np.cumsum(counts)]),
            day_R=rows.day_R[row_R],
            close_R=close_R[row_R],
            open_R=None,
            volume_R=None,
        )
        return closes, row_R

    @cached_property
    def log_returns(self) -> Floats:
        """[R] ln(close / close of the row before); NaN on a stock's first row."""
        log_R = np.log(self.close_R)
        r_R = np.empty_like(log_R)
        r_R[1:] = np.diff(log_R)
        r_R[self.starts[:-1][np.diff(self.starts) > 0]] = np.nan
        return r_R

    @cached_property
    def unchanged(self) -> Flags:
        """[R] whether the close is that of the row before."""
        return np.abs(self.log_returns) <= SAME_CLOSE

    def stock_of(self, row_M: Ints) -> Ints:
        """[M] the stocks of some rows."""
        return np.searchsorted(self.starts, row_M, side="right") - 1

    def around(self, value_R: Floats, row_M: Ints, offsets: range) -> Floats:
        """[M, W] values at row + offset; NaN where the stock has no such row."""
        stock_M = self.stock_of(row_M)
        row_MW = row_M[:, None] + np.array(offsets)
        first_M, stop_M = self.starts[stock_M], self.starts[stock_M + 1]
        inside_MW = (row_MW >= first_M[:, None]) & (row_MW < stop_M[:, None])
        return np.where(inside_MW, value_R[np.where(inside_MW, row_MW, 0)], np.nan)


def row_medians(value_MW: Floats) -> Floats:
    """[M] median of the known values of each row; NaN where none is known."""
    ordered_MW = np.sort(value_MW, axis=1)  # NaN last
    known_M = (~np.isnan(ordered_MW)).sum(axis=1)
    low_M = np.maximum(known_M - 1, 0) // 2
    high_M = np.minimum(known_M // 2, value_MW.shape[1] - 1)
    each = np.arange(len(value_MW))
    median_M: Floats = (ordered_MW[each, low_M] + ordered_MW[each, high_M]) / 2
    return median_M
