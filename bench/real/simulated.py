"""A market of daily prices whose volumes tell something, for where no prices are given.

    write_market(Path("market.parquet"), days=600, stocks=60)

Returns are a market, a sector and an own part. A day's volume moves the own part two days later,
when a forecast with a delay of one day can earn it: by `effect` of its standard deviation for one
of log volume. That is no style, so the pure label holds it too. With `effect = 0` nothing can be
known. The range of a day is noise. Of the stocks a share may be delisted: their rows end on a day
in the second half, after a fall by a third in their last ten days.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

SECTORS = 4
FALL, FALL_DAYS = np.log(2 / 3), 10
MONTH_DAYS = 21


def write_market(
    path: Path,
    days: int = 600,
    stocks: int = 60,
    effect: float = 0.2,
    seed: int = 0,
    delisted_share: float = 0.0,
) -> Path:
    """Write the market as Parquet: date, code, open, high, low, close, volume, sector."""
    rng = np.random.default_rng(seed)
    sector_N = np.arange(stocks) % SECTORS
    own_DN = rng.standard_normal((days, stocks))
    shock_DN = rng.standard_normal((days, stocks))
    own_DN[2:] += effect * shock_DN[:-2]
    own_DN *= 0.015
    last_N = _last_days(days, stocks, delisted_share, seed)
    for stock in np.flatnonzero(last_N < days - 1):
        own_DN[last_N[stock] - FALL_DAYS + 1 : last_N[stock] + 1, stock] += FALL / FALL_DAYS
    shared_DN = 0.008 * rng.standard_normal((days, 1))
    shared_DN = shared_DN + 0.005 * rng.standard_normal((days, SECTORS))[:, sector_N]
    close_DN = 50 * np.exp(np.cumsum(own_DN + shared_DN, axis=0))
    open_DN = close_DN * np.exp(0.005 * rng.standard_normal(close_DN.shape))
    spread_DN = np.exp(np.abs(0.006 * rng.standard_normal(close_DN.shape)))
    business_D = np.busday_offset("2018-01-01", np.arange(days), roll="forward")
    frame = pl.DataFrame(
        {
            "date": np.repeat(business_D, stocks),
            "code": [f"S{n:03d}" for n in range(stocks)] * days,
            "open": open_DN.ravel(),
            "high": (np.maximum(open_DN, close_DN) * spread_DN).ravel(),
            "low": (np.minimum(open_DN, close_DN) / spread_DN).ravel(),
            "close": close_DN.ravel(),
            "volume": np.exp(12 + shock_DN).ravel(),
            "sector": [f"sector {s}" for s in sector_N] * days,
        }
    )
    listed_DN = np.arange(days)[:, None] <= last_N
    frame.filter(pl.Series(listed_DN.ravel())).write_parquet(path)
    return path


def _last_days(days: int, stocks: int, share: float, seed: int) -> NDArray[np.int64]:
    """[N] the last day of each stock's rows, from draws of their own: the rest stays as it is."""
    rng = np.random.default_rng([seed, 1])
    last_N = np.full(stocks, days - 1)
    gone = rng.choice(stocks, round(share * stocks), replace=False)
    last_N[gone] = rng.integers(days // 2, days - 2 * MONTH_DAYS, len(gone))
    return last_N
