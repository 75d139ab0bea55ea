"""Rates per group, and what freezing forgets."""

import pytest
import torch

from atft_hpo.config.model_schema import ModelConfig
from atft_hpo.config.training_schema import OptimConfig
from atft_hpo.model.atft import ATFT, ModelInputs
from atft_hpo.training.optim.optimizer import forget_frozen, make_optimizer, set_rates, trainable


@pytest.fixture
def model() -> ATFT:
    """A small model."""
    config = ModelConfig(
        hidden=8, lookback_days=8, attention_heads=2, gat={"heads": [2]}, san={"spans": [1]}
    )
    return ATFT(config, ModelInputs(features=3, fan_columns=(0,), sectors=2, horizons=1))


def step_all(model: ATFT, optimizer: torch.optim.Optimizer) -> None:
    """One step with a gradient of one wherever a parameter is not frozen."""
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimizer.step()


def test_every_parameter_is_in_one_group_with_its_decay(model: ATFT) -> None:
    optimizer = make_optimizer(model, OptimConfig(weight_decay=0.3))
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        "weights": 0.3, "graph": 0.3, "no_decay": 0.0, "strengths": 0.0, "kernels": 0.0,
    }  # fmt: skip
    assert len(trainable(optimizer)) == len(list(model.parameters()))


def test_rates_follow_phase_scale_schedule_and_group(model: ATFT) -> None:
    config = OptimConfig(
        lr_scale=2.0, warmup_share=0.5, strength_lr_factor=10, kernel_lr_factor=3,
        graph_lr_factor=2,
    )  # fmt: skip
    optimizer = make_optimizer(model, config)
    assert set_rates(optimizer, 1e-3, 0.25, config) == pytest.approx(1e-3)
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    expected = {
        "weights": 1e-3, "graph": 2e-3, "no_decay": 1e-3, "strengths": 1e-2, "kernels": 3e-3,
    }  # fmt: skip
    assert rates == pytest.approx(expected)


def test_rates_reach_the_weights(model: ATFT) -> None:
    config = OptimConfig(
        warmup_share=0.0, final_lr_share=1.0, weight_decay=0.0, kernel_lr_factor=3,
        graph_lr_factor=1,
    )  # fmt: skip
    optimizer = make_optimizer(model, config)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    set_rates(optimizer, 1e-3, 0.5, config)
    step_all(model, optimizer)
    for name, parameter in model.named_parameters():
        factor = 10 if name.endswith("strength") else 3 if name.endswith("kernel") else 1
        moved = before[name] - parameter.detach()
        torch.testing.assert_close(moved, torch.full_like(moved, factor * 1e-3), rtol=1e-2, atol=0)


def test_frozen_parameters_stand_still_and_lose_their_moments(model: ATFT) -> None:
    config = OptimConfig()
    optimizer = make_optimizer(model, config)
    set_rates(optimizer, 1e-3, 0.5, config)
    step_all(model, optimizer)
    model.freeze("selection")
    forget_frozen(optimizer)
    frozen = {name: p for name, p in model.named_parameters() if name.startswith("selection")}
    before = {name: p.detach().clone() for name, p in frozen.items()}
    step_all(model, optimizer)
    for name, parameter in frozen.items():
        assert parameter not in optimizer.state
        torch.testing.assert_close(parameter.detach(), before[name], rtol=0, atol=0)
    assert all(p in optimizer.state for p in model.parameters() if p.requires_grad)
    assert optimizer.state[model.heads.point.weight]["step"] == 2
