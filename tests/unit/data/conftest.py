"""A small random-walk market as a tidy table, and panels packed from it."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import Panel

TEST_DATA_VARIABLE = "ATFT_HPO_TEST_DATA"


def random_market(days: int = 160, stocks: int = 30, seed: int = 0) -> pl.DataFrame:
    """Random walks with a market factor, three sectors, a late listing and an early delisting.

    Features: ranks__, returns__, momentum__, volume__, calendar__; honest, trailing, some missing.
    """
    rng = np.random.default_rng(seed)
    market = rng.normal(0, 0.01, (days, 1))
    close = 100 * np.exp(np.cumsum(market + rng.normal(0, 0.02, (days, stocks)), axis=0))
    one = np.full_like(close, np.nan)
    one[1:] = close[1:] / close[:-1] - 1
    ten = np.full_like(close, np.nan)
    ten[10:] = close[10:] / close[:-10] - 1
    volume = np.exp(rng.normal(10, 1, (days, stocks)))
    volume[rng.random((days, stocks)) < 0.02] = np.nan
    day, stock = np.meshgrid(np.arange(days), np.arange(stocks), indexing="ij")
    dates = np.datetime64("2020-01-01") + day
    table = pl.DataFrame(
        {
            "date": dates.ravel().astype("datetime64[D]"),
            "code": [f"S{s:03d}" for s in stock.ravel()],
            "sector": [f"sector {s % 3}" for s in stock.ravel()],
            "close": close.ravel(),
            "returns__1d": one.ravel(),
            "momentum__10d": ten.ravel(),
            "ranks__volume": volume.ravel(),
            "calendar__weekday": ((day.ravel() % 5) - 2) / 2,
            "noise": rng.normal(size=close.size),
        }
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    listed_late = (pl.col("code") == "S001") & (pl.col("date") < dates[50, 0])
    delisted = (pl.col("code") == "S002") & (pl.col("date") >= dates[90, 0])
    return table.filter(~(listed_late | delisted))


@pytest.fixture(scope="session")
def make_market() -> Callable[..., pl.DataFrame]:
    """`random_market`, for tests that need another size or seed."""
    return random_market


@pytest.fixture(scope="session")
def market() -> pl.DataFrame:
    """`random_market()`, one for the session."""
    return random_market()


@pytest.fixture(scope="session")
def data_config() -> DataConfig:
    """Two horizons, delay 1."""
    return DataConfig(source="features", horizons_days=(1, 5))


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


Pack = Callable[..., Panel]


@pytest.fixture
def pack(tmp_path: Path, data_config: DataConfig) -> Pack:
    """pack(table, name="panel", config=data_config) → the panel packed from a frame."""

    def run(table: pl.DataFrame, name: str = "panel", config: DataConfig = data_config) -> Panel:
        path = tmp_path / f"{name}.parquet"
        table.write_parquet(path, row_group_size=1000)
        return pack_table(path, tmp_path / name, config)

    return run


@pytest.fixture(scope="session")
def panel(
    market: pl.DataFrame, data_config: DataConfig, tmp_path_factory: pytest.TempPathFactory
) -> Panel:
    """The market, packed once for the session; do not alter it."""
    folder = tmp_path_factory.mktemp("panel")
    market.write_parquet(folder / "market.parquet")
    return pack_table(folder / "market.parquet", folder / "store", data_config)


@pytest.fixture
def real_data() -> Path:
    """The folder of real daily prices; skips where the environment names none."""
    folder = os.environ.get(TEST_DATA_VARIABLE)
    if not folder or not (Path(folder) / "us_sp500_daily.parquet").is_file():
        pytest.skip(f"{TEST_DATA_VARIABLE} does not name a folder with us_sp500_daily.parquet")
    return Path(folder)


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
