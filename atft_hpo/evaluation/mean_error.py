"""What the mean of a daily series is worth: error, interval and t-statistic, in one way for all.

    found = mean_error(difference_D, overlap_days=horizon_days)
    found.mean, found.standard_error, found.t, (found.low, found.high)
    t_of_mean(ic_D, horizon_days)                          # the same t alone
    t_of_means(rank_ic_RD, horizon_days)                   # of many series of the same days

Labels of h days overlap, forecasts persist, skill comes and goes; all of it makes neighbouring days
alike, and the plain error too small. `persistence` says what is assumed instead. With independent
days this is Student's t; under strong persistence a mean needs much more to be believed.

`t` is comparable to a standard normal at any length, overlap and persistence: |t| > 2 happens in
4.6 of 100 series whose true mean is 0. Measured by `python -m bench.mean_error` (docs/design.md).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit

from atft_hpo.evaluation.persistence import (
    Floats,
    cosine_transforms,
    plausible_persistence,
    tail,
)

INTERVAL: Final = 0.90
"""Coverage of `low` … `high`."""
_ROUNDING: Final = 1e-9
"""A spread below this share of the mean is rounding, not noise."""
_NEGLIGIBLE: Final = 1e-7
"""A process of less weight has no say in an interval."""
_LEAST_TAIL: Final = 1e-300
_ROWS_AT_ONCE: Final = 256
_NEWTON_STEPS: Final = 30


@dataclass(frozen=True)
class MeanError:
    """The mean of a daily series and how far it is to be believed."""

    mean: float
    standard_error: float
    """Of the normal distribution that has this 90 % interval."""
    t: float
    """As a standard normal: Φ⁻¹ of the probability of a smaller mean when the truth is 0. Nearer
    to 0 than mean / standard_error where the latter is uncertain; ±∞ for a constant, 0 for 0s."""
    low: float
    high: float
    """Ends of the INTERVAL."""
    days: int


def mean_error(values_D: Floats, overlap_days: int) -> MeanError | None:
    """Mean, error, t and interval of a series without NaN; None with fewer than 2 days.

    Args:
        values_D: one value a day, in order; days without one left out.
        overlap_days: days that a value's label spans, its horizon; 1 where days do not overlap.
    """
    if len(values_D) < 2:
        return None
    mean, t = mean_and_t(values_D, overlap_days)
    if math.isinf(t) or mean == 0.0 == np.ptp(values_D):
        return MeanError(mean, 0.0, t, mean, mean, len(values_D))
    half = _half_width(values_D, overlap_days)
    error = half / float(ndtri(0.5 + INTERVAL / 2.0))
    return MeanError(mean, error, t, mean - half, mean + half, len(values_D))


def mean_and_t(values_D: Floats, overlap_days: int) -> tuple[float, float]:
    """Mean and t of at least 2 values without NaN; t is ±∞ for a constant, 0 when it is 0."""
    mean, t = float(values_D.mean()), t_of_mean(values_D, overlap_days)
    certain = math.copysign(math.inf, mean) if mean else 0.0
    return mean, certain if math.isnan(t) else t


def t_of_mean(values_D: Floats, overlap_days: int) -> float:
    """t of the mean of a series without NaN; NaN with fewer than 2 days or no variance."""
    return float(t_of_means(np.asarray(values_D)[None], overlap_days)[0])


def t_of_means(values_RD: Floats, overlap_days: int, *, lasting: bool = True) -> Floats:
    """[R] t-statistics of the means of R series of the same days, without NaN.

    `lasting = False` is for the hypothesis that a forecast knows nothing of *any* day, rather than
    nothing on average: then days share no more than the days of their labels.
    """
    values_RD = np.asarray(values_RD, dtype=np.float64)
    if values_RD.shape[1] < 2:
        return np.full(len(values_RD), np.nan)
    parts = np.array_split(values_RD, max(1, math.ceil(len(values_RD) / _ROWS_AT_ONCE)))
    return np.concatenate([_t_of_some(part_RD, overlap_days, lasting) for part_RD in parts])


def _t_of_some(values_RD: Floats, overlap_days: int, lasting: bool) -> Floats:
    root_R, cosines_RQ = cosine_transforms(values_RD)
    varies_R = np.ptp(values_RD, axis=1) > _ROUNDING * np.abs(values_RD).max(axis=1)
    cosines_RQ = np.where(varies_R[:, None], cosines_RQ, 1.0)
    plausible = plausible_persistence(values_RD.shape[1], overlap_days, lasting=lasting)
    weight_RP, scale_RP = plausible.weights_and_scales(cosines_RQ)
    beyond_R1 = tail(np.abs(root_R)[:, None], weight_RP, scale_RP, cosines_RQ.shape[1])
    t_R = -np.sign(root_R) * ndtri(np.maximum(beyond_R1[:, 0], _LEAST_TAIL))
    return np.where(varies_R, t_R, np.nan)


def _half_width(values_D: Floats, overlap_days: int) -> float:
    """Half the INTERVAL of the mean: where the tail holds its share, by Newton's method.

    The tail is convex beyond 0, so from a bound that is too near no step goes too far.
    """
    _, cosines_1Q = cosine_transforms(values_D[None])
    degrees = cosines_1Q.shape[1]
    plausible = plausible_persistence(len(values_D), overlap_days)
    weight_1P, scale_1P = plausible.weights_and_scales(cosines_1Q)
    likely_P = weight_1P[0] > _NEGLIGIBLE
    weight_1P, scale_1P = weight_1P[:, likely_P], scale_1P[:, likely_P]
    wanted = (1.0 - INTERVAL) / 2.0
    bound = -float(stdtrit(degrees, wanted)) * float(scale_1P.min())
    for _ in range(_NEWTON_STEPS):
        excess = float(tail(np.array([[bound]]), weight_1P, scale_1P, degrees)[0, 0]) - wanted
        step = excess / float(_density(bound, degrees, scale_1P[0]) @ weight_1P[0])
        bound += step
        if step < _ROUNDING * bound:
            break
    return bound / math.sqrt(len(values_D))


def _density(bound: float, degrees: int, scale_P: Floats) -> Floats:
    """[P] of Student's t, at `bound`."""
    log_peak = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    log_peak -= 0.5 * math.log(degrees * math.pi)
    log_P = -(degrees + 1) / 2 * np.log1p((bound / scale_P) ** 2 / degrees)
    return np.asarray(np.exp(log_peak + log_P) / scale_P)
