"""How much of a forecast is its own: pure RankIC, style exposures, stability from day to day.

    rank_DN = masked_ranks(score_DN, used_DN)
    found = attribute(score_DN, return_DN, used_DN, rank_DN, exposures)
    found.pure_rank_ic, found.style_r2

Pure RankIC of a day is Spearman's correlation of two residuals: the normal scores of the label, and
the forecast, each less its least-squares fit on sector and style ranks (`data.pure`). It is what a
forecast knows beyond premia that a table of ranks would give.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.styles import Exposures
from atft_hpo.training.portfolio import MIN_STOCKS, constant_days
from atft_hpo.training.series import Bools, Floats, daily_correlation, masked_ranks


@dataclass(frozen=True)
class Attribution:
    """Daily results [D], NaN where there is none."""

    pure_rank_ic: Floats
    constant: Bools
    """Days whose forecast is a combination of sectors and styles: nothing of its own to score."""
    style_r2: Floats
    """Share of the forecast's variance that sectors and styles explain."""
    style_exposure: dict[str, Floats]
    """Spearman correlation of the forecast with each style."""


def attribute(
    score_DN: NDArray[np.floating],
    return_DN: NDArray[np.floating],
    used_DN: Bools,
    rank_DN: Floats,
    exposures: Exposures,
) -> Attribution:
    """Take sectors and styles out of a forecast and its label.

    Args:
        used_DN: live stocks with a score and a label.
        rank_DN: `masked_ranks` of the scores at `used_DN`.
    """
    yardstick = exposures.yardstick(return_DN, used_DN)
    own_DN = yardstick.regression.residual(score_DN)
    left_DN = np.isfinite(own_DN)
    constant_D = left_DN.any(axis=1) & constant_days(own_DN, left_DN)
    scored_DN = left_DN & np.isfinite(yardstick.label_rank_DN) & ~constant_D[:, None]
    label_DN = yardstick.label_rank_DN.astype(np.float64)
    return Attribution(
        pure_rank_ic=daily_correlation(masked_ranks(own_DN, scored_DN), label_DN, scored_DN),
        constant=constant_D,
        style_r2=_explained(score_DN, own_DN, left_DN),
        style_exposure=_exposure(rank_DN, used_DN, exposures),
    )


def rank_autocorrelation(rank_DN: Floats) -> Floats:
    """[D] correlation of each day's ranks with the day before's, NaN on the first.

    Over stocks that have a rank (not NaN) on both days, of which there must be MIN_STOCKS.
    """
    both_DN = np.isfinite(rank_DN[1:]) & np.isfinite(rank_DN[:-1])
    found_D = daily_correlation(rank_DN[1:], rank_DN[:-1], both_DN)
    found_D[both_DN.sum(axis=1) < MIN_STOCKS] = np.nan
    return np.concatenate([[np.nan], found_D])


def score_variance(score_DN: NDArray[np.floating], used_DN: Bools) -> Floats:
    """[D] variance of the scores across the day's used stocks; NaN with fewer than MIN_STOCKS."""
    found_D = _variance(score_DN, used_DN)
    return np.where(used_DN.sum(axis=1) >= MIN_STOCKS, found_D, np.nan)


def _explained(score_DN: NDArray[np.floating], own_DN: Floats, left_DN: Bools) -> Floats:
    total_D, own_D = _variance(score_DN, left_DN), _variance(own_DN, left_DN)
    return np.where(total_D > 0.0, 1.0 - own_D / np.where(total_D > 0.0, total_D, 1.0), np.nan)


def _exposure(rank_DN: Floats, used_DN: Bools, exposures: Exposures) -> dict[str, Floats]:
    """Correlation of the ranks with each style's, all styles in one product."""
    count_D1 = np.maximum(used_DN.sum(axis=1, keepdims=True), 1)
    mean_D1 = np.where(used_DN, rank_DN, 0.0).sum(axis=1, keepdims=True) / count_D1
    centred_DN = np.where(used_DN, rank_DN - mean_D1, 0.0)
    style_DNK = np.where(used_DN[..., None], exposures.styles_DNK, np.float32(0.0))
    square_DK = np.einsum("dnk,dnk->dk", style_DNK, style_DNK, dtype=np.float64)
    square_DK -= style_DNK.sum(axis=1, dtype=np.float64) ** 2 / count_D1
    product_DK = (centred_DN[:, None] @ style_DNK)[:, 0]
    norm_DK = np.sqrt((centred_DN**2).sum(axis=1, keepdims=True) * np.maximum(square_DK, 0.0))
    known_DK = (norm_DK > 0.0) & (used_DN.sum(axis=1, keepdims=True) >= MIN_STOCKS)
    found_DK = np.where(known_DK, product_DK / np.where(known_DK, norm_DK, 1.0), np.nan)
    return {name: found_DK[:, k] for k, name in enumerate(exposures.names)}


def _variance(values_DN: NDArray[np.floating], mask_DN: Bools) -> Floats:
    count_D1 = np.maximum(mask_DN.sum(axis=1, keepdims=True), 1)
    exact_DN = np.where(mask_DN, values_DN, 0.0).astype(np.float64)
    centred_DN = np.where(mask_DN, exact_DN - exact_DN.sum(axis=1, keepdims=True) / count_D1, 0.0)
    return np.asarray((centred_DN**2).sum(axis=1) / count_D1[:, 0])
