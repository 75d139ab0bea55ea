"""The price history of a block of stocks: base series of which all features are formulas.

Prices are adjusted, and enter as logarithms relative to each stock's first close: multiplying a
stock's whole price history by a number changes none of these series. Volume is in one unit of
shares through a stock's history, and enters as ratios or as differences of logarithms: dividing it
all by a number changes no feature. So what splits and dividends come later, on which both numbers
depend, cannot be read from them. Money is the traded value of the day, in which they play no part.

Open, high and low may be unknown (NaN) on a day, and nothing may be traded; see `trailing` on
windows with such days.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.features.families.excess import Excess
from atft_hpo.data.features.families.trailing import Array, Trailing, log, ratio


@dataclass(frozen=True)
class Block:
    """Own rows of N stocks, oldest first; after a stock's last row, anything."""

    open_NT: Array
    """NaN where unknown, as are high and low."""
    high_NT: Array
    low_NT: Array
    close_NT: Array
    """Always known."""
    volume_NT: Array
    """Traded shares in one unit through a stock's rows; NaN where unknown."""
    traded_value_NT: Array
    """Money of the day; NaN where unknown."""
    day_NT: NDArray[np.int32]
    """Index of the row's date in `dates`."""
    dates: NDArray[np.datetime64]
    """[D] ascending."""
    market_NT: Array
    """Market log return since the stock's previous row."""
    sector_NT: Array
    """Its sector's log return since the stock's previous row; NaN without a sector."""


class History:
    """Series of a block, made when first asked for. o, hi, lo, c: log prices; r: log returns."""

    def __init__(self, block: Block) -> None:
        self.block = block

    @cached_property
    def c(self) -> Trailing:
        """Log close."""
        return Trailing(self._log(self.block.close_NT))

    @cached_property
    def o(self) -> Trailing:
        """Log open."""
        return Trailing(self._log(self.block.open_NT))

    @cached_property
    def hi(self) -> Trailing:
        """Log high."""
        return Trailing(self._log(self.block.high_NT))

    @cached_property
    def lo(self) -> Trailing:
        """Log low."""
        return Trailing(self._log(self.block.low_NT))

    @cached_property
    def top(self) -> Trailing:
        """Log high; the close, which it cannot be below, where it is unknown."""
        return Trailing(np.where(np.isnan(self.hi.x), self.c.x, self.hi.x))

    @cached_property
    def bottom(self) -> Trailing:
        """Log low; the close where it is unknown."""
        return Trailing(np.where(np.isnan(self.lo.x), self.c.x, self.lo.x))

    @cached_property
    def r(self) -> Trailing:
        """One-row log return."""
        return Trailing(self.c.change(1))

    @cached_property
    def overnight(self) -> Trailing:
        """Previous close to open."""
        return Trailing(self.o.x - self.c.lag(1))

    @cached_property
    def intraday(self) -> Trailing:
        """Open to close."""
        return Trailing(self.c.x - self.o.x)

    @cached_property
    def size(self) -> Trailing:
        """|r|."""
        return Trailing(np.abs(self.r.x))

    @cached_property
    def rise(self) -> Trailing:
        """max(r, 0)."""
        return Trailing(np.maximum(self.r.x, 0.0))

    @cached_property
    def up(self) -> Trailing:
        """1 for r > 0, ½ for r = 0, else 0."""
        return Trailing(0.5 + 0.5 * np.sign(self.r.x))

    @cached_property
    def r_square(self) -> Trailing:
        """r²."""
        return Trailing(self.r.x**2)

    @cached_property
    def overnight_square(self) -> Trailing:
        """(o[t] − c[t−1])²."""
        return Trailing(self.overnight.x**2)

    @cached_property
    def intraday_square(self) -> Trailing:
        """(c − o)²."""
        return Trailing(self.intraday.x**2)

    @cached_property
    def fall_square(self) -> Trailing:
        """min(r, 0)²."""
        return Trailing(np.minimum(self.r.x, 0.0) ** 2)

    @cached_property
    def spread(self) -> Trailing:
        """High–low range h − l."""
        return Trailing(self.hi.x - self.lo.x)

    @cached_property
    def spread_square(self) -> Trailing:
        """(h − l)²."""
        return Trailing(self.spread.x**2)

    @cached_property
    def garman_klass(self) -> Trailing:
        """Garman & Klass (1980), eq. 20 without the cross term: ½(h−l)² − (2 ln 2 − 1)(c−o)²."""
        return Trailing(0.5 * self.spread.x**2 - (2 * np.log(2) - 1) * self.intraday.x**2)

    @cached_property
    def rogers_satchell(self) -> Trailing:
        """Rogers & Satchell (1991): (h−o)(h−c) + (l−o)(l−c)."""
        h, low, o, c = self.hi.x, self.lo.x, self.o.x, self.c.x
        return Trailing((h - o) * (h - c) + (low - o) * (low - c))

    @cached_property
    def true_range(self) -> Trailing:
        """Wilder's true range of log prices: max(h, c[t−1]) − min(l, c[t−1])."""
        before = self.c.lag(1)
        return Trailing(np.maximum(self.hi.x, before) - np.minimum(self.lo.x, before))

    @cached_property
    def volume(self) -> Trailing:
        """Traded shares."""
        return Trailing(self.block.volume_NT)

    @cached_property
    def log_volume(self) -> Trailing:
        """ln V; unknown on a day without a trade."""
        return Trailing(log(self.block.volume_NT))

    @cached_property
    def volume_change(self) -> Trailing:
        """Change of ln V; unknown where nothing was traded on one of the two days."""
        return Trailing(self.log_volume.change(1))

    @cached_property
    def money(self) -> Trailing:
        """Traded value of the day."""
        return Trailing(self.block.traded_value_NT)

    @cached_property
    def weighted_price(self) -> Trailing:
        """V·C. Moves with the scale of both: use over ΣV and against C only."""
        return Trailing(self.block.volume_NT * self.block.close_NT)

    @cached_property
    def signed_volume(self) -> Trailing:
        """sign(r)·V."""
        return Trailing(np.sign(self.r.x) * self.block.volume_NT)

    @cached_property
    def money_flow(self) -> Trailing:
        """Chaikin's flow: V · (2c − h − l)/(h − l), 0 on a day without range."""
        place = ratio(2 * self.c.x - self.hi.x - self.lo.x, self.spread.x)
        return Trailing(np.where(self.spread.x == 0, 0.0, place) * self.block.volume_NT)

    @cached_property
    def ranged_volume(self) -> Trailing:
        """Traded shares of days whose range is known."""
        unknown = np.isnan(self.spread.x)
        if not unknown.any():
            return self.volume
        return Trailing(np.where(unknown, np.nan, self.block.volume_NT))

    @cached_property
    def vol_5d(self) -> Trailing:
        """Standard deviation of r over 5 rows, as a series."""
        return Trailing(self.r.std(5))

    @cached_property
    def r_before(self) -> Trailing:
        """r[t − 1]."""
        return Trailing(self.r.lag(1))

    @cached_property
    def market(self) -> Trailing:
        """Market return m."""
        return Trailing(self.block.market_NT)

    @cached_property
    def market_before(self) -> Trailing:
        """m[t − 1]."""
        return Trailing(self.market.lag(1))

    @cached_property
    def market_fall(self) -> Trailing:
        """min(m, 0)."""
        return Trailing(np.minimum(self.market.x, 0.0))

    @cached_property
    def sector(self) -> Trailing:
        """Sector return s."""
        return Trailing(self.block.sector_NT)

    @cached_property
    def over_market(self) -> Excess:
        """Return in excess of the market's."""
        return Excess(self.r, self.market)

    @cached_property
    def over_sector(self) -> Excess:
        """Return in excess of the sector's."""
        return Excess(self.r, self.sector)

    def highest(self, w: int) -> Array:
        """Highest log price of the last w rows; NaN where too few of their ranges are known."""
        return self.spread.where_known(self.top.max(w), w)

    def lowest(self, w: int) -> Array:
        """Lowest log price of the last w rows; NaN where too few of their ranges are known."""
        return self.spread.where_known(self.bottom.min(w), w)

    def risk(self, w: int) -> Array:
        """Standard deviation of r over 20 rows, for w rows: std₂₀ · √w."""
        return np.asarray(self.r.std(20) * np.sqrt(w))

    def dates(self) -> NDArray[np.datetime64]:
        """[N, T] date of each row."""
        return self.block.dates[self.block.day_NT]

    def _log(self, price_NT: Array) -> Array:
        return log(price_NT / self.block.close_NT[:, :1])
