"""Paired daily differences: what two forecasts on the same days can be told apart by.

    found = paired_difference(ours.rank_ic, theirs.rank_ic, lag=horizon_days)
    found.mean, found.t, (found.low, found.high)

Two forecasts live through the same market, so that the noise of their *difference* is 5 to 14 times
smaller than that of either's own mean; days on which one has no value are left out.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from atft_hpo.evaluation.series import Floats, newey_west_error

INTERVAL = 0.90
"""Coverage that `low` … `high` aims at."""
_RESAMPLES = 1000
_ROUNDING = 1e-9
"""An error below this share of the mean is rounding, not noise."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean of a − b over the days that both have."""

    mean: float
    standard_error: float
    """Newey–West."""
    t: float
    """±∞ for a constant difference, 0 when it is 0."""
    low: float
    high: float
    """Ends of the INTERVAL by the stationary bootstrap."""
    days: int


def paired_difference(
    a_D: NDArray[np.floating], b_D: NDArray[np.floating], lag: int, seed: int = 0
) -> PairedDifference | None:
    """a − b day by day; None with fewer than 2 common days.

    Args:
        a_D, b_D: daily values of the same days in the same order; NaN = none.
        lag: days that neighbouring values overlap, the label's horizon: lag of the Newey–West
            error, and a lower bound of the bootstrap's mean block length.
        seed: of the bootstrap.

    Raises:
        ValueError: the series differ in length.
    """
    if len(a_D) != len(b_D):
        raise ValueError(f"series of {len(a_D)} and {len(b_D)} days: expected the same days")
    difference_D = np.asarray(a_D, np.float64) - np.asarray(b_D, np.float64)
    difference_D = difference_D[np.isfinite(difference_D)]
    if len(difference_D) < 2:
        return None
    mean, t = paired_t(difference_D, lag)
    low, high = _bootstrap_interval(difference_D, lag, seed)
    error = newey_west_error(difference_D, lag)
    return PairedDifference(mean, error, t, low, high, len(difference_D))


def paired_t(difference_D: Floats, lag: int) -> tuple[float, float]:
    """Mean of daily differences and its t-statistic, Newey–West with Bartlett weights.

    Labels of h days overlap, and positions persist, so that differences of neighbouring days are
    correlated; the plain error would be too small. A constant difference has t = ±∞ (0 if it is 0).
    """
    mean = float(difference_D.mean())
    error = newey_west_error(difference_D, lag)
    if error <= _ROUNDING * abs(mean):
        return mean, math.copysign(math.inf, mean) if mean else 0.0
    return mean, mean / error


def _bootstrap_interval(values_D: Floats, lag: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the mean, blocks of at least 2·lag days on average."""
    days = len(values_D)
    block = max(days ** (1 / 3), 2.0 * lag, 1.0)
    means = values_D[_resamples(days, block, seed)].mean(axis=1)
    tail = (1.0 - INTERVAL) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _resamples(days: int, block: float, seed: int) -> NDArray[np.int32]:
    """[resamples, days] days drawn by the stationary bootstrap (Politis & Romano 1994).

    A block begins anywhere and ends with probability 1/`block` after each day; days wrap around.
    """
    rng = np.random.default_rng(seed)
    begins_BD = rng.random((_RESAMPLES, days)) < 1.0 / block
    begins_BD[:, 0] = True
    place_D = np.arange(days)
    since_BD = np.maximum.accumulate(np.where(begins_BD, place_D, 0), axis=1)
    start_BD = np.take_along_axis(rng.integers(days, size=begins_BD.shape), since_BD, axis=1)
    return ((start_BD + place_D - since_BD) % days).astype(np.int32)
