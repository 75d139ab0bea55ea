"""How much of a forecast is its own: pure RankIC, style exposures, stability from day to day.

    found = attribute(score_DN, return_DN, alive_DN, exposures)
    found.pure_rank_ic, found.style_r2

Pure RankIC of a day is Spearman's correlation of two residuals: the normal scores of the label, and
the forecast, each less its least-squares fit on sector and style ranks (`data.pure`). It is what a
forecast knows beyond premia that a table of ranks would give.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.pure import pure_label, residualise
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
    alive_DN: Bools,
    exposures: Exposures,
) -> Attribution:
    """Take sectors and styles out of a forecast and its label, over live stocks with both."""
    used_DN = alive_DN & np.isfinite(score_DN) & np.isfinite(return_DN)
    sector_N, styles_DNK = exposures.sector_N, exposures.styles_DNK
    own_DN = residualise(score_DN, used_DN, sector_N, styles_DNK)
    label_DN = pure_label(return_DN, used_DN, sector_N, styles_DNK)
    left_DN = np.isfinite(own_DN)
    constant_D = left_DN.any(axis=1) & constant_days(own_DN, left_DN)
    scored_D = left_DN.any(axis=1) & ~constant_D & ~constant_days(label_DN, left_DN)
    rank_ic_D = daily_correlation(
        masked_ranks(own_DN, left_DN), masked_ranks(label_DN, left_DN), left_DN
    )
    return Attribution(
        pure_rank_ic=np.where(scored_D, rank_ic_D, np.nan),
        constant=constant_D,
        style_r2=_explained(score_DN, own_DN, left_DN),
        style_exposure=_exposure(score_DN, used_DN, exposures),
    )


def score_autocorrelation(score_DN: NDArray[np.floating], alive_DN: Bools) -> Floats:
    """[D] Spearman correlation of each day's scores with the day before's, NaN on the first.

    Over stocks alive on both days, of which there must be MIN_STOCKS.
    """
    known_DN = alive_DN & np.isfinite(score_DN)
    both_DN = known_DN[1:] & known_DN[:-1]
    now_DN, before_DN = masked_ranks(score_DN[1:], both_DN), masked_ranks(score_DN[:-1], both_DN)
    found_D = daily_correlation(now_DN, before_DN, both_DN)
    found_D[both_DN.sum(axis=1) < MIN_STOCKS] = np.nan
    return np.concatenate([[np.nan], found_D])


def score_variance(score_DN: NDArray[np.floating], alive_DN: Bools) -> Floats:
    """[D] variance of the scores across the day's live stocks; NaN with fewer than MIN_STOCKS."""
    known_DN = alive_DN & np.isfinite(score_DN)
    found_D = _variance(score_DN.astype(np.float64), known_DN)
    return np.where(known_DN.sum(axis=1) >= MIN_STOCKS, found_D, np.nan)


def _explained(score_DN: NDArray[np.floating], own_DN: Floats, left_DN: Bools) -> Floats:
    total_D = _variance(score_DN.astype(np.float64), left_DN)
    own_D = _variance(own_DN, left_DN)
    return np.where(total_D > 0.0, 1.0 - own_D / np.where(total_D > 0.0, total_D, 1.0), np.nan)


def _exposure(
    score_DN: NDArray[np.floating], used_DN: Bools, exposures: Exposures
) -> dict[str, Floats]:
    used_DN = used_DN & (used_DN.sum(axis=1, keepdims=True) >= MIN_STOCKS)
    ranks_DN = masked_ranks(score_DN, used_DN)
    return {
        name: daily_correlation(ranks_DN, exposures.styles_DNK[..., k].astype(np.float64), used_DN)
        for k, name in enumerate(exposures.names)
    }


def _variance(values_DN: Floats, mask_DN: Bools) -> Floats:
    count_D1 = np.maximum(mask_DN.sum(axis=1, keepdims=True), 1)
    exact_DN = np.where(mask_DN, values_DN, 0.0)
    centred_DN = np.where(mask_DN, exact_DN - exact_DN.sum(axis=1, keepdims=True) / count_D1, 0.0)
    return np.asarray((centred_DN**2).sum(axis=1) / count_D1[:, 0])
