"""A market for trees (one feature is the label, the other noise), and kernels that do nothing."""

from collections.abc import Callable
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

TREES = TreesConfig(rounds=12, learning_rate=0.2, leaves=4, l2=1.0, blocks=3, bags=2)


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
