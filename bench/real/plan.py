"""What a run of the comparison is asked for, checked.

plan = Plan.of(prices, study, "1,5", "full,ridge", "cpu", {"folds": 2}, None, "auto")
"""

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

import atft_hpo
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config, nearest
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import ConfigError
from bench.real.folds import EMBARGO_DAYS
from bench.real.models.registry import MODELS
from bench.real.prices import data_config, for_panel
from bench.real.profiles import PROFILES, Profile
from bench.real.samples import Setup

PACKAGES: Final = ("torch", "lightgbm", "numpy", "polars")


@dataclass(frozen=True)
class Plan:
    """One run."""

    config: Config
    """The study's, with the benchmark's data."""
    horizons: tuple[int, ...]
    """Reported; the panel has the one-day horizon in any case."""
    models: tuple[str, ...]
    profile: Profile
    device: str

    @classmethod
    def of(
        cls,
        prices: Path,
        study: Path,
        horizons: str,
        models: str | None,
        profile: str,
        overrides: Mapping[str, int | None],
        universe: str | None,
        device: str,
    ) -> "Plan":
        """From what the command line says; without `models`, all that the study has.

        Raises:
            ConfigError: an unknown profile or model, a horizon that is no number of days, or the
                study has no trees whose forecasts are asked for.
            DataError: no usable prices.
        """
        if profile not in PROFILES:
            raise ConfigError(f"--profile {profile}: {nearest(profile, list(PROFILES), 'known')}")
        given = {name: value for name, value in overrides.items() if value is not None}
        chosen = dataclasses.replace(PROFILES[profile], **given)
        wanted = _days(horizons)
        loaded = load_config(study)
        data = data_config(prices, loaded.data, wanted, chosen.features, universe)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        names = _names(models, trees=loaded.model.trees.rounds > 0)
        return cls(for_panel(loaded, data), wanted, names, chosen, device)

    @property
    def gap(self) -> int:
        """Days between what is learned from and what is forecast."""
        return max(self.config.data.horizons_days) + self.config.data.delay_days + EMBARGO_DAYS

    def setup(self, panel: Panel) -> Setup:
        """What the jobs are told."""
        return Setup(panel.root, self.config, self.profile, self.device)


def versions() -> dict[str, str]:
    """Of the product, of Python, of what the models are built on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"atft_hpo": atft_hpo.__version__, "python": platform.python_version(), **found}


def _days(horizons: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in horizons.split(",")}))
    except ValueError:
        raise ConfigError(
            f"--horizons {horizons}: expected trading days with commas, such as 1,5"
        ) from None


def _names(models: str | None, trees: bool) -> tuple[str, ...]:
    names = set(MODELS if models is None else models.split(","))
    for name in sorted(names - set(MODELS)):
        raise ConfigError(f"--models {name}: {nearest(name, list(MODELS), 'models')}")
    if models is None and not trees:
        names.discard("own_trees")
    if "own_trees" in names and not trees:
        raise ConfigError(
            "--models own_trees: the study has none (model.trees.rounds = 0); leave it out"
        )
    return tuple(name for name in MODELS if name in names)
