"""Metrics, early stopping, runs that repeat."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atft_hpo.errors import NonFiniteError
from bench.fan.series import drifting_cycles, random_walk
from bench.fan.task import (
    make_task,
    standardise,
)
from bench.fan.training import METHODS, Settings, errors, run

CPU = torch.device("cpu")
SETTINGS = Settings(k=2, slice_length=6, epochs=2, residual_loss=False)


def test_errors_are_means_over_everything() -> None:
    class Last(nn.Module):
        def forward(self, x_BCL: Tensor) -> Tensor:
            return x_BCL[..., -1:].expand(-1, -1, 24)

    series = random_walk(1000, 3)
    scaled = standardise(series, 700)
    gaps = np.concatenate([scaled[s : s + 24] - scaled[s - 1] for s in range(900, 977)])
    mse, mae = errors(Last(), make_task(series, 24, "train", CPU).test)
    assert mse == pytest.approx((gaps**2).mean(), rel=1e-5)
    assert mae == pytest.approx(np.abs(gaps).mean(), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_runs_repeat_and_learn(method: str) -> None:
    task = make_task(drifting_cycles(1000, 1), 24, "train", CPU)
    once, again = run(method, task, SETTINGS, 0), run(method, task, SETTINGS, 0)
    assert (once.mse, once.mae, once.epochs) == (again.mse, again.mae, again.epochs)
    one_epoch = run(method, task, Settings(2, 6, 1, False), 0)
    assert once.validation_mse <= one_epoch.validation_mse


def test_best_weights_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.fan.training.RATE", 0.5)
    task = make_task(drifting_cycles(1000, 1), 24, "train", CPU)
    full = run("none", task, Settings(2, 6, 20, False), 0)
    assert full.epochs == min(20, full.best_epoch + 5)
    best = run("none", task, Settings(2, 6, full.best_epoch, False), 0)
    assert full.mse == best.mse


def test_diverged_training_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.fan.training.RATE", 1e30)
    task = make_task(drifting_cycles(1000, 1), 24, "train", CPU)
    with pytest.raises(NonFiniteError, match="validation loss is"):
        run("none", task, SETTINGS, 0)
