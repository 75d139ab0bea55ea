"""All models of the comparison by name: what computes them, and what their forecasts depend on.

score_DNQ = MODELS["ridge"].forecast(task)
key = forecast_key("ridge", task)      # changes when a kept forecast may not be used again
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Final

from atft_hpo.model import heads
from atft_hpo.training.loss import balance
from bench.measuring.program import TRAINING, program_sha256
from bench.real import samples
from bench.real.models import controls, full, linear, net_training, nets, trees
from bench.real.samples import Scores, Task


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
    product: bool = False
    """Whether the product trains it: its whole configuration and program decide the forecast."""


MODELS: Final = {
    "full": Model(full.full, (full,), product=True),
    "own_trees": Model(full.own_trees, (full,), product=True),
    "ridge": Model(linear.ridge, (linear,), ensemble=False),
    "lightgbm": Model(trees.lightgbm, (trees,), ensemble=False),
    "lightgbm_plus": Model(trees.lightgbm_plus, (trees, heads, balance), ensemble=False),
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
    shaping = {"loss"} | ({"graph"} if name in nets.NETS else set())
    digest.update(setup.config.model_dump_json(include=shaping).encode())
    digest.update(f"{setup.profile.net_steps} {setup.profile.max_rounds}".encode())
    if not model.ensemble:
        digest.update(f"{setup.profile.seeds} seeds".encode())
    if model.product:
        digest.update(task.config.model_dump_json(include=set(full.SECTIONS)).encode())
    for module in (samples, *model.modules):
        digest.update(inspect.getsource(module).encode())
    digest.update(program_sha256(TRAINING if model.product else ("data",)).encode())
    return digest.hexdigest()[:16]
