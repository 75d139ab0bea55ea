"""A random-walk market, one for trees (a feature is the label), and kernels that do nothing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.config.model_schema import TreesConfig
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.forest import Stack, Table
from atft_hpo.training.fit_trees import fit_stack

TEST_DATA_VARIABLE = "ATFT_HPO_TEST_DATA"
TREES = TreesConfig(rounds=12, learning_rate=0.2, leaves=4, l2=1.0, blocks=3, bags=2)


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


@pytest.fixture(scope="session")
def tree_panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """160 days × 30 stocks; feature `signal__a` is the label, `signal__b` noise; 10 % dead."""
    generator = np.random.default_rng(0)
    day = np.repeat(np.arange(160), 30)
    table = pl.DataFrame(
        {
            "date": np.datetime64("2020-01-01") + day,
            "code": np.tile([f"S{n:02d}" for n in range(30)], 160),
            "sector": np.tile([f"sector {n % 3}" for n in range(30)], 160),
            "close": 100.0 + generator.random(160 * 30),
            "signal__a": generator.standard_normal(160 * 30),
            "signal__b": generator.standard_normal(160 * 30),
        }
    ).filter(pl.Series(generator.random(160 * 30) > 0.1))
    root = tmp_path_factory.mktemp("trees")
    table.write_parquet(root / "table.parquet")
    path = root / "table.parquet"
    data = DataConfig(path=str(path), source="features", horizons_days=(1, 5))
    return pack_table(path, root / "store", data)


@pytest.fixture(scope="session")
def tree_label(tree_panel: Panel) -> Table:
    """[D, N, 2]: sign of the signal, and its square, with noise; NaN where dead."""
    x_DN = np.asarray(tree_panel.features_tensor(slice(None))[..., 0].float())
    noise_DNQ = np.random.default_rng(1).standard_normal((*x_DN.shape, 2))
    both = np.stack([np.sign(x_DN), x_DN**2 - 1.0], axis=2) + 0.5 * noise_DNQ
    return np.where(tree_panel.alive[..., None], both, np.nan).astype(np.float32)


@pytest.fixture(scope="session")
def stack(tree_panel: Panel, tree_label: Table) -> Stack:
    """Trees of the planted labels."""
    return fit_stack(tree_panel, tree_label, range(120), TREES, seed=0)


@pytest.fixture(scope="session")
def trees_config() -> TreesConfig:
    """Those of `stack`: twelve small trees, three blocks."""
    return TREES


class Launched:
    """Stands for a Triton kernel where there is nothing to compute with; counts its launches."""

    def __init__(self) -> None:
        self.count = 0

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return self

    def __call__(self, *arguments: Any, **constants: Any) -> None:
        self.count += 1


@pytest.fixture
def idle_kernel() -> Callable[[], Launched]:
    """Makes one."""
    return Launched
