"""What of a configuration has shaped a run so far.

    shaping(config, ["baseline"]) == shaping(other, ["baseline"])     # the same weights after it

Two runs on the same panel whose configurations agree here have done the same up to the end of these
phases, bit by bit on a CPU; so one may go on where the other stood. What later phases do, and
settings that none of these phases reads, may differ. A run's split is in dates by then (`dated`):
two that train on other days differ here, however they came to them.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Collection, Sequence
from typing import Any, Final

import torch

import atft_hpo
from atft_hpo.config.schema import Config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.data.store.panel import Panel

CONTENT_VERSION: Final = 9
"""Counts changes of last.pt; a run goes on from no other version."""
TREES: Final = "trees"
"""What the trees are called among the names of phases."""
_FREE_TO_CHANGE: Final[dict[str, Any]] = {
    "study": True, "data": True, "search": True, "budget": True, "provenance": True,
    "runtime": {"threads"},
}  # fmt: skip
"""Sections that do not shape training (the panel's fingerprint stands for `data`)."""


def shaping(config: Config, begun: Collection[str]) -> dict[str, Any]:
    """The part of `config` that phases named in `begun` have been shaped by, as plain content."""
    content = config.model_dump(mode="json", exclude=_FREE_TO_CHANGE)
    phases = [phase for name, phase in config.phases.in_order if name in begun]
    content["phases"] = {name: content["phases"][name] for name in PHASE_NAMES if name in begun}
    # The last phase's epochs are averaged (SWA), those of the others are not.
    content["complete"] = all(name in begun for name, _ in config.phases.in_order)
    augmented = any(phase.augment for phase in phases)
    if not any("fan" in phase.modules for phase in phases):
        del content["model"]["fan"]  # its kind and its k give no parameter another shape
    looked_at = any("graph" in phase.modules for phase in phases) or config.model.trees.rounds
    if not looked_at and not augmented:
        del content["graph"]  # augmentation draws once per edge, whether or not it is looked at
    if not augmented:
        del content["augment"]
    return content


def trees_shaping(config: Config) -> dict[str, Any]:
    """The part of `config` that shapes the trees below the net, as plain content."""
    return {
        "trees": config.model.trees.model_dump(mode="json", exclude={"smoothing"}),
        "split": config.split.model_dump(mode="json"),
        "label": config.loss.label,
        "half_life_days": config.loss.half_life_days,
        "seed": config.seed,
    }


def trees_key(config: Config, panel: Panel) -> str:
    """Hash (hex) of all that shapes the trees below the net."""
    return _hash(
        {
            "shaping": trees_shaping(config),
            "threads": config.runtime.threads,
            "panel": panel.fingerprint,
            "versions": [atft_hpo.__version__, importlib.metadata.version("lightgbm")],
        }
    )


def phase_key(config: Config, panel: Panel, begun: Sequence[str]) -> str:
    """Hash (hex) of all that shapes a run up to the end of the phases named."""
    return _hash(
        {
            "shaping": shaping(config, begun),
            "threads": config.runtime.threads,  # the order of sums follows it
            "panel": panel.fingerprint,
            "versions": [atft_hpo.__version__, torch.__version__, CONTENT_VERSION],
        }
    )


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
