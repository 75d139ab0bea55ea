"""Training and testing one method on one task: Adam, early stopping on validation, best weights.

Set-up of Ye et al. 2024: batch 32, rate 3e-4, weight decay 5e-4, gradient norm clipped at 5, at
most 100 epochs, patience 5 epochs of the validation part's mean squared error. SAN's statistics are
trained first, for at most 5 epochs with the same optimiser, and then frozen (Liu et al. 2023).
"""

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from atft_hpo.errors import NonFiniteError
from bench.fan.continuation import FAN, SAN, DLinear, Forecaster, Normalization, RevIN
from bench.fan.task import LENGTH, Task, Windows

METHODS = ("none", "revin", "san", "fan")
BATCH = 32
RATE = 3e-4
WEIGHT_DECAY = 5e-4
CLIP = 5.0
PATIENCE = 5
STATISTICS_EPOCHS = 5
EVALUATION_VALUES = 2_000_000
"""Values of a batch when evaluating; bounds memory for series of many channels."""


@dataclass(frozen=True)
class Settings:
    """What a run may choose."""

    k: int
    slice_length: int
    epochs: int
    residual_loss: bool


@dataclass(frozen=True)
class Outcome:
    """Of one trained model; errors in units of the scaled series, over all channels."""

    mse: float
    mae: float
    validation_mse: float
    epochs: int
    best_epoch: int
    seconds: float


def run(method: str, task: Task, settings: Settings, seed: int) -> Outcome:
    """Train `method` on the task's training part and test its best weights."""
    start = time.perf_counter()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Forecaster(
        normalization(method, task.ahead, task.channels, settings), DLinear(LENGTH, task.ahead)
    )
    model.to(task.train.cut_WCT.device)
    if isinstance(model.normalization, SAN):
        _fit_statistics(model.normalization, task, settings, generator)

    def validation_mse() -> float:
        return errors(model, task.validation)[0]

    fit = _fit(model, model.loss, validation_mse, task.train, settings.epochs, generator)
    mse, mae = errors(model, task.test)
    seconds = time.perf_counter() - start
    return Outcome(mse, mae, fit.value, fit.epochs, fit.best_epoch, seconds)


def normalization(method: str, ahead: int, channels: int, settings: Settings) -> Normalization:
    """The named method's module, untrained.

    Raises ConfigError if K or the slice length does not suit the horizon.
    """
    if method == "none":
        return Normalization()
    if method == "revin":
        return RevIN(channels)
    if method == "san":
        return SAN(LENGTH, ahead, settings.slice_length, channels)
    return FAN(LENGTH, ahead, settings.k, settings.residual_loss)


@torch.no_grad()
def errors(model: nn.Module, windows: Windows) -> tuple[float, float]:
    """Mean squared and mean absolute error over every window, channel and step of a part."""
    squared, absolute, count = 0.0, 0.0, 0
    for x_BCL, y_BCO in _large_batches(windows):
        error_BCO = (model(x_BCL) - y_BCO).double()
        squared += float(error_BCO.square().sum())
        absolute += float(error_BCO.abs().sum())
        count += error_BCO.numel()
    return squared / count, absolute / count


def _large_batches(windows: Windows) -> Iterable[tuple[Tensor, Tensor]]:
    _, channels, values = windows.cut_WCT.shape
    return windows.batches(max(1, EVALUATION_VALUES // (channels * values)))


def _fit_statistics(san: SAN, task: Task, settings: Settings, generator: torch.Generator) -> None:
    """First stage of SAN: its forecasts of the slices' statistics, then frozen."""

    @torch.no_grad()
    def validation_loss() -> float:
        batches = _large_batches(task.validation)
        total = sum(len(x) * float(san.statistics_loss(x, y)) for x, y in batches)
        return total / len(task.validation)

    epochs = min(STATISTICS_EPOCHS, settings.epochs)
    _fit(san, san.statistics_loss, validation_loss, task.train, epochs, generator)
    san.requires_grad_(False)


@dataclass(frozen=True)
class _Fit:
    value: float
    epochs: int
    best_epoch: int


def _fit(
    module: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    validate: Callable[[], float],
    windows: Windows,
    epochs: int,
    generator: torch.Generator,
) -> _Fit:
    """Train until `validate` has not improved for PATIENCE epochs; leaves the best weights in.

    Raises NonFiniteError if the validation loss is not finite.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=RATE, weight_decay=WEIGHT_DECAY, fused=True)
    best, best_epoch, weights = float("inf"), 0, copy.deepcopy(module.state_dict())
    epoch = 0
    while epoch < epochs and epoch - best_epoch < PATIENCE:
        epoch += 1
        for x_BCL, y_BCO in windows.batches(BATCH, generator):
            optimizer.zero_grad()
            loss(x_BCL, y_BCO).backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
        value = validate()
        if not math.isfinite(value):
            raise NonFiniteError(f"the validation loss is {value} after epoch {epoch}")
        if value < best:
            best, best_epoch, weights = value, epoch, copy.deepcopy(module.state_dict())
    module.load_state_dict(weights)
    return _Fit(best, epoch, best_epoch)
