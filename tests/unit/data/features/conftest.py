"""A random daily OHLCV table with the irregularities of a real one, and features built from it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import FeaturesConfig
from atft_hpo.data.features.build import build_features


def random_prices(days: int = 280, stocks: int = 9, seed: int = 0) -> pl.DataFrame:
    """Random walks in three sectors; S0 skips days, S1 is listed late, S2 leaves, some volumes 0.

    S3's price stands still for a while. `member` is the universe: S4 joins and leaves.
    """
    rng = np.random.default_rng(seed)
    shape = (days, stocks)
    market = rng.normal(0, 0.008, (days, 1))
    close = 50 * np.exp(np.cumsum(market + rng.normal(0, 0.02, shape), axis=0))
    still = slice(days // 3, days // 2)
    close[still, 3] = close[still.start, 3]
    open_ = close * np.exp(rng.normal(0, 0.005, shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.006, shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.006, shape)))
    for price in (open_, high, low):
        price[still, 3] = close[still.start, 3]
    volume = np.round(np.exp(rng.normal(9, 1, shape)))
    volume[rng.random(shape) < 0.02] = 0
    day, stock = (x.ravel() for x in np.indices(shape))
    frame = pl.DataFrame(
        {
            "date": np.busday_offset("2019-01-01", day, roll="forward").astype("datetime64[D]"),
            "code": [f"S{s}" for s in stock],
            "open": open_.ravel(),
            "high": high.ravel(),
            "low": low.ravel(),
            "close": close.ravel(),
            "volume": volume.ravel(),
            "sector": [f"sector {s % 3}" for s in stock],
            "member": ~((stock == 4) & ((day < 60) | (day % 50 > 40))),
            "day": day,
        }
    )
    code, index = pl.col("code"), pl.col("day")
    skipped = (code == "S0") & index.is_in([20, 21, 150])
    late, gone = (code == "S1") & (index < 70), (code == "S2") & (index > 200)
    return frame.filter(~(skipped | late | gone))


Build = Callable[..., pl.DataFrame]


@pytest.fixture(scope="session")
def make_prices() -> Callable[..., pl.DataFrame]:
    """`random_prices`."""
    return random_prices


@pytest.fixture(scope="session")
def prices() -> pl.DataFrame:
    """`random_prices()`, one for the session."""
    return random_prices()


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """build(frame, **settings) → the features as one frame sorted by (code, date)."""

    def run(frame: pl.DataFrame, **settings: object) -> pl.DataFrame:
        folder: Path = tmp_path_factory.mktemp("features")
        frame.write_parquet(folder / "prices.parquet")
        config = FeaturesConfig.model_validate({"universe_column": "member"} | settings)
        out = build_features(folder / "prices.parquet", folder / "out", config, threads=1)
        return pl.read_parquet(out / "*.parquet").sort("code", "date")

    return run


@pytest.fixture(scope="session")
def features(prices: pl.DataFrame, build: Build) -> pl.DataFrame:
    """All features of `prices`."""
    return build(prices)
