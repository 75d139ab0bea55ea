"""Averages of weights: EMA per step, evaluated in place of the weights; SWA over the last epochs.

    averages.after_step(model)
    with averages.in_place(model): ...          # EMA weights while it lasts, when EMA is on
    averages.after_epoch(model)                 # in the last phase only

EMA's decay warms up as (1 + n) / (10 + n), so that the average leaves the initial weights behind
within a few steps. SWA (Izmailov et al. 2018) keeps the weights after the last `swa_epochs` epochs,
not a running sum: patience may end a phase at any epoch.

The step of the EMA is `torch.optim.swa_utils`'; its `AveragedModel` is not used, though resuming it
would be bitwise: it begins with a copy of the first weights that it is given, averages all it has
been given since, not the last few epochs, and holds a second model, forest and compiled parts
included, where parameters are wanted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from atft_hpo.config.training_schema import OptimConfig

Weights = dict[str, Tensor]


class Averages:
    """The averages of one run."""

    def __init__(self, model: nn.Module, config: OptimConfig) -> None:
        self._config = config
        self._steps = 0
        self._ema: Weights = {}
        self._epochs: list[Weights] = []
        self.restart(model)

    def restart(self, model: nn.Module) -> None:
        """Let the EMA begin at the model's present weights."""
        self._steps = 0
        if self._config.ema_decay > 0:
            self._ema = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        """ema ← decay · ema + (1 − decay) · weights."""
        if not self._ema:
            return
        self._steps += 1
        decay = min(self._config.ema_decay, (1 + self._steps) / (10 + self._steps))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(list(self._ema.values()), list(model.parameters()), self._steps)

    def after_epoch(self, model: nn.Module) -> None:
        """Remember the weights of an epoch of the last phase."""
        if self._config.swa_epochs == 0:
            return
        self._epochs.append({n: p.detach().cpu().clone() for n, p in model.named_parameters()})
        del self._epochs[: -self._config.swa_epochs]

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """The model with EMA weights while the context lasts; as it is when EMA is off."""
        with held(model, self._ema):
            yield

    def final(self) -> Weights | None:
        """The weights of swa_main.pt: SWA, EMA when only that is on, None when neither is."""
        if not self._epochs:
            return dict(self._ema) or None
        return {n: torch.stack([e[n] for e in self._epochs]).mean(dim=0) for n in self._epochs[0]}

    def content(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {"steps": self._steps, "ema": self._ema, "epochs": self._epochs}

    def restore(self, content: dict[str, Any]) -> None:
        """Continue from what `content` returned."""
        self._steps, self._epochs = content["steps"], list(content["epochs"])
        for name, average in self._ema.items():
            average.copy_(content["ema"][name])


@contextmanager
def held(model: nn.Module, weights: Weights) -> Iterator[None]:
    """The model with `weights` (by parameter name; others as they are) while the context lasts."""
    parameters = {n: p for n, p in model.named_parameters() if n in weights}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        _copy(parameters, weights)
        yield
    finally:
        _copy(parameters, before)


@torch.no_grad()
def _copy(parameters: dict[str, nn.Parameter], values: Weights) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
