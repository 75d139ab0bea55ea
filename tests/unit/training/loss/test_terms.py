"""Loss terms by hand, against SciPy and sklearn, masks, horizons and which are computed."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_pinball_loss
from torch import Tensor

from atft_hpo.config.training_schema import LossConfig, LossWeights
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.training.loss import terms
from atft_hpo.training.loss.balance import weighted_sum
from atft_hpo.training.loss.terms import ForecastLike, LossRules, SliceTargets, loss_terms

DAYS, STOCKS, LEVELS = 6, 12, (0.1, 0.5, 0.9)
ALL = LossWeights(point=1, pinball=2, sharpe=3, ic=4, rank_ic=5, turnover=6, exposure=7)
Draw = Callable[..., tuple[ForecastLike, SliceTargets]]
RulesOf = Callable[..., LossRules]


def per_horizon(targets: SliceTargets, q: int, *tensors: Tensor) -> list[Any]:
    """The labelled cells of horizon q as float64 arrays."""
    mask = targets.mask_SNQ[..., q]
    return [t.detach()[..., q][mask].double().numpy() for t in tensors]


def test_squared_error_averages_labelled_cells_then_horizons(draw: Draw, rules_of: RulesOf) -> None:
    forecast, targets = draw()
    means = []
    for q in (0, 1):
        point, label = per_horizon(targets, q, forecast.point_SNQ, targets.label_SNQ)
        means.append(((point - label) ** 2).mean())
    found = terms.point_loss(forecast.point_SNQ, targets, rules_of(horizon_weights=(3.0, 1.0)))
    assert found.item() == pytest.approx(0.75 * means[0] + 0.25 * means[1], rel=1e-5)


def test_huber_equals_squared_error_near_zero_and_is_linear_far_out(
    draw: Draw, rules_of: RulesOf
) -> None:
    _, targets = draw(gaps=0.0)
    rules = rules_of(settings=LossConfig(point="huber", huber_delta=1.0))
    near = terms.point_loss(targets.label_SNQ + 0.3, targets, rules)
    far = terms.point_loss(targets.label_SNQ + 5.0, targets, rules)
    assert float(near) == pytest.approx(0.09, rel=1e-4)
    assert float(far) == pytest.approx(2 * (5.0 - 0.5), rel=1e-4)


def test_pinball_equals_sklearn(draw: Draw, rules_of: RulesOf) -> None:
    forecast, targets = draw(1)
    expected = []
    for p, level in enumerate(LEVELS):
        quantile = forecast.quantiles_SNQP[..., p]
        predicted, label = per_horizon(targets, 1, quantile, targets.label_SNQ)
        expected.append(mean_pinball_loss(label, predicted, alpha=level))
    rules = rules_of(horizon_weights=(0.0, 1.0))
    found = terms.pinball_loss(forecast.quantiles_SNQP, targets, rules)
    assert found.item() == pytest.approx(float(np.mean(expected)), rel=1e-5)


@pytest.mark.parametrize(("term", "reference"), [("ic", pearsonr), ("rank_ic", spearmanr)])
def test_correlation_terms_are_one_minus_the_mean_over_days(
    draw: Draw, rules_of: RulesOf, term: str, reference: Any
) -> None:
    forecast, targets = draw(2)
    rules = rules_of(horizon_weights=(1.0,), settings=LossConfig(rank_temperature=1e-6))
    days = []
    for day in range(DAYS):
        mask = targets.mask_SNQ[day, :, 0]
        point, label = forecast.point_SNQ[day, mask, 0], targets.label_SNQ[day, mask, 0]
        days.append(reference(point.detach(), label)[0])
    compute = {"ic": terms.ic_loss, "rank_ic": terms.rank_ic_loss}[term]
    assert compute(forecast.point_SNQ, targets, rules).item() == pytest.approx(
        1 - np.mean(days), abs=1e-5
    )


def test_sharpe_falls_with_a_better_score_and_with_cost(draw: Draw, rules_of: RulesOf) -> None:
    _, targets = draw(3)
    values = {}
    for name, score in {"good": targets.label_SNQ, "bad": -targets.label_SNQ}.items():
        weights = terms.slice_portfolio(score[..., 0], targets, rules_of())
        for cost in (0.0, 50.0):
            rules = rules_of(settings=LossConfig(cost_bps=cost))
            values[name, cost] = float(terms.sharpe_loss(weights, targets, rules))
    assert values["good", 0.0] < 0 < values["bad", 0.0]
    assert values["good", 0.0] < values["good", 50.0]
    assert math.isclose(values["good", 0.0], -values["bad", 0.0], rel_tol=1e-5)


def test_exposure_by_hand() -> None:
    weights = torch.tensor([[0.5, -0.25, -0.25], [0.5, -0.5, 0.0]])
    found = terms.exposure_loss(weights, torch.tensor([[0, 0, 1]] * 2), 2)
    expected = (0.25**2 + 0.25**2 + 0.0 + 0.0) / 4
    assert found.item() == pytest.approx(expected)


def test_only_terms_with_a_weight_are_computed_and_each_is_weighted(
    draw: Draw, rules_of: RulesOf
) -> None:
    forecast, targets = draw(4)
    assert set(loss_terms(forecast, targets, rules_of())) == set(LossWeights.model_fields)
    weights = LossWeights(point=0, pinball=2, sharpe=0.5)
    terms = loss_terms(forecast, targets, rules_of(weights=weights))
    assert set(terms) == {"pinball", "sharpe"}
    expected = 2 * terms["pinball"] + 0.5 * terms["sharpe"]
    torch.testing.assert_close(weighted_sum(terms, weights), expected)


def test_missing_labels_have_no_influence(draw: Draw, rules_of: RulesOf) -> None:
    forecast, targets = draw(5)
    missing = ~targets.mask_SNQ
    total = weighted_sum(loss_terms(forecast, targets, rules_of()), ALL)
    changed = dataclasses.replace(targets, label_SNQ=targets.label_SNQ.masked_fill(missing, 99.0))
    torch.testing.assert_close(weighted_sum(loss_terms(forecast, changed, rules_of()), ALL), total)
    only = rules_of(weights=LossWeights(point=1, pinball=1, ic=1, rank_ic=1))
    weighted_sum(loss_terms(forecast, targets, only), only.weights).backward()
    assert forecast.point_SNQ.grad is not None
    assert (forecast.point_SNQ.grad[missing] == 0).all()
    assert (forecast.point_SNQ.grad[targets.mask_SNQ] != 0).all()


def test_a_horizon_without_labels_does_not_dilute_the_others(draw: Draw, rules_of: RulesOf) -> None:
    forecast, targets = draw(6)
    mask = targets.mask_SNQ.clone()
    mask[..., 1] = False
    without = dataclasses.replace(targets, mask_SNQ=mask)
    one = rules_of(horizon_weights=(1.0, 0.0))
    for compute in (terms.point_loss, terms.ic_loss, terms.rank_ic_loss):
        torch.testing.assert_close(
            compute(forecast.point_SNQ, without, rules_of()),
            compute(forecast.point_SNQ, targets, one),
        )


def test_a_slice_without_any_label_has_no_gradient_and_no_nan(
    draw: Draw, rules_of: RulesOf
) -> None:
    forecast, targets = draw(7)
    empty = dataclasses.replace(
        targets,
        mask_SNQ=torch.zeros_like(targets.mask_SNQ),
        return_SN=torch.full_like(targets.return_SN, torch.nan),
    )
    rules = rules_of(weights=ALL.model_copy(update={"turnover": 0.0, "exposure": 0.0}))
    weighted_sum(loss_terms(forecast, empty, rules), rules.weights).backward()
    assert forecast.point_SNQ.grad is not None
    assert (forecast.point_SNQ.grad == 0).all()


def test_half_precision_forecasts_are_scored_in_float32(draw: Draw, rules_of: RulesOf) -> None:
    forecast, targets = draw(8)
    half = ForecastLike(*(part.detach().bfloat16() for part in forecast))
    assert {t.dtype for t in loss_terms(half, targets, rules_of()).values()} == {torch.float32}


def test_targets_drop_context_and_dead_cells() -> None:
    label = torch.randn(STOCKS, DAYS, 2)
    label[0, 0, 0] = torch.nan
    alive = torch.ones(STOCKS, DAYS + 3, dtype=torch.bool)
    alive[1, 3], alive[2, :3] = False, False
    batch = Batch(
        x_NTF=torch.zeros(STOCKS, DAYS + 3, 1), present_NT=alive, alive_NS=alive[:, 3:],
        label_NSQ=label, executable_NS=alive[:, 3:], sectors=1,
        return_NS=label[..., 0] * 0.01, sector_NT=torch.zeros(STOCKS, 1, dtype=torch.int64),
        neighbours_SNK=torch.full((DAYS, STOCKS, 1), -1), edge_SNKE=torch.zeros(DAYS, STOCKS, 1, 2),
        context=3, first_day=10, stocks=torch.arange(STOCKS),
    )  # fmt: skip
    targets = SliceTargets.of(batch)
    assert not targets.mask_SNQ[0, 0, 0]
    assert not targets.mask_SNQ[0, 1].any()
    assert targets.mask_SNQ.sum() == label.numel() - 3
    assert targets.samples == DAYS * STOCKS - 1
    torch.testing.assert_close(targets.label_SNQ[2, 3], label[3, 2])
