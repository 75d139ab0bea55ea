"""EMA and SWA by hand, in place and back."""

import pytest
import torch
from torch import nn

from atft_hpo.config.training_schema import OptimConfig
from atft_hpo.training.optim.averaging import Averages, held


@pytest.fixture
def model() -> nn.Linear:
    """One weight that is 0."""
    model = nn.Linear(1, 1, bias=False)
    set_weight(model, 0.0)
    return model


@torch.no_grad()
def set_weight(model: nn.Linear, value: float) -> None:
    """Fill the weight."""
    model.weight.fill_(value)


def averages_of(model: nn.Module, ema: float = 0.0, swa: int = 0) -> Averages:
    """Averages with these settings."""
    return Averages(model, OptimConfig(ema_decay=ema, swa_epochs=swa))


def test_ema_warms_up_then_decays(model: nn.Linear) -> None:
    averages = averages_of(model, ema=0.25)
    expected = 0.0
    for step, value in enumerate([1.0, 2.0, 5.0], start=1):
        set_weight(model, value)
        averages.after_step(model)
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with averages.in_place(model):
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 5.0


def test_without_ema_the_weights_stay(model: nn.Linear) -> None:
    averages = averages_of(model)
    set_weight(model, 3.0)
    averages.after_step(model)
    with averages.in_place(model):
        assert model.weight.item() == 3.0
    assert averages.final() is None


def test_swa_is_the_mean_of_the_last_epochs_even_when_patience_ends_them(model: nn.Linear) -> None:
    averages = averages_of(model, ema=0.5, swa=2)
    for value in (9.0, 1.0, 4.0):
        set_weight(model, value)
        averages.after_epoch(model)
    final = averages.final()
    assert final is not None
    assert final["weight"].item() == pytest.approx(2.5)


def test_ema_alone_is_the_final_average(model: nn.Linear) -> None:
    averages = averages_of(model, ema=0.5)
    set_weight(model, 2.0)
    averages.after_step(model)
    averages.after_epoch(model)
    final = averages.final()
    assert final is not None
    assert 0 < final["weight"].item() < 2


def test_restart_forgets(model: nn.Linear) -> None:
    averages = averages_of(model, ema=0.9)
    set_weight(model, 7.0)
    averages.restart(model)
    with averages.in_place(model):
        assert model.weight.item() == 7.0


def test_content_restores_bitwise(model: nn.Linear) -> None:
    averages, other = averages_of(model, 0.9, 2), averages_of(model, 0.9, 2)
    for value in (1.0, 2.0):
        set_weight(model, value)
        averages.after_step(model)
        averages.after_epoch(model)
    other.restore(averages.content())
    for each in (averages, other):
        set_weight(model, 8.0)
        each.after_step(model)
        each.after_epoch(model)
    with averages.in_place(model):
        expected = model.weight.item()
    with other.in_place(model):
        assert model.weight.item() == expected
    assert averages.final() == other.final()


def test_weights_come_back_after_an_error(model: nn.Linear) -> None:
    with pytest.raises(RuntimeError, match="inside"), held(model, {"weight": torch.ones(1, 1)}):
        raise RuntimeError("inside")
    assert model.weight.item() == 0.0
