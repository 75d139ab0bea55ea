"""Every term pulls by its weight, whatever its units; days count by their recency."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from atft_hpo.config.training_schema import LossConfig, LossWeights
from atft_hpo.training.loss import terms
from atft_hpo.training.loss.balance import loss_gradient, recency, weighted_sum
from atft_hpo.training.loss.terms import ForecastLike, LossRules, SliceTargets, loss_terms

ALL = LossWeights(point=1, pinball=2, sharpe=3, ic=4, rank_ic=5, turnover=6, exposure=7)
Draw = Callable[..., tuple[ForecastLike, SliceTargets]]
RulesOf = Callable[..., LossRules]


def test_unbalanced_the_gradient_is_autograds(draw: Draw, rules_of: RulesOf) -> None:
    forecast, targets = draw(9)
    rules = rules_of(settings=LossConfig(balance="none"))
    pull = loss_gradient(forecast, targets, rules)
    expected = torch.autograd.grad(
        weighted_sum(loss_terms(forecast, targets, rules), ALL), forecast
    )
    for found, wanted in zip(pull.gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted)
    for name, term in loss_terms(forecast, targets, rules).items():
        torch.testing.assert_close(pull.terms[name], term.detach())


def test_balanced_every_term_pulls_by_its_weight(draw: Draw, rules_of: RulesOf) -> None:
    forecast, targets = draw(10)
    pull = loss_gradient(forecast, targets, rules_of())
    reference = pull.norms["point"]
    for name, norm in pull.norms.items():
        wanted = getattr(ALL, name) * reference
        torch.testing.assert_close(pull.factors[name] * norm, wanted)


def test_balance_does_not_depend_on_a_terms_units(
    draw: Draw, rules_of: RulesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast, targets = draw(11)
    before = loss_gradient(forecast, targets, rules_of()).gradients
    plain = terms.sharpe_loss
    monkeypatch.setattr(terms, "sharpe_loss", lambda *given: 1000.0 * plain(*given))
    after = loss_gradient(forecast, targets, rules_of()).gradients
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-6)


def test_without_the_point_term_the_heaviest_is_the_reference(
    draw: Draw, rules_of: RulesOf
) -> None:
    forecast, targets = draw(12)
    weights = LossWeights(point=0, pinball=0.5, ic=2.0)
    pull = loss_gradient(forecast, targets, rules_of(weights=weights))
    torch.testing.assert_close(pull.factors["ic"], torch.tensor(2.0))
    torch.testing.assert_close(
        pull.factors["pinball"] * pull.norms["pinball"], 0.5 * pull.norms["ic"]
    )


def test_a_slice_without_any_label_pulls_nowhere(draw: Draw, rules_of: RulesOf) -> None:
    forecast, targets = draw(13)
    empty = dataclasses.replace(
        targets,
        mask_SNQ=torch.zeros_like(targets.mask_SNQ),
        return_SN=torch.full_like(targets.return_SN, torch.nan),
    )
    weights = LossWeights(point=1, pinball=1, sharpe=0.1, ic=1, rank_ic=1)
    for gradient in loss_gradient(forecast, empty, rules_of(weights=weights)).gradients:
        assert (gradient == 0).all()


def test_weights_of_days_halve_with_every_half_life_and_have_mean_one() -> None:
    weight_D = recency(range(30, 130), 20)
    assert weight_D.shape == (100,)
    assert weight_D.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(weight_D[20:], 2 * weight_D[:-20])
    np.testing.assert_array_equal(recency(range(30, 130), None), 1.0)
