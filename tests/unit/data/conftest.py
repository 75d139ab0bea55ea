"""What tests of data share: random daily prices, a configuration of short slices, a full disk."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config
from atft_hpo.config.training_schema import PHASE_NAMES


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


@pytest.fixture(scope="session")
def make_prices() -> Callable[..., pl.DataFrame]:
    """`random_prices`."""
    return random_prices


@pytest.fixture(scope="session")
def prices() -> pl.DataFrame:
    """`random_prices()`, one for the session."""
    return random_prices()


@pytest.fixture(scope="session")
def config(data_config: DataConfig) -> Config:
    """Short slices and graphs for the small market."""
    return build_config(
        {
            "data": data_config.model_dump(mode="json", exclude_none=True),
            "graph": {
                "window_days": 20,
                "refresh_days": 7,
                "neighbours": 4,
                "min_correlation": 0.1,
            },
            "slices": {"days": 16, "context_days": 20},
            "split": {"embargo_days": 2},
            "phases": {name: {"horizon_weights": [1.0]} for name in PHASE_NAMES},
        }
    )


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """with file_size_limit(bytes): the kernel fails longer writes, as it does on a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
