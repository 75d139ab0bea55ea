"""All models of the comparison by name: what computes them, and what their forecasts depend on.

score_DNQ = MODELS["ridge"].forecast(task)
key = forecast_key("ridge", task)      # changes when a kept forecast may not be used again
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Final

import atft_hpo
from bench.real import samples
from bench.real.models import controls, full, linear, net_training, nets, trees
from bench.real.samples import Scores, Task

_ROOMS: Final = ("config", "data", "model", "training")


@dataclass(frozen=True)
class Model:
    """One column of the comparison."""

    forecast: Callable[[Task], Scores]
    modules: tuple[ModuleType, ...]
    """Their source decides the forecast, beside the panel and the label."""
    ensemble: bool = True
    """Whether each seed is a job; else one job does everything."""
    control: bool = False
    """Whether nothing but noise is in it."""


MODELS: Final = {
    "full": Model(full.full, (full,)),
    "ridge": Model(linear.ridge, (linear,), ensemble=False),
    "lightgbm": Model(trees.lightgbm, (trees,), ensemble=False),
    **{
        name: Model(partial(net_training.train_net, name), (net_training, nets))
        for name in nets.NETS
    },
    "random": Model(controls.random_signal, (controls,), ensemble=False, control=True),
    "shuffled": Model(trees.shuffled, (trees,), ensemble=False, control=True),
}


def forecast_key(name: str, task: Task) -> str:
    """Hash of everything a forecast depends on: panel, fold, label, settings and program text."""
    setup, model = task.setup, MODELS[name]
    digest = hashlib.sha256(f"{name} {task.fold} {task.seed}".encode())
    digest.update(task.panel.fingerprint.encode())
    digest.update(setup.config.loss.model_dump_json().encode())
    digest.update(f"{setup.profile.net_steps} {setup.profile.max_rounds}".encode())
    if not model.ensemble:
        digest.update(f"{setup.profile.seeds} seeds".encode())
    if name == "full":
        digest.update(task.config.model_dump_json(include=set(full.SECTIONS)).encode())
    for module in (samples, *model.modules):
        digest.update(inspect.getsource(module).encode())
    digest.update(_product(_ROOMS if name == "full" else ("data",)).encode())
    return digest.hexdigest()[:16]


@cache
def _product(rooms: tuple[str, ...]) -> str:
    """Hash of the program text of these rooms of the product."""
    root = Path(str(atft_hpo.__file__)).parent
    digest = hashlib.sha256()
    for room in rooms:
        for file in sorted((root / room).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
