"""How much of a best trial is luck: deflated Sharpe ratio, probability of backtest overfitting.

    best = returns_DM[:, sharpes.argmax()]
    moments = moments_of(best)
    deflated_sharpe(moments, trials=M, variance=sharpes.var(ddof=1))   # P(true Sharpe > luck)
    pbo_cscv(returns_DM)                                               # P(best is below the median)

Every Sharpe ratio here is *per day*, mean/std, not annualised; `annual / sqrt(252)` converts.
`returns_DM` holds the daily net validation returns of M trials (M counts pruned trials too, as far
as they were candidates). Autocorrelation is not corrected here; the paired comparison of running
trials is in `pruner`.

Sources: Bailey & López de Prado, "The Sharpe Ratio Efficient Frontier" (2012) and "The Deflated
Sharpe Ratio" (2014); Bailey, Borwein, López de Prado & Zhu, "The Probability of Backtest
Overfitting" (2015).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]
_SPLITS_AT_ONCE = 2048
_TIE = 1e-12


@dataclass(frozen=True)
class Moments:
    """What the sampling error of a Sharpe ratio depends on."""

    sharpe: float
    """Per day."""
    days: int
    skew: float = 0.0
    """γ₃; 0 for normal returns."""
    kurtosis: float = 3.0
    """γ₄, not in excess; 3 for normal returns."""


def moments_of(returns_D: NDArray[np.floating]) -> Moments:
    """Moments of daily returns; days with NaN are left out.

    Raises:
        ValueError: fewer than 2 days, or returns that do not vary.
    """
    values = np.asarray(returns_D, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size < 2 or np.ptp(values) == 0.0:
        raise ValueError(f"{values.size} finite daily returns; expected at least 2 that differ")
    centred = values - values.mean()
    std = math.sqrt(float(np.mean(centred**2)))
    return Moments(
        sharpe=float(values.mean() / values.std(ddof=1)),
        days=int(values.size),
        skew=float(np.mean((centred / std) ** 3)),
        kurtosis=float(np.mean((centred / std) ** 4)),
    )


def sharpe_standard_error(moments: Moments) -> float:
    """Standard error of the estimated daily Sharpe ratio (Mertens; 2012 paper)."""
    sr = moments.sharpe
    spread = 1.0 - moments.skew * sr + (moments.kurtosis - 1.0) / 4.0 * sr**2
    return math.sqrt(spread / (moments.days - 1))


def probabilistic_sharpe(moments: Moments, benchmark: float = 0.0) -> float:
    """P(true daily Sharpe > `benchmark`), given the estimate (2012 paper)."""
    return float(ndtr((moments.sharpe - benchmark) / sharpe_standard_error(moments)))


def expected_max_sharpe(trials: float, variance: float) -> float:
    """SR₀: the largest daily Sharpe to expect from `trials` trials whose true Sharpe is 0.

    Args:
        trials: N, pruned ones included, or the effective number; at least 1.
        variance: variance of the daily Sharpe ratios over the trials.

    √variance · [(1−γ)Φ⁻¹(1−1/N) + γΦ⁻¹(1−1/(N·e))], γ = Euler–Mascheroni (2014 paper).

    Raises:
        ValueError: fewer than 1 trial, or a negative variance.
    """
    if trials < 1.0 or variance < 0.0:
        raise ValueError(f"trials = {trials}, variance = {variance}: expected >= 1 and >= 0")
    if trials == 1.0:
        return 0.0
    first = float(ndtri(1.0 - 1.0 / trials))
    second = float(ndtri(1.0 - 1.0 / (trials * math.e)))
    return math.sqrt(variance) * ((1.0 - np.euler_gamma) * first + np.euler_gamma * second)


def deflated_sharpe(moments: Moments, trials: float, variance: float) -> float:
    """P(the best trial's true daily Sharpe exceeds what luck alone gives the best of `trials`)."""
    return probabilistic_sharpe(moments, expected_max_sharpe(trials, variance))


def effective_trials(returns_DM: NDArray[np.floating]) -> float:
    """Number of independent trials that M correlated ones amount to: ρ̄ + (1 − ρ̄)·M.

    ρ̄ is the mean pairwise correlation of daily returns, taken as 0 when negative (2014 paper,
    appendix). Days on which any trial has no return are left out.

    Raises:
        ValueError: fewer than 3 common days, or a trial whose returns do not vary.
    """
    returns = _common_days(returns_DM, least=3)
    count = int(returns.shape[1])
    if count == 1:
        return 1.0
    if np.any(np.ptp(returns, axis=0) == 0.0):
        raise ValueError("a trial's daily returns do not vary; leave it out")
    matrix = np.corrcoef(returns, rowvar=False)
    mean = max(0.0, (float(matrix.sum()) - count) / (count * (count - 1)))
    return mean + (1.0 - mean) * count


def pbo_cscv(returns_DM: NDArray[np.floating], blocks: int = 16) -> float:
    """Probability of backtest overfitting: how often the best in sample is below the median out.

    About .5 for noise (a single matrix scatters by ±.19), near 0 when one trial is truly better.
    With an odd number of trials the middle rank counts as overfit, as in the paper.

    Raises:
        ValueError: see `pbo_logits`.
    """
    return float(np.mean(pbo_logits(returns_DM, blocks) <= 0.0))


def pbo_logits(returns_DM: NDArray[np.floating], blocks: int = 16) -> Floats:
    """λ of each of the C(blocks, blocks/2) splits of combinatorially symmetric cross-validation.

    Days are cut into contiguous blocks of (nearly) equal size; half of them are in sample. ω = rank
    out of sample of the best in sample / (M + 1), ties averaged, λ = ln(ω / (1 − ω)).

    Raises:
        ValueError: fewer than 2 trials, an odd number of blocks, or fewer than 2 common days a
            block.
    """
    if blocks < 2 or blocks % 2:
        raise ValueError(f"blocks = {blocks}: expected an even number, at least 2")
    returns = _common_days(returns_DM, least=2 * blocks)
    if returns.shape[1] < 2:
        raise ValueError(f"{returns.shape[1]} trial: expected at least 2 to choose from")
    parts = np.array_split(returns, blocks)
    days_B = np.array([len(part) for part in parts], dtype=np.float64)
    sums_BM = np.stack([part.sum(axis=0) for part in parts])
    squares_BM = np.stack([(part**2).sum(axis=0) for part in parts])
    halves = np.array(list(itertools.combinations(range(blocks), blocks // 2)))
    inside_SB = np.zeros((len(halves), blocks))
    np.put_along_axis(inside_SB, halves, 1.0, axis=1)
    logits = [
        _logits(
            _sharpes(chunk, days_B, sums_BM, squares_BM),
            _sharpes(1.0 - chunk, days_B, sums_BM, squares_BM),
        )
        for chunk in np.array_split(inside_SB, math.ceil(len(halves) / _SPLITS_AT_ONCE))
    ]
    return np.concatenate(logits)


def _sharpes(member_SB: Floats, days_B: Floats, sums_BM: Floats, squares_BM: Floats) -> Floats:
    """Daily Sharpe of every trial over the blocks of each split; 0 where returns do not vary."""
    days_S1 = (member_SB @ days_B)[:, None]
    mean_SM = member_SB @ sums_BM / days_S1
    variance_SM = member_SB @ squares_BM / days_S1 - mean_SM**2
    safe = variance_SM > 1e-14 * (mean_SM**2 + variance_SM)
    std_SM = np.sqrt(np.where(safe, variance_SM, 1.0))
    return np.where(safe, mean_SM / std_SM, 0.0)


def _logits(inside_SM: Floats, outside_SM: Floats) -> Floats:
    best_S1 = inside_SM.argmax(axis=1)[:, None]
    chosen_S1 = np.take_along_axis(outside_SM, best_S1, axis=1)
    below_S = (outside_SM < chosen_S1 - _TIE).sum(axis=1)
    equal_S = (np.abs(outside_SM - chosen_S1) <= _TIE).sum(axis=1)
    rank_S = below_S + (equal_S + 1) / 2
    omega_S = rank_S / (outside_SM.shape[1] + 1)
    return np.asarray(np.log(omega_S / (1.0 - omega_S)))


def _common_days(returns_DM: NDArray[np.floating], least: int) -> Floats:
    returns = np.asarray(returns_DM, dtype=np.float64)
    if returns.ndim != 2:
        raise ValueError(f"returns have shape {returns.shape}: expected days × trials")
    returns = returns[np.isfinite(returns).all(axis=1)]
    if len(returns) < least:
        raise ValueError(f"{len(returns)} days common to all trials: expected at least {least}")
    return returns
