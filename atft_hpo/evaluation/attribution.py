"""How much of a forecast is its own: pure RankIC, style exposures, stability from day to day.

    found = attribute(score_DN, rank, variance_D, yardstick.pure)
    found.pure_rank_ic, found.style_r2

Pure RankIC of a day is Spearman's correlation of two residuals: the normal scores of the label, and
the forecast, each less its least-squares fit on sector and style ranks (`neutralization.pure`). It
is what a forecast knows beyond premia that a table of ranks would give.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.array_statistics.ranks import average_ranks
from atft_hpo.evaluation.day_blocks import day_blocks
from atft_hpo.evaluation.series import MIN_STOCKS, Bools, Centred, Floats, Ranked
from atft_hpo.evaluation.yardsticks import PureYardstick


@dataclass(frozen=True)
class Attribution:
    """Daily results [D], NaN where there is none."""

    pure_rank_ic: Floats
    constant: Bools
    """Days whose forecast is a combination of sectors and styles: nothing of its own to score."""
    style_r2: Floats
    """Share of the forecast's variance that sectors and styles explain."""
    style_exposure_DK: Floats
    """Spearman correlation of the forecast with each style."""


def attribute(
    score_DN: NDArray[np.floating], rank: Ranked, variance_D: Floats, yardstick: PureYardstick
) -> Attribution:
    """Take sectors and styles out of a forecast.

    Args:
        score_DN: finite at the cells of `yardstick`; elsewhere it does not matter.
        rank: of the scores at these cells.
        variance_D: of the scores at these cells.
    """
    own_DN = yardstick.regression.residual(score_DN)
    count_D = np.where(yardstick.regression.scored_D, rank.count_D, 0)
    own_rank = Ranked.of(average_ranks(own_DN), count_D)
    constant_D = (count_D > 0) & (own_rank.square_D == 0.0)
    return Attribution(
        pure_rank_ic=own_rank.correlation(yardstick.rank),
        constant=constant_D,
        style_r2=_explained(own_DN, variance_D, count_D),
        style_exposure_DK=_exposure(rank, yardstick),
    )


def rank_autocorrelation(rank_DN: NDArray[np.float32]) -> Floats:
    """[D] correlation of each day's ranks with the day before's, NaN on the first.

    Over stocks that have a rank (not NaN) on both days, of which there must be MIN_STOCKS.
    """
    blocks = [rank_DN[max(days.start - 1, 0) : days.stop] for days in day_blocks(len(rank_DN))]
    return np.concatenate([[np.nan], *(_from_day_to_day(block_DN) for block_DN in blocks)])


def _from_day_to_day(rank_DN: NDArray[np.float32]) -> Floats:
    """[D − 1]. Sums are exact, as `Ranked` says."""
    ranked_DN = np.isfinite(rank_DN).astype(np.float64)
    value_DN = np.fmax(rank_DN, 0.0, dtype=np.float64)
    before, now = slice(None, -1), slice(1, None)
    count_D = np.vecdot(ranked_DN[now], ranked_DN[before])
    now_D = np.vecdot(value_DN[now], ranked_DN[before])
    before_D = np.vecdot(ranked_DN[now], value_DN[before])
    product_D = count_D * np.vecdot(value_DN[now], value_DN[before]) - now_D * before_D
    square_DN = value_DN**2
    now_square_D = count_D * np.vecdot(square_DN[now], ranked_DN[before]) - now_D**2
    before_square_D = count_D * np.vecdot(ranked_DN[now], square_DN[before]) - before_D**2
    norm_D = np.sqrt(now_square_D * before_square_D)
    known_D = (count_D >= MIN_STOCKS) & (norm_D > 0.0)
    return np.where(known_D, product_D / np.where(known_D, norm_D, 1.0), np.nan)


def _explained(own_DN: Floats, variance_D: Floats, count_D: NDArray[np.int64]) -> Floats:
    own_D = Centred.of(own_DN, np.isfinite(own_DN)).square_D / np.maximum(count_D, 1)
    known_D = (variance_D > 0.0) & (count_D > 0)
    return np.where(known_D, 1.0 - own_D / np.where(known_D, variance_D, 1.0), np.nan)


def _exposure(rank: Ranked, yardstick: PureYardstick) -> Floats:
    """Correlation of the ranks with each style's."""
    product_DK = np.einsum("dnk,dn->dk", yardstick.styles_DNK, rank.values_DN)
    product_DK -= rank.mean[:, None] * yardstick.style_sum_DK
    norm_DK = np.sqrt(rank.square_D[:, None] * yardstick.style_square_DK)
    known_DK = (norm_DK > 0.0) & (rank.count_D >= MIN_STOCKS)[:, None]
    return np.where(known_DK, product_DK / np.where(known_DK, norm_DK, 1.0), np.nan)
