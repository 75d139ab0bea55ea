"""The loss of one slice as named terms; `balance` weighs them.

    terms = loss_terms(forecast, SliceTargets.of(batch), rules)

Every term is float32, lower is better, and leaves missing labels and dead stocks out. `point` and
`pinball` are on the ranked label, `ic` and `rank_ic` correlate the score with it day by day; these
four are averages over horizons weighted by `horizon_weights`. `sharpe`, `turnover` and `exposure`
are of the z-score portfolio of the objective's horizon, on raw one-day returns. Terms with weight 0
are not computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from atft_hpo.config.schema import Config
from atft_hpo.config.training_schema import LossConfig, LossWeights, PhaseConfig
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.training.loss import differentiable as diff


class ForecastLike(NamedTuple):
    """What a model returns for a slice (`model.heads.Forecast` has this shape)."""

    point_SNQ: Tensor
    quantiles_SNQP: Tensor


@dataclass(frozen=True)
class LossRules:
    """How one phase weighs the terms."""

    weights: LossWeights
    horizon_weights: tuple[float, ...]
    """[Q], zeros included."""
    levels: tuple[float, ...]
    """[P] quantile levels."""
    settings: LossConfig
    clip: float
    """Clip of the portfolio's z-scores."""
    horizon: int
    """Position of the objective's horizon in Q."""
    horizon_days: int
    """The objective's horizon: tranches the book holds."""

    @classmethod
    def of(cls, config: Config, phase: PhaseConfig) -> "LossRules":
        """The rules of `phase`."""
        horizons = config.data.horizons_days
        missing = len(horizons) - len(phase.horizon_weights)
        return cls(
            weights=phase.weights,
            horizon_weights=(*phase.horizon_weights, *(0.0,) * missing),
            levels=config.model.quantiles,
            settings=config.loss,
            clip=config.portfolio.clip,
            horizon=horizons.index(config.objective.horizon_days),
            horizon_days=config.objective.horizon_days,
        )


@dataclass(frozen=True)
class SliceTargets:
    """Labels of the S days of a slice, days first."""

    label_SNQ: Tensor
    """Ranked label, 0 where there is none."""
    mask_SNQ: Tensor
    """Whether the cell has a label and the stock is alive."""
    return_SN: Tensor
    """What a position decided that day earns in its first day; NaN = missing."""
    executable_SN: Tensor
    """Whether a decision of that day can be carried out."""
    alive_SN: Tensor
    sector_SN: Tensor
    sectors: int
    """`sector_SN` is below this."""

    @classmethod
    def of(cls, batch: Batch) -> "SliceTargets":
        """The targets of `batch`, without its context days."""
        alive_SN = batch.alive_NS.T
        label_SNQ = batch.label_NSQ.transpose(0, 1).float()
        mask_SNQ = label_SNQ.isfinite() & alive_SN[:, :, None]
        return cls(
            label_SNQ=torch.where(mask_SNQ, label_SNQ, 0.0),
            mask_SNQ=mask_SNQ,
            return_SN=batch.return_NS.T.float(),
            executable_SN=batch.executable_NS.T,
            alive_SN=alive_SN,
            sector_SN=batch.slice_sectors.T,
            sectors=batch.sectors,
        )

    @property
    def samples(self) -> Tensor:
        """Live stock-days with a label of any horizon, on the device."""
        return self.mask_SNQ.any(dim=2).sum()


def loss_terms(
    forecast: ForecastLike, targets: SliceTargets, rules: LossRules
) -> dict[str, Tensor]:
    """Scalar terms by name, those with a weight above 0 only."""
    point_SNQ = forecast.point_SNQ.float()
    terms: dict[str, Callable[[], Tensor]] = {
        "point": lambda: point_loss(point_SNQ, targets, rules),
        "pinball": lambda: pinball_loss(forecast.quantiles_SNQP.float(), targets, rules),
        "ic": lambda: ic_loss(point_SNQ, targets, rules),
        "rank_ic": lambda: rank_ic_loss(point_SNQ, targets, rules),
    }
    if rules.weights.sharpe or rules.weights.turnover or rules.weights.exposure:
        weights_SN = slice_portfolio(point_SNQ[..., rules.horizon], targets, rules)
        terms["sharpe"] = lambda: sharpe_loss(weights_SN, targets, rules)
        terms["turnover"] = lambda: diff.turnover(weights_SN).mean()
        terms["exposure"] = lambda: exposure_loss(weights_SN, targets.sector_SN, targets.sectors)
    return {name: term() for name, term in terms.items() if getattr(rules.weights, name) > 0}


def point_loss(point_SNQ: Tensor, targets: SliceTargets, rules: LossRules) -> Tensor:
    """Squared error or Huber of the point forecast on the ranked label.

    Huber is ½e² below δ and δ(|e| − ½δ) above (Huber 1964), times 2, so that it equals the squared
    error near 0 and the two settings share their weights.
    """
    error_SNQ = torch.where(targets.mask_SNQ, point_SNQ - targets.label_SNQ, 0.0)
    squared_SNQ = error_SNQ**2
    if rules.settings.point == "huber":
        delta = rules.settings.huber_delta
        size_SNQ = error_SNQ.abs()
        squared_SNQ = torch.where(size_SNQ <= delta, squared_SNQ, delta * (2 * size_SNQ - delta))
    return _over_horizons(squared_SNQ, targets.mask_SNQ, rules)


def pinball_loss(quantiles_SNQP: Tensor, targets: SliceTargets, rules: LossRules) -> Tensor:
    """Mean over levels of max(τ e, (τ − 1) e), e = label − quantile (Koenker & Bassett 1978)."""
    level_P = _constant(rules.levels, quantiles_SNQP.dtype, quantiles_SNQP.device)
    error_SNQP = targets.label_SNQ[..., None] - quantiles_SNQP
    loss_SNQ = torch.maximum(level_P * error_SNQP, (level_P - 1) * error_SNQP).mean(dim=3)
    return _over_horizons(torch.where(targets.mask_SNQ, loss_SNQ, 0.0), targets.mask_SNQ, rules)


def ic_loss(point_SNQ: Tensor, targets: SliceTargets, rules: LossRules) -> Tensor:
    """One minus the mean daily Pearson correlation of score and ranked label."""
    return _correlation_loss(point_SNQ, targets, rules, diff.pearson)


def rank_ic_loss(point_SNQ: Tensor, targets: SliceTargets, rules: LossRules) -> Tensor:
    """One minus the mean daily relaxed Spearman correlation of score and label."""

    def correlate(score_SN: Tensor, label_SN: Tensor, mask_SN: Tensor) -> tuple[Tensor, Tensor]:
        temperature = rules.settings.rank_temperature
        return diff.rank_correlation(score_SN, label_SN, mask_SN, temperature)

    return _correlation_loss(point_SNQ, targets, rules, correlate)


def slice_portfolio(score_SN: Tensor, targets: SliceTargets, rules: LossRules) -> Tensor:
    """[S, N] weights held; z-score sizing whatever `portfolio.sizing` says, since it is smooth."""
    target_SN = diff.zscore_weights(score_SN, targets.alive_SN, rules.clip)
    wished_SN = diff.hold_tranches(target_SN, rules.horizon_days)
    return diff.carried_out(wished_SN, targets.executable_SN)


def sharpe_loss(weights_SN: Tensor, targets: SliceTargets, rules: LossRules) -> Tensor:
    """Negative annualised Sharpe of the slice's daily returns, net of `loss.cost_bps`."""
    net_S, measured_S = diff.net_returns(weights_SN, targets.return_SN, rules.settings.cost_bps)
    return -diff.sharpe_annual(net_S, measured_S)


def exposure_loss(weights_SN: Tensor, sector_SN: Tensor, sectors: int) -> Tensor:
    """Mean over days and sectors of the squared net weight of a sector."""
    net_SG = weights_SN.new_zeros(len(weights_SN), sectors).scatter_add(1, sector_SN, weights_SN)
    return (net_SG**2).mean()


Correlation = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def _correlation_loss(
    point_SNQ: Tensor, targets: SliceTargets, rules: LossRules, correlate: Correlation
) -> Tensor:
    total, weight_sum = point_SNQ.sum() * 0.0, point_SNQ.new_zeros(())
    for q, weight in enumerate(rules.horizon_weights):
        if weight == 0:
            continue
        mask_SN = targets.mask_SNQ[..., q]
        found_S, counts_S = correlate(point_SNQ[..., q], targets.label_SNQ[..., q], mask_SN)
        days = counts_S.sum()
        mean = torch.where(counts_S, found_S, 0.0).sum() / days.clamp(min=1)
        present = weight * (days > 0)
        total = total + present * (1.0 - mean)
        weight_sum = weight_sum + present
    return total / torch.where(weight_sum > 0, weight_sum, 1.0)


def _over_horizons(value_SNQ: Tensor, mask_SNQ: Tensor, rules: LossRules) -> Tensor:
    """Weighted mean over horizons of each one's mean over labelled cells; value is 0 elsewhere."""
    count_Q = mask_SNQ.sum(dim=(0, 1))
    weight_Q = _constant(rules.horizon_weights, value_SNQ.dtype, value_SNQ.device) * (count_Q > 0)
    mean_Q = value_SNQ.sum(dim=(0, 1)) / count_Q.clamp(min=1)
    return (weight_Q * mean_Q).sum() / weight_Q.sum().clamp(min=1e-12)


@cache
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """`values` on `device`, made once: a GPU waits for what the host sends it."""
    return torch.tensor(values, dtype=dtype, device=device)
