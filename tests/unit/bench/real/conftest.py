"""Small simulated markets, and plans that are through in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.prepare import prepare_panel
from atft_hpo.data.store.panel import Panel
from atft_hpo.paths import Volume
from bench.real.plan import Plan
from bench.real.samples import Setup, Task
from bench.real.simulated import write_market

STUDY = """
[graph]
window_days = 40
neighbours = 4
[slices]
days = 40
context_days = 10
[model]
hidden = 8
lookback_days = 10
attention_heads = 2
dropout = 0.3
gat = { heads = [2] }
trees = { rounds = 20, bags = 2, blocks = 2 }
[loss]
half_life_days = 100
[runtime]
precision = "float32"
[phases]
baseline = { epochs = 4, lr = 5e-3 }
adaptive_norm = { epochs = 1, lr = 5e-3 }
gat = { epochs = 2, lr = 3e-3 }
fine_tuning = { epochs = 1, lr = 1e-3 }
augmentation = { epochs = 1, lr = 1e-3 }
"""
SMALL = {"folds": 1, "seeds": 1, "features": 16, "workers": 1, "net_steps": 40, "max_rounds": 60}
DAYS, STOCKS = 500, 40


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="session")
def make_plan(study: Path) -> Callable[..., Plan]:
    """make_plan(prices, horizons="1", models="ridge", **profile)"""

    def make(prices: Path, horizons: str = "1", models: str = "ridge", **profile: Any) -> Plan:
        overrides = {**SMALL, **profile}
        return Plan.of(prices, study, horizons, models, "quick", overrides, None, "cpu")

    return make


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    return Volume(tmp_path_factory.mktemp("volume"))


@pytest.fixture(scope="session")
def noise_prices(volume: Volume) -> Path:
    """Nothing can be known."""
    return write_market(volume.root / "noise.parquet", DAYS, STOCKS, effect=0.0)


@pytest.fixture(scope="session")
def telling_prices(volume: Volume) -> Path:
    """Volumes that tell much."""
    return write_market(volume.root / "telling.parquet", DAYS, STOCKS, effect=0.3)


@pytest.fixture(scope="session")
def leaving_prices(volume: Volume) -> Path:
    """Volumes that tell much, and a quarter of the stocks gone before the end."""
    path = volume.root / "leaving.parquet"
    return write_market(path, DAYS, STOCKS, effect=0.3, delisted_share=0.25)


@pytest.fixture(scope="session")
def panel_of(volume: Volume) -> Callable[[Config], Panel]:
    """The panel of a configuration, built once."""
    return lambda config: prepare_panel(config.data, volume)


@pytest.fixture
def make_task(
    make_plan: Callable[..., Plan], panel_of: Callable[[Config], Panel], tmp_path: Path
) -> Callable[..., Task]:
    """make_task(prices, seed=0, **profile): the first fold of a plan."""
    from bench.real.folds import walk_forward

    def make(prices: Path, seed: int = 0, horizons: str = "1", **profile: Any) -> Task:
        plan = make_plan(prices, horizons, **profile)
        panel = panel_of(plan.config)
        setup: Setup = plan.setup(panel)
        return Task(
            setup,
            walk_forward(len(panel.dates), 1, plan.gap)[0],
            seed,
            tmp_path,
            tmp_path / "shared",
        )

    return make
