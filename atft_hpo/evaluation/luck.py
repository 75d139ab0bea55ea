"""How much of a best trial is luck: of means and of Sharpe ratios, and overfitting.

    trials = effective_trials(series_DM)
    luck_probability(t, trials)                       # P(luck alone shows such a t at the best)
    expected_maximum(trials, standard_error**2)       # what luck alone gives the best
    deflated_sharpe(moments_of(best_D), trials, standard_error**2)
    pbo_cscv(series_DM)                               # share of splits: best is below the median

The best of many trials is compared with the best of as many that have no skill. Their spread is the
sampling error of *one* trial of no skill, not what the trials found scatter by: that holds their
differences in cost and in skill, too, and trials that ended in another phase have other losses.

Every Sharpe ratio here is *per day*, mean/std, not annualised; `annual / sqrt(252)` converts.
`series_DM` holds the daily values of M trials. None of these numbers is the probability that a
trial is good: that would need to know beforehand how often trials are.

Sources: Bailey & López de Prado, "The Sharpe Ratio Efficient Frontier" (2012) and "The Deflated
Sharpe Ratio" (2014); Bailey, Borwein, López de Prado & Zhu, "The Probability of Backtest
Overfitting" (2015).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri

from atft_hpo.evaluation.mean_error import mean_error

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
    """Standard error of a daily Sharpe ratio of independent days (Mertens; 2012 paper)."""
    sr = moments.sharpe
    spread = 1.0 - moments.skew * sr + (moments.kurtosis - 1.0) / 4.0 * sr**2
    return math.sqrt(spread / (moments.days - 1))


def probabilistic_sharpe(moments: Moments, benchmark: float = 0.0) -> float:
    """P(an estimate below this one | the true daily Sharpe is `benchmark`) (2012 paper)."""
    return float(ndtr((moments.sharpe - benchmark) / sharpe_standard_error(moments)))


def serial_sharpe_error(returns_D: Floats) -> float:
    """Standard error of a daily Sharpe ratio whose days may depend on each other.

    Mean error of what each day adds to mean / std (the delta method: Lo 2002, "The Statistics of
    Sharpe Ratios"); Mertens' formula when days are independent. Returns without NaN that vary.
    """
    std = float(returns_D.std())
    scaled_D = (returns_D - returns_D.mean()) / std
    sharpe = float(returns_D.mean()) / std
    added = mean_error(scaled_D - sharpe / 2.0 * (scaled_D**2 - 1.0), overlap_days=1)
    return added.standard_error if added else math.nan


def expected_maximum(trials: float, variance: float) -> float:
    """The largest to expect of `trials` normal estimates whose truth is 0; of Sharpe ratios: SR₀.

    Args:
        trials: N, pruned ones included, or the effective number; at least 1.
        variance: of one estimate whose truth is 0, such as its squared standard error.

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
    """P(an estimate below this one | the true Sharpe is what luck gives the best of `trials`)."""
    return probabilistic_sharpe(moments, expected_maximum(trials, variance))


def luck_probability(t: float, trials: float) -> float:
    """P(the largest of `trials` independent t-statistics exceeds `t` | no trial has skill).

    1 − Φ(t)^N (Šidák 1967). A large value says that luck alone does as well; a small one does not
    say how probable skill is.
    """
    return float(-np.expm1(trials * log_ndtr(t)))


def effective_trials(series_DM: NDArray[np.floating], count: int | None = None) -> float:
    """Number of independent trials that correlated ones amount to: ρ̄ + (1 − ρ̄)·M.

    ρ̄ is the mean pairwise correlation of the M series, taken as 0 when negative (2014 paper,
    appendix). Days on which any trial has no value are left out. `count` stands for M where there
    were trials without a series to compare.

    Raises:
        ValueError: fewer than 3 common days, or a trial whose values do not vary.
    """
    series = _common_days(series_DM, least=3)
    known = int(series.shape[1])
    count = known if count is None else count
    if known == 1:
        return float(count)
    if np.any(np.ptp(series, axis=0) == 0.0):
        raise ValueError("a trial's daily values do not vary; leave it out")
    matrix = np.corrcoef(series, rowvar=False)
    mean = max(0.0, (float(matrix.sum()) - known) / (known * (known - 1)))
    return mean + (1.0 - mean) * count


def pbo_cscv(series_DM: NDArray[np.floating], blocks: int = 16, *, ratio: bool = True) -> float:
    """Probability of backtest overfitting: how often the best in sample is below the median out.

    About .5 for noise (a single matrix scatters by ±.19), near 0 when one trial is truly better.
    With an odd number of trials the middle rank counts as overfit, as in the paper.

    Args:
        series_DM: daily values of M trials: net returns, or correlations.
        blocks: that the days are cut into.
        ratio: the best is that by mean / std, as for Sharpe; else by the mean, as for IC.

    Raises:
        ValueError: see `pbo_logits`.
    """
    return float(np.mean(pbo_logits(series_DM, blocks, ratio=ratio) <= 0.0))


def pbo_logits(series_DM: NDArray[np.floating], blocks: int = 16, *, ratio: bool = True) -> Floats:
    """λ of each of the C(blocks, blocks/2) splits of combinatorially symmetric cross-validation.

    Days are cut into contiguous blocks of (nearly) equal size; half of them are in sample. ω = rank
    out of sample of the best in sample / (M + 1), ties averaged, λ = ln(ω / (1 − ω)).

    Raises:
        ValueError: fewer than 2 trials, an odd number of blocks, or fewer than 2 common days a
            block.
    """
    if blocks < 2 or blocks % 2:
        raise ValueError(f"blocks = {blocks}: expected an even number, at least 2")
    returns = _common_days(series_DM, least=2 * blocks)
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
            _performance(chunk, days_B, sums_BM, squares_BM, ratio),
            _performance(1.0 - chunk, days_B, sums_BM, squares_BM, ratio),
        )
        for chunk in np.array_split(inside_SB, math.ceil(len(halves) / _SPLITS_AT_ONCE))
    ]
    return np.concatenate(logits)


def _performance(
    member_SB: Floats, days_B: Floats, sums_BM: Floats, squares_BM: Floats, ratio: bool
) -> Floats:
    """Mean or mean / std of every trial over the blocks of each split; 0 where nothing varies."""
    days_S1 = (member_SB @ days_B)[:, None]
    mean_SM = member_SB @ sums_BM / days_S1
    if not ratio:
        return np.asarray(mean_SM)
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
