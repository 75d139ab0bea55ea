"""What forecasts of a range of days are held against: labels, universe, sectors and styles.

    yardsticks = Yardsticks.of(panel, split.validation, config.portfolio)
    evaluation = evaluate_forecast(score_DNQ, yardsticks, config)

Ranks of the labels, and the regression on sectors and styles, depend on no forecast but for the
cells that it has. Each epoch of a run forecasts the same ones, so they are kept from one to the
next.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import PortfolioConfig
from atft_hpo.data.array_statistics.ranks import average_ranks, normal_scores
from atft_hpo.data.neutralization.pure import Regression
from atft_hpo.data.neutralization.styles import Exposures, exposures_of
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.trading import Trading
from atft_hpo.evaluation.series import Bools, Centred, Floats, Ranked, masked_ranks


@dataclass(frozen=True, eq=False)
class PureYardstick:
    """What pure RankIC and style exposures are measured by."""

    regression: Regression
    rank: Ranked
    """Of the day's pure label; 0 on days without one, or where it is constant."""
    styles_DNK: NDArray[np.float32]
    style_sum_DK: Floats
    """Of each style over the used stocks."""
    style_square_DK: Floats
    """Sum of the squares of each style, centred."""

    @classmethod
    def of(
        cls,
        return_DN: NDArray[np.floating],
        used_DN: Bools,
        sector_DN: NDArray[np.integer],
        styles_DNK: NDArray[np.float32],
    ) -> "PureYardstick":
        """For labels at `used_DN`, where they are finite."""
        regression = Regression.of(used_DN, sector_DN, styles_DNK)
        scores_DN = normal_scores(np.where(used_DN, return_DN, np.float32(np.nan)))
        label_DN = regression.residual(scores_DN)
        label_DN[~(np.nan_to_num(label_DN) != 0.0).any(axis=1)] = np.nan
        rank = Ranked.of(average_ranks(label_DN), np.isfinite(label_DN).sum(axis=1))
        return cls(regression, rank, styles_DNK, *_moments(styles_DNK, used_DN))


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Of the labels of one horizon at one set of cells."""

    used_DN: Bools
    count_D: NDArray[np.int64]
    """Used stocks."""
    label: Centred
    rank: Ranked
    """Of the labels."""
    pure: PureYardstick | None

    @classmethod
    def of(
        cls,
        return_DN: NDArray[np.floating],
        used_DN: Bools,
        sector_DN: NDArray[np.integer] | None = None,
        styles_DNK: NDArray[np.float32] | None = None,
    ) -> "Yardstick":
        """For labels at `used_DN`, where they are finite; without styles there is no `pure`."""
        pure = None
        if sector_DN is not None and styles_DNK is not None:
            pure = PureYardstick.of(return_DN, used_DN, sector_DN, styles_DNK)
        count_D = used_DN.sum(axis=1)
        rank = Ranked.of(masked_ranks(return_DN, used_DN), count_D)
        return cls(used_DN, count_D, Centred.of(return_DN, used_DN), rank, pure)


@dataclass(frozen=True, eq=False)
class Yardsticks:
    """Of all horizons on D days."""

    returns_DNQ: NDArray[np.floating]
    """Raw h-day returns after the delay; NaN = missing."""
    alive_DN: Bools
    dates: NDArray[np.datetime64]
    trading: Trading
    exposures: Exposures | None = None
    """Without, there are no pure and style metrics."""
    _kept: dict[tuple[int, int], Yardstick] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, panel: Panel, days: range, config: PortfolioConfig) -> "Yardsticks":
        """Of `days` of the panel."""
        span = slice(days.start, days.stop)
        return cls(
            panel.targets[span],
            np.asarray(panel.alive[span]),
            panel.dates[span],
            Trading.of(panel, days, config.delisting_return),
            exposures_of(panel, days),
        )

    def yardstick(self, q: int, days: slice, score_DN: NDArray[np.floating]) -> Yardstick:
        """Of horizon `q` on some days of the range, for the cells of the forecast `score_DN`.

        Used are live stocks with a forecast and a label.
        """
        return_DN = self.returns_DNQ[days, :, q]
        used_DN = self.alive_DN[days] & np.isfinite(score_DN) & np.isfinite(return_DN)
        kept = self._kept.get((q, days.start))
        if kept is not None and np.array_equal(kept.used_DN, used_DN):
            return kept
        given = () if self.exposures is None else self.exposures.on(days)
        found = self._kept[q, days.start] = Yardstick.of(return_DN, used_DN, *given)
        return found


def _moments(styles_DNK: NDArray[np.float32], used_DN: Bools) -> tuple[Floats, Floats]:
    """[D, K] sums of the styles at `used_DN`, and of their squares, centred."""
    count_D1 = np.maximum(used_DN.sum(axis=1, keepdims=True), 1)
    style_DNK = np.where(used_DN[..., None], styles_DNK, np.float32(0.0))
    square_DK = np.einsum("dnk,dnk->dk", style_DNK, style_DNK, dtype=np.float64)
    sum_DK = style_DNK.sum(axis=1, dtype=np.float64)
    return sum_DK, np.maximum(square_DK - sum_DK**2 / count_D1, 0.0)
