"""How the terms of a loss, and the days of a train range, are weighed against each other.

    pull = loss_gradient(forecast, targets, rules)
    torch.autograd.backward(forecast, pull.gradients)

How a weight counts is `loss.balance`. Terms differ in the size of their gradients by factors of a
thousand (an annualised Sharpe against a squared error of ranks), so by default a weight is the
share of the pull that a term has on the forecasts, not a factor of its value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atft_hpo.config.training_schema import LossWeights
from atft_hpo.evaluation.series import Floats
from atft_hpo.training.loss.terms import ForecastLike, LossRules, SliceTargets, loss_terms

_NO_PULL = 1e-12
"""A term whose gradient is shorter has nothing to say in this step."""


@dataclass(frozen=True)
class Pull:
    """What all terms together want of the forecasts."""

    terms: dict[str, Tensor]
    """Values, without their weights."""
    norms: dict[str, Tensor]
    """Norm of each term's own gradient on the forecasts, without its weight."""
    factors: dict[str, Tensor]
    """What each term's gradient was multiplied by."""
    gradients: tuple[Tensor, ...]
    """Σ factor · gradient, on the point forecasts and on the quantiles."""


def loss_gradient(forecast: ForecastLike, targets: SliceTargets, rules: LossRules) -> Pull:
    """The gradient of the loss with respect to the forecasts, term by term.

    With `loss.balance = "gradient"` a term's gradient is scaled to weight · reference, where the
    reference is the norm of the point term's gradient in the same step (of the heaviest term, where
    the point term has no weight): so a weight of .1 pulls a tenth as hard as the point term,
    whatever the units of the term are. With "none" it is weight · gradient.
    """
    leaves = ForecastLike(*(part.detach().float().requires_grad_() for part in forecast))
    terms = loss_terms(leaves, targets, rules)
    gradients = {
        name: torch.autograd.grad(term, leaves, retain_graph=True, materialize_grads=True)
        for name, term in terms.items()
    }
    norms = {name: _norm(parts) for name, parts in gradients.items()}
    weights = {name: getattr(rules.weights, name) for name in terms}
    factors = {name: torch.full_like(norms[name], weight) for name, weight in weights.items()}
    if rules.settings.balance == "gradient":
        heaviest = max(weights, key=lambda name: (name == "point", weights[name]))
        factors = {
            name: factor * norms[heaviest] / norms[name].clamp(min=_NO_PULL)
            for name, factor in factors.items()
        }
    pulls = zip(*([f * g for g in gradients[n]] for n, f in factors.items()), strict=True)
    total = tuple(torch.stack(parts).sum(0) for parts in pulls)
    return Pull({n: t.detach() for n, t in terms.items()}, norms, factors, total)


def weighted_sum(terms: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """Σ weight · term."""
    return torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()


def recency(train: range, half_life_days: int | None) -> Floats:
    """Weight [D] of the train range's days: halves for every half-life before its end, mean 1."""
    if half_life_days is None:
        return np.ones(len(train))
    weight_D: Floats = np.exp2(np.arange(len(train)) / half_life_days)
    return np.asarray(weight_D / weight_D.mean())


def _norm(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([part.square().sum() for part in parts]).sum().sqrt()
