"""A tiny planted market, and records of what a model has learned of one."""

from collections.abc import Callable, Sequence

import pytest

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.data.prepare import prepare_panel
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.synthetic.planted_parts import PART_FEATURES, PART_SHARES
from atft_hpo.paths import Volume
from bench.planted.market import market_config
from bench.planted.runs import PhaseTruth

PHASES = ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")
TRUE = [name for part, names in PART_FEATURES.items() if part != "d_links" for name in names]


@pytest.fixture(scope="session")
def config() -> Config:
    """A market of a minute's worth, one epoch a phase."""
    values = {f"phases.{name}.epochs": 1 for name in PHASES}
    small = {
        "data.synthetic.noise_features": 4, "model.hidden": 8, "model.attention_heads": 2,
        "model.gat.heads": [2], "slices.stocks": 40,
    }  # fmt: skip
    return with_values(market_config(60, 260, 3), {**values, **small})


@pytest.fixture(scope="session")
def panel(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Panel:
    return prepare_panel(config.data, Volume(tmp_path_factory.mktemp("planted")))


@pytest.fixture(scope="session")
def truth() -> Callable[..., PhaseTruth]:
    """truth(phase, beta, total): a record whose parts are all learned to `beta`."""

    def make(phase: str, beta: float, total: float, favoured: Sequence[str] = TRUE) -> PhaseTruth:
        noise = {f"noise__{i}": 0.001 for i in range(120)}
        kept = {**{name: 0.0005 for name in TRUE}, **noise, **{name: 0.01 for name in favoured}}
        betas = {part: beta for part in PART_SHARES}
        return PhaseTruth(phase, total, betas, 0.3, 0.9, kept, 1.0, 1e4)

    return make
