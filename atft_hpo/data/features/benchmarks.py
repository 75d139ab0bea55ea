"""Market and sector returns: means over each day's universe, summed to index levels.

The return of day t is the mean log return of the stocks in the universe on t that also have a row
on the panel's previous day. A stock that missed days is then compared with what the market did
since its own previous row: the difference of two index levels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.ingest.prices import Prices

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Benchmarks:
    """Log returns of market and sector since each row's previous row; NaN on first rows."""

    market_R: _Floats
    sector_R: _Floats
    """NaN for rows without a sector."""


def benchmarks(prices: Prices) -> Benchmarks:
    """Market and sector returns at every row of `prices`."""
    days, sectors = len(prices.dates), len(prices.sector_names)
    r_R = np.diff(np.log(prices.close_R), prepend=0.0)
    first = prices.starts[:-1]
    day_R = prices.day_R.astype(np.int64)
    before_R = np.roll(day_R, 1)
    counts = prices.alive_R & (before_R == day_R - 1)
    counts[first] = False

    market_D = _mean(day_R[counts], r_R[counts], days, np.zeros(days))
    market_R = _since_previous(np.cumsum(market_D), day_R, before_R, first)

    grouped = counts & (prices.sector_R >= 0)
    sector_R = prices.sector_R.astype(np.int64)
    cells = sector_R * days + day_R
    # On a day without a member trading, the sector moves with the market.
    sector_SD = _mean(cells[grouped], r_R[grouped], sectors * days, np.tile(market_D, sectors))
    levels = np.cumsum(sector_SD.reshape(sectors, days), axis=1).ravel()
    known = prices.sector_R >= 0
    out_R = np.full(len(day_R), np.nan)
    if sectors:
        moves = _since_previous(levels, cells, sector_R * days + before_R, first)
        out_R[known] = moves[known]
    return Benchmarks(market_R, out_R)


def _mean(cell_R: NDArray[np.int64], value_R: _Floats, cells: int, otherwise: _Floats) -> _Floats:
    """Mean of the values in each cell; `otherwise` where a cell is empty."""
    count = np.bincount(cell_R, minlength=cells)
    total = np.bincount(cell_R, weights=value_R, minlength=cells)
    return np.where(count > 0, total / np.maximum(count, 1), otherwise)


def _since_previous(
    level: _Floats,
    place_R: NDArray[np.int64],
    before_R: NDArray[np.int64],
    first: NDArray[np.int64],
) -> _Floats:
    out_R = level[place_R] - level[before_R]
    out_R[first] = np.nan
    return out_R
