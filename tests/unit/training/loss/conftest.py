"""A forecast with targets, and rules with every term on."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from atft_hpo.config.training_schema import LossConfig, LossWeights
from atft_hpo.training.loss.terms import ForecastLike, LossRules, SliceTargets

DAYS, STOCKS, LEVELS = 6, 12, (0.1, 0.5, 0.9)
ALL = LossWeights(point=1, pinball=2, sharpe=3, ic=4, rank_ic=5, turnover=6, exposure=7)


def make_rules(**changes: Any) -> LossRules:
    """Rules with every term on and two horizons of equal weight."""
    base = LossRules(ALL, (1.0, 1.0), LEVELS, LossConfig(), clip=3.0, horizon=0, horizon_days=1)
    return dataclasses.replace(base, **changes)


def drawn(seed: int = 0, gaps: float = 0.2) -> tuple[ForecastLike, SliceTargets]:
    """A forecast that needs gradients, and targets with missing labels."""
    generator = torch.Generator().manual_seed(seed)
    point, label = torch.randn(2, DAYS, STOCKS, 2, generator=generator)
    quantiles = torch.randn(DAYS, STOCKS, 2, 3, generator=generator).sort(dim=-1).values
    mask = torch.rand(label.shape, generator=generator) > gaps
    targets = SliceTargets(
        label_SNQ=torch.where(mask, label, 0.0),
        mask_SNQ=mask,
        return_SN=(0.01 * label[..., 0]).masked_fill(~mask[..., 0], torch.nan),
        alive_SN=torch.ones(DAYS, STOCKS, dtype=torch.bool),
        executable_SN=torch.ones(DAYS, STOCKS, dtype=torch.bool),
        sector_SN=(torch.arange(STOCKS) % 3).expand(DAYS, STOCKS),
        sectors=3,
    )
    return ForecastLike(point.requires_grad_(), quantiles.requires_grad_()), targets


@pytest.fixture
def rules_of() -> Callable[..., LossRules]:
    """`rules_of(clip=1.0)`: rules with changes."""
    return make_rules


@pytest.fixture
def draw() -> Callable[..., tuple[ForecastLike, SliceTargets]]:
    """`draw(seed, gaps)`: a forecast and its targets."""
    return drawn
