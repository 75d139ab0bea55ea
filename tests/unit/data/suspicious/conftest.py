"""Rows of prices from grids of days and stocks, and random walks to plant errors in."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from atft_hpo.data.suspicious.judged_prices import JudgedPrices

Grid = NDArray[np.float64]


@dataclass
class Market:
    """[D, N] prices; a row is where the close is known."""

    close_DN: Grid
    open_DN: Grid
    volume_DN: Grid

    def rows(self, closes_only: bool = False) -> JudgedPrices:
        """As rows by stock, then day."""
        days, stocks = self.close_DN.shape
        stock_R, day_R = np.nonzero(~np.isnan(self.close_DN.T))
        return JudgedPrices(
            dates=np.busday_offset("2019-01-07", np.arange(days)).astype("datetime64[D]"),
            codes=tuple(f"S{n:03d}" for n in range(stocks)),
            starts=np.searchsorted(stock_R, np.arange(stocks + 1)),
            day_R=day_R.astype(np.int32),
            close_R=self.close_DN[day_R, stock_R],
            open_R=None if closes_only else self.open_DN[day_R, stock_R],
            volume_R=None if closes_only else self.volume_DN[day_R, stock_R],
        )

    def rescale(self, until: int, stock: int, factor: float) -> None:
        """Multiply a stock's prices before a day."""
        self.close_DN[:until, stock] *= factor
        self.open_DN[:until, stock] *= factor


def random_walks(
    days: int = 120, stocks: int = 30, seed: int = 0, scale: float = 0.02, tails: float = np.inf
) -> Market:
    """Walks of Student's t (`tails` degrees of freedom) whose days begin somewhere on their way.

    News brings trades: shares traded grow with the size of the day's return.
    """
    rng = np.random.default_rng(seed)
    shape = (days, stocks)
    market_D = rng.normal(0, scale / 3, (days, 1))
    r_DN = market_D + scale * (rng.normal(size=shape) if np.isinf(tails) else
                               rng.standard_t(tails, size=shape))  # fmt: skip
    close_DN = 100 * np.exp(np.cumsum(r_DN, axis=0))
    open_DN = close_DN * np.exp(-rng.random(shape) * r_DN + rng.normal(0, scale / 3, shape))
    volume_DN = np.exp(rng.normal(11, 0.5, shape)) * (1 + np.abs(r_DN) / scale)
    return Market(close_DN, open_DN, volume_DN)


@pytest.fixture(scope="session")
def walks() -> Callable[..., Market]:
    """`random_walks`."""
    return random_walks


@pytest.fixture(scope="session")
def closes() -> Callable[..., JudgedPrices]:
    """closes([100, 50], [30, 31], volume=…) → rows with one list of closes per stock."""

    def rows(*of_stock: list[float], volume: list[list[float]] | None = None) -> JudgedPrices:
        close_DN = np.array(of_stock, np.float64).T
        volume_DN = np.ones_like(close_DN) if volume is None else np.array(volume, np.float64).T
        return Market(close_DN, np.full_like(close_DN, np.nan), volume_DN).rows()

    return rows
