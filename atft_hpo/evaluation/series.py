"""Daily series of a forecast: correlations across stocks, and their summaries over days.

ic_D = daily_correlation(score_DN, return_DN, mask_DN)
summary = correlation_summary("ic", ic_D[np.isfinite(ic_D)], overlap_days=5)  # ic, …, ic_t
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.array_statistics.ranks import average_ranks
from atft_hpo.evaluation.mean_error import t_of_mean

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIN_STOCKS: Final = 20
"""Days with fewer stocks are not scored."""


@dataclass(frozen=True)
class DailySeries:
    """Per-day validation series of the objective's horizon; NaN on skipped days."""

    dates: NDArray[np.datetime64]
    """[D] trading days of the validation range: the days of the decisions."""
    ic: NDArray[np.float32]
    """[D] Pearson correlation across stocks."""
    rank_ic: NDArray[np.float32]
    """[D] Spearman correlation across stocks."""
    return_gross: NDArray[np.float32]
    """[D] portfolio return before cost."""
    return_net: NDArray[np.float32]
    """[D] portfolio return after cost."""
    turnover: NDArray[np.float32]
    """[D] Σ|w_d − w_{d−1}|."""
    pure_rank_ic: NDArray[np.float32]
    """[D] Spearman correlation of what sectors and styles leave of forecast and label."""
    realised: NDArray[np.datetime64]
    """[D] when the day's portfolio return was realised, δ + 1 trading days later; NaT after the
    panel's end. What is joined with a benchmark, or drawn as equity, stands on these dates."""


@dataclass(frozen=True, eq=False)
class Centred:
    """Values less their day's mean over some cells: what correlations there are made of."""

    values_DN: Floats
    """0 elsewhere."""
    square_D: Floats
    """Sum of their squares."""

    @classmethod
    def of(cls, values_DN: NDArray[np.floating], mask_DN: Bools) -> "Centred":
        """Of the masked stocks of each day."""
        count_D1 = np.maximum(mask_DN.sum(axis=1, keepdims=True), 1)
        exact_DN = np.where(mask_DN, values_DN, 0.0).astype(np.float64, copy=False)
        exact_DN -= exact_DN.sum(axis=1, keepdims=True) / count_D1
        exact_DN *= mask_DN
        return cls(exact_DN, (exact_DN**2).sum(axis=1))

    def correlation(self, other: "Centred") -> Floats:
        """[D] with values of the same cells; NaN where one is constant."""
        product_D = (self.values_DN * other.values_DN).sum(axis=1)
        return _ratio(product_D, np.sqrt(self.square_D * other.square_D))


@dataclass(frozen=True, eq=False)
class Ranked:
    """Ranks of each day's stocks among themselves, ties averaged.

    They are halves of integers, so that sums of their products are exact in float64, and
    correlations come from these without the mean being taken from each rank. Ties leave the mean
    as it is.
    """

    values_DN: Floats
    """0 for stocks without a rank."""
    count_D: NDArray[np.int64]
    """Stocks with one."""
    square_D: Floats
    """Sum of squares of the ranks less their mean; 0 where all are tied."""

    @classmethod
    def of(cls, rank_DN: NDArray[np.float32], count_D: NDArray[np.int64]) -> "Ranked":
        """From ranks such as those of `masked_ranks`, `count_D` a day, the rest NaN."""
        values_DN = np.fmax(rank_DN, 0.0, dtype=np.float64)
        return cls(values_DN, count_D, np.vecdot(values_DN, values_DN) - _from_the_mean(count_D))

    @property
    def mean(self) -> Floats:
        """[D] of the ranks."""
        return np.asarray((self.count_D + 1) / 2)

    def correlation(self, other: "Ranked") -> Floats:
        """[D] with ranks of the same cells; NaN where one is constant."""
        product_D = np.vecdot(self.values_DN, other.values_DN) - _from_the_mean(self.count_D)
        return _ratio(product_D, np.sqrt(self.square_D * other.square_D))


def _from_the_mean(count_D: NDArray[np.int64]) -> Floats:
    """What their mean alone adds to the sum of squares of the ranks 1 … count."""
    return np.asarray(count_D * ((count_D + 1) / 2) ** 2)


def _ratio(product_D: Floats, norm_D: Floats) -> Floats:
    return np.where(norm_D > 0, product_D / np.where(norm_D > 0, norm_D, 1.0), np.nan)


def daily_correlation(
    a_DN: NDArray[np.floating], b_DN: NDArray[np.floating], mask_DN: Bools
) -> Floats:
    """[D] Pearson correlation across the masked stocks of each day; NaN where one is constant."""
    return Centred.of(a_DN, mask_DN).correlation(Centred.of(b_DN, mask_DN))


def masked_ranks(values_DN: NDArray[np.floating], mask_DN: Bools) -> NDArray[np.float32]:
    """[D, N] ranks of each day's masked stocks among themselves, ties averaged; NaN elsewhere."""
    return np.asarray(average_ranks(np.where(mask_DN, values_DN, np.nan)), dtype=np.float32)


def mean_and_std(values: Floats) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN where there are too few values."""
    mean = float(values.mean()) if len(values) else math.nan
    return mean, float(values.std(ddof=1)) if len(values) > 1 else math.nan


def correlation_summary(name: str, values: Floats, overlap_days: int) -> dict[str, float]:
    """`name` and its `_std`, ratio (`icir` for `ic`) and `_t` over the days of `values`.

    `overlap_days`: the label's horizon, see `mean_error`.
    """
    mean, std = mean_and_std(values)
    return {
        name: mean,
        f"{name}_std": std,
        f"{name}ir": mean / std if std > 0 else math.nan,
        f"{name}_t": t_of_mean(values, overlap_days),
    }
