"""Differentiable twins of correlation and portfolio, for the loss terms; days are rows.

The portfolio twin equals `evaluation.portfolio` (z-score sizing) and `pearson` and `soft_ranks`
converge to `evaluation.metrics`; tests hold them together in float64. Days with fewer than three
stocks are left out. Evaluation never uses this module.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

from atft_hpo.evaluation.metrics import TRADING_DAYS
from atft_hpo.evaluation.portfolio import BASIS_POINT

MIN_STOCKS_OF_LOSS: Final = 3
"""Days with fewer stocks have no loss; to be scored, they need `evaluation.series.MIN_STOCKS`."""
MIN_DAYS: Final = 3
"""Slices with fewer measured days have no Sharpe ratio."""
SHARPE_FLOOR: Final = 1e-3
"""Added in quadrature to the daily std: ten basis points, a fifth of a typical one. It bounds the
term on short slices, where the sample std can come out near zero."""
STOCK_LIMIT: Final = 512
"""Most stocks per day in a soft rank, whose cost is quadratic; more are thinned out."""
_PAIRS_IN_CACHE: Final = 2**17
_PAIRS_ON_DEVICE: Final = 2**25
"""Pairs a soft rank handles at a time, on the CPU and elsewhere."""
_TINY: Final = 1e-12


def masked_mean(values_SN: Tensor, mask_SN: Tensor) -> Tensor:
    """[S, 1] mean over the masked stocks of each day; 0 where there are none."""
    count_S1 = mask_SN.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(mask_SN, values_SN, 0.0).sum(dim=1, keepdim=True) / count_S1


def pearson(a_SN: Tensor, b_SN: Tensor, mask_SN: Tensor) -> tuple[Tensor, Tensor]:
    """([S] correlation across stocks, [S] whether the day counts)."""
    a_SN = torch.where(mask_SN, a_SN - masked_mean(a_SN, mask_SN), 0.0)
    b_SN = torch.where(mask_SN, b_SN - masked_mean(b_SN, mask_SN), 0.0)
    product_S = (a_SN * b_SN).sum(dim=1)
    squares_S = (a_SN * a_SN).sum(dim=1) * (b_SN * b_SN).sum(dim=1)
    counts_S = (mask_SN.sum(dim=1) >= MIN_STOCKS_OF_LOSS) & (squares_S > _TINY)
    return product_S / torch.where(counts_S, squares_S, 1.0).sqrt(), counts_S


def hard_ranks(values_SN: Tensor, mask_SN: Tensor) -> Tensor:
    """[S, N] ranks from 0 among the masked stocks of each day, ties averaged (no gradient)."""
    filled_SN = torch.where(mask_SN, values_SN.detach(), torch.inf).contiguous()
    sorted_SN = filled_SN.sort(dim=1).values
    below_SN = torch.searchsorted(sorted_SN, filled_SN)
    upto_SN = torch.searchsorted(sorted_SN, filled_SN, right=True)
    return (below_SN + upto_SN - 1).to(values_SN.dtype) / 2


def soft_ranks(score_SN: Tensor, mask_SN: Tensor, temperature: float) -> Tensor:
    """[S, N] ranks from 0: rank_i = Σ_{j≠i} σ((s_i − s_j) / (temperature · std of the day)).

    The pairwise sigmoid relaxation of Qin, Liu & Li (2010, "A general approximation framework",
    eq. 10). Exact, ties averaged, as the temperature goes to 0; unchanged by a positive scaling.
    """
    centred_SN = torch.where(mask_SN, score_SN - masked_mean(score_SN, mask_SN), 0.0)
    variance_S1 = masked_mean(centred_SN * centred_SN, mask_SN)
    scale_S1 = temperature * (variance_S1 + _TINY).sqrt()
    mask = mask_SN.to(score_SN.dtype)
    ranks_SN: Tensor = _PairwiseSigmoid.apply(centred_SN / scale_S1, mask)  # type: ignore[no-untyped-call]
    return ranks_SN - 0.5  # every stock is half above itself


class _PairwiseSigmoid(torch.autograd.Function):
    """out_i = Σ_j m_j σ(u_i − u_j) per day, a few days at a time; pairs are recomputed backwards.

    With p = σ(1 − σ), which is symmetric, the gradient is g_k Σ_j m_j p_kj − m_k Σ_i g_i p_ik.
    """

    @staticmethod
    def forward(ctx: Any, unit_SN: Tensor, mask_SN: Tensor) -> Tensor:
        ctx.save_for_backward(unit_SN, mask_SN)
        parts = [
            torch.bmm(_above(unit), mask.unsqueeze(2)).squeeze(2)
            for unit, mask in _in_chunks(unit_SN, mask_SN)
        ]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        parts = []
        for unit, mask, gradient in _in_chunks(*ctx.saved_tensors, gradients[0]):
            above_SNN = _above(unit)
            slope_SNN = above_SNN.sub_(above_SNN.square())
            by_mask, by_gradient = torch.bmm(slope_SNN, torch.stack([mask, gradient], 2)).unbind(2)
            parts.append(gradient * by_mask - mask * by_gradient)
        return torch.cat(parts), None


def _above(unit_SN: Tensor) -> Tensor:
    return (unit_SN.unsqueeze(2) - unit_SN.unsqueeze(1)).sigmoid_()


def _in_chunks(*tensors_SN: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few days of each tensor at a time."""
    first = tensors_SN[0]
    pairs = _PAIRS_IN_CACHE if first.device.type == "cpu" else _PAIRS_ON_DEVICE
    days = max(1, pairs // first.shape[1] ** 2)
    return zip(*(torch.split(tensor, days) for tensor in tensors_SN), strict=True)


def rank_correlation(
    score_SN: Tensor, label_SN: Tensor, mask_SN: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """([S] relaxed Spearman correlation of score and label, [S] whether the day counts).

    More than STOCK_LIMIT stocks are thinned to every k-th one, from a start drawn from torch's
    global random state, so that each has its turn.
    """
    every = -(-score_SN.shape[1] // STOCK_LIMIT)
    if every > 1:
        kept = slice(int(torch.randint(every, ())), None, every)
        score_SN, label_SN, mask_SN = score_SN[:, kept], label_SN[:, kept], mask_SN[:, kept]
    soft_SN = soft_ranks(score_SN, mask_SN, temperature)
    return pearson(soft_SN, hard_ranks(label_SN, mask_SN), mask_SN)


def zscore_weights(score_SN: Tensor, tradable_SN: Tensor, clip: float) -> Tensor:
    """[S, N] dollar-neutral weights with gross exposure 1, as `portfolio.target_weights`."""
    centred_SN = torch.where(tradable_SN, score_SN - masked_mean(score_SN, tradable_SN), 0.0)
    variance_S1 = masked_mean(centred_SN * centred_SN, tradable_SN)
    spread_S1 = variance_S1 > _TINY
    z_SN = (centred_SN / torch.where(spread_S1, variance_S1, 1.0).sqrt()).clamp(-clip, clip)
    neutral_SN = torch.where(tradable_SN, z_SN - masked_mean(z_SN, tradable_SN), 0.0)
    gross_S1 = neutral_SN.abs().sum(dim=1, keepdim=True)
    weights_SN = neutral_SN / torch.where(spread_S1, gross_S1, 1.0)
    scored_S = (tradable_SN.sum(dim=1) >= MIN_STOCKS_OF_LOSS) & spread_S1[:, 0]
    return _carry_forward(weights_SN, scored_S)


def hold_tranches(target_SN: Tensor, horizon_days: int) -> Tensor:
    """[S, N] mean of the last `horizon_days` targets, as `portfolio.hold_tranches`."""
    if horizon_days == 1:
        return target_SN
    total_SN = target_SN.cumsum(dim=0)
    expired_SN = torch.zeros_like(total_SN)
    expired_SN[horizon_days:] = total_SN[:-horizon_days]
    return (total_SN - expired_SN) / horizon_days


def carried_out(wished_SN: Tensor, executable_SN: Tensor) -> Tensor:
    """[S, N] weights held, as `portfolio.carried_out`; a delisted stock keeps its own, which costs
    and earns nothing any more."""
    day_S1 = torch.arange(len(wished_SN), device=wished_SN.device).unsqueeze(1)
    last_SN = torch.where(executable_SN, day_S1, -1).cummax(dim=0).values
    held_SN = wished_SN.gather(0, last_SN.clamp(min=0))
    return torch.where(last_SN >= 0, held_SN, 0.0)


def turnover(weights_SN: Tensor) -> Tensor:
    """[S] Σ|w_d − w_{d−1}|, from cash on the first day."""
    before_SN = torch.cat([torch.zeros_like(weights_SN[:1]), weights_SN[:-1]])
    return (weights_SN - before_SN).abs().sum(dim=1)


def net_returns(weights_SN: Tensor, return_SN: Tensor, cost_bps: float) -> tuple[Tensor, Tensor]:
    """([S] daily return net of cost, [S] whether the day is measured); NaN returns = missing."""
    known_SN = return_SN.isfinite()
    gross_S = (weights_SN * torch.where(known_SN, return_SN, 0.0)).sum(dim=1)
    measured_S = (known_SN & (weights_SN != 0)).any(dim=1)
    return gross_S - cost_bps * BASIS_POINT * turnover(weights_SN), measured_S


def sharpe_annual(returns_S: Tensor, measured_S: Tensor, floor: float = SHARPE_FLOOR) -> Tensor:
    """√252 · mean / √(std² + floor²) over the measured days; 0 with fewer than three of them."""
    count = measured_S.sum()
    mean = torch.where(measured_S, returns_S, 0.0).sum() / count.clamp(min=1)
    squares = torch.where(measured_S, (returns_S - mean) ** 2, 0.0).sum()
    variance = squares / (count - 1).clamp(min=1) + floor**2
    ratio = math.sqrt(TRADING_DAYS) * mean / (variance + _TINY**2).sqrt()
    return torch.where(count >= MIN_DAYS, ratio, torch.zeros_like(ratio))


def _carry_forward(weights_SN: Tensor, scored_S: Tensor) -> Tensor:
    day_S = torch.arange(len(scored_S), device=scored_S.device)
    last_S = torch.where(scored_S, day_S, -1).cummax(dim=0).values
    return torch.where((last_S >= 0)[:, None], weights_SN[last_S.clamp(min=0)], 0.0)
