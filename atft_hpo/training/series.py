"""Statistics of daily series: correlations across stocks, and what a mean over days is worth.

ic_D = daily_correlation(score_DN, return_DN, mask_DN)
summary = correlation_summary("ic", ic_D[np.isfinite(ic_D)], lag=5)     # ic, ic_std, icir, ic_t
"""

import math

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.ranks import average_ranks

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def daily_correlation(a_DN: Floats, b_DN: Floats, mask_DN: Bools) -> Floats:
    """[D] Pearson correlation across the masked stocks of each day; NaN where one is constant."""
    count_D1 = np.maximum(mask_DN.sum(axis=1, keepdims=True), 1)
    a_DN = np.where(mask_DN, a_DN, 0.0)
    b_DN = np.where(mask_DN, b_DN, 0.0)
    a_DN = np.where(mask_DN, a_DN - a_DN.sum(axis=1, keepdims=True) / count_D1, 0.0)
    b_DN = np.where(mask_DN, b_DN - b_DN.sum(axis=1, keepdims=True) / count_D1, 0.0)
    norm_D = np.sqrt((a_DN**2).sum(axis=1) * (b_DN**2).sum(axis=1))
    product_D = (a_DN * b_DN).sum(axis=1)
    return np.where(norm_D > 0, product_D / np.where(norm_D > 0, norm_D, 1.0), np.nan)


def masked_ranks(values_DN: NDArray[np.floating], mask_DN: Bools) -> Floats:
    """[D, N] ranks of each day's masked stocks among themselves, ties averaged; NaN elsewhere."""
    return np.asarray(average_ranks(np.where(mask_DN, values_DN, np.nan)), dtype=np.float64)


def newey_west_error(values: Floats, lag: int) -> float:
    """Standard error of the mean of a serially correlated series without NaN.

    Variance of the mean with Bartlett weights 1 − l / (lag + 1) (Newey & West 1987, eq. 5).
    """
    count = len(values)
    centred = values - values.mean()
    variance = float(centred @ centred)
    for step in range(1, min(lag, count - 1) + 1):
        variance += 2.0 * (1.0 - step / (lag + 1)) * float(centred[step:] @ centred[:-step])
    return math.sqrt(max(variance, 0.0)) / count


def newey_west_t(values: Floats, lag: int) -> float:
    """t-statistic of the mean of a serially correlated series; NaN when it has no variance."""
    error = newey_west_error(values, lag) if len(values) > 1 else 0.0
    return float(values.mean()) / error if error > 0 else math.nan


def mean_and_std(values: Floats) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN where there are too few values."""
    mean = float(values.mean()) if len(values) else math.nan
    return mean, float(values.std(ddof=1)) if len(values) > 1 else math.nan


def correlation_summary(name: str, values: Floats, lag: int) -> dict[str, float]:
    """`name` and its `_std`, ratio (`icir` for `ic`) and `_t` over the days of `values`."""
    mean, std = mean_and_std(values)
    return {
        name: mean,
        f"{name}_std": std,
        f"{name}ir": mean / std if std > 0 else math.nan,
        f"{name}_t": newey_west_t(values, lag),
    }
