"""A packed market with one planted feature, and a configuration that trains in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.atft import ATFT
from atft_hpo.training.forecasting.forecast import new_model

DAYS, STOCKS = 170, 30
TINY: dict[str, Any] = {
    "data": {"source": "features", "horizons_days": [1, 5]},
    "split": {"embargo_days": 0},
    "graph": {"window_days": 20, "neighbours": 3, "refresh_days": 20},
    "slices": {"days": 30, "context_days": 8},
    "model": {
        "hidden": 8, "lookback_days": 8, "attention_heads": 2, "gat": {"heads": [2]},
        "quantiles": [0.1, 0.5, 0.9], "san": {"slice_days": 4, "spans": [1, 2]},
    },
    "optim": {"swa_epochs": 2},
    "phases": {
        "baseline": {"epochs": 2, "lr": 3e-3, "horizon_weights": [1.0]},
        "adaptive_norm": {"epochs": 2, "lr": 3e-3, "horizon_weights": [1.0, 0.5]},
        "gat": {"epochs": 1, "lr": 1e-3, "horizon_weights": [1.0, 0.8]},
        "fine_tuning": {"epochs": 1, "lr": 1e-3, "horizon_weights": [1.0, 0.8]},
        "augmentation": {"epochs": 2, "lr": 1e-3, "horizon_weights": [1.0, 0.8]},
    },
    "runtime": {"precision": "float32", "chunk_tokens": 4096},
    "objective": {"metric": "rank_ic", "smoothing_epochs": 2},
}  # fmt: skip


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with nested `changes`."""
    both = {
        key: merged(base[key], value) if isinstance(value, dict) and key in base else value
        for key, value in changes.items()
    }
    return {**base, **both}


def tiny_config(**changes: Any) -> Config:
    """The tiny configuration with nested changes."""
    return build_config(merged(TINY, changes))


def market(path: Path, strength: float = 0.008) -> Path:
    """A tidy table: sector factors, a signal worth `strength` of return per std, noise."""
    generator = np.random.default_rng(0)
    signal = generator.standard_normal((DAYS, STOCKS))
    factor = generator.standard_normal((DAYS, 3))[:, np.arange(STOCKS) % 3]
    returns = 0.01 * (0.8 * factor + generator.standard_normal((DAYS, STOCKS)))
    returns[2:] += strength * signal[:-2]  # known at d, traded at d + 1, earned at d + 2
    day = np.repeat(np.arange(DAYS), STOCKS)
    table = pl.DataFrame(
        {
            "date": np.datetime64("2020-01-01") + day,
            "code": np.tile([f"S{n:02d}" for n in range(STOCKS)], DAYS),
            "sector": np.tile([f"sector {n % 3}" for n in range(STOCKS)], DAYS),
            "close": 100 * np.cumprod(1 + returns, axis=0).ravel(),
            "signal__a": signal.ravel(),
            "signal__b": generator.standard_normal(DAYS * STOCKS),
            "returns__1d": returns.ravel(),
            "returns__noise": generator.standard_normal(DAYS * STOCKS),
        }
    )
    table.write_parquet(path)
    return path


@pytest.fixture(scope="session")
def config_of() -> Callable[..., Config]:
    """`config_of(phases={"gat": {"epochs": 0}})`: the tiny configuration with nested changes."""
    return tiny_config


@pytest.fixture(scope="session")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """The packed market."""
    root = tmp_path_factory.mktemp("training")
    return pack_table(market(root / "market.parquet"), root / "panel", tiny_config().data)


@pytest.fixture(scope="session")
def barren_panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """The same market without the signal."""
    root = tmp_path_factory.mktemp("barren")
    return pack_table(market(root / "market.parquet", 0.0), root / "panel", tiny_config().data)


@pytest.fixture
def config(config_of: Callable[..., Config]) -> Config:
    """The tiny configuration with dropout that would show."""
    return config_of(model={"dropout": 0.5})


@pytest.fixture
def model(config: Config, panel: Panel) -> ATFT:
    """An untrained model of `config`."""
    torch.manual_seed(0)
    model = new_model(config, panel)
    model.enable({"fan"})
    return model


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
