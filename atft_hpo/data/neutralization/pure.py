"""What is left of a cross-section when sectors and styles are taken out, day by day.

    residual_DN = residualise(score_DN, used_DN, sector_DN, styles_DNK)
    label_DN = pure_label(return_DN, alive_DN, sector_DN, styles_DNK)

The residual of a day is that of least squares on one dummy per sector and K style ranks, over the
day's used stocks. **Order matters** for labels: rank-gauss first, then residualise. Raw returns of
volatile stocks are large, so that a regression of raw returns leaves their ranks exposed to
volatility, and a forecast of volatility then scores by artefact.

By Frisch–Waugh–Lovell (Lovell 1963) regression on dummies and styles is demeaning within sectors,
then regression on the demeaned styles: K×K normal equations a day, solved for all days at once
through their eigenvectors, so that collinear styles only count once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.array_statistics.ranks import normal_scores
from atft_hpo.errors import DataError

MIN_FREEDOM = 20
"""Stocks a day must have beyond its regressors: with fewer, residuals are mostly the fit's."""
_COLLINEAR = 1e-11
"""Share of the largest eigenvalue below which a combination of styles is taken as no regressor."""
_ROUNDING = 32.0
"""Residuals within so many units of rounding of the values are none."""
_LEAST_UNIT = 1e-14
"""What sums over a few thousand stocks in float64 round to."""
_DAYS_AT_ONCE = 32
"""Few enough for the processor's cache."""
_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sectors:
    """Stocks by the sector that each is in on each day."""

    count: int
    """J, of any day."""
    cell_DN: NDArray[np.int64]
    """Day · J + sector of each stock."""

    @classmethod
    def of(cls, sector_DN: NDArray[np.integer]) -> "Sectors":
        """From a sector ≥ 0 for each stock and day."""
        count = int(sector_DN.max(initial=0)) + 1
        return cls(count, np.arange(len(sector_DN))[:, None] * count + sector_DN)

    def sums(self, values_DN: _Floats) -> _Floats:
        """[D, J] of each day and sector."""
        cells = len(values_DN) * self.count
        sums = np.bincount(self.cell_DN.ravel(), values_DN.ravel(), minlength=cells)
        return sums.astype(np.float64, copy=False).reshape(len(values_DN), self.count)

    def within(self, values_DN: _Floats, used_DN: NDArray[np.bool_], count_DJ: _Floats) -> _Floats:
        """Values less the mean of their sector's used stocks, of which there are `count_DJ`.

        Values must be 0 where not used; the result is.
        """
        mean_DJ = self.sums(values_DN) / np.maximum(count_DJ, 1.0)
        return np.where(used_DN, values_DN - mean_DJ.take(self.cell_DN), 0.0)


@dataclass(frozen=True, eq=False)
class Regression:
    """Least squares on sectors and styles, prepared for one set of cells and any values in them.

    Sums are NumPy's own, not BLAS's, whose threads would get in the way of those that work on
    other days at the same time.
    """

    used_DN: NDArray[np.bool_]
    scored_D: NDArray[np.bool_]
    """Days with stocks enough."""
    sectors: Sectors
    count_DJ: _Floats
    """Used stocks of each sector."""
    basis_DKN: _Floats
    """Orthonormal rows that span the styles within sectors; those beyond their rank are 0."""

    @classmethod
    def of(
        cls,
        used_DN: NDArray[np.bool_],
        sector_DN: NDArray[np.integer],
        styles_DNK: NDArray[np.float32],
        min_freedom: int = MIN_FREEDOM,
    ) -> "Regression":
        """For the cells `used_DN`; the other arguments are those of `residualise`."""
        sectors = Sectors.of(sector_DN)
        count_DJ = sectors.sums(used_DN.astype(np.float64))
        basis_DKN, rank_D = _basis(styles_DNK, used_DN, sectors, count_DJ)
        freedom_D = used_DN.sum(axis=1) - (count_DJ > 0).sum(axis=1) - rank_D
        return cls(used_DN, freedom_D >= min_freedom, sectors, count_DJ, basis_DKN)

    def residual(self, values_DN: NDArray[np.floating]) -> _Floats:
        """[D, N] as `residualise`."""
        exact_DN = np.where(self.used_DN, values_DN, 0.0).astype(np.float64)
        residual_DN = self.sectors.within(exact_DN, self.used_DN, self.count_DJ)
        # Twice is enough: the second pass removes what rounding left of the first.
        for _ in range(2):
            loading_DK = np.einsum("dkn,dn->dk", self.basis_DKN, residual_DN)
            residual_DN -= np.einsum("dkn,dk->dn", self.basis_DKN, loading_DK)
        unit = _ROUNDING * max(float(np.finfo(values_DN.dtype).eps), _LEAST_UNIT)
        largest_D1 = np.abs(exact_DN).max(axis=1, keepdims=True)
        residual_DN[np.abs(residual_DN) <= unit * largest_D1] = 0.0
        residual_DN[~(self.used_DN & self.scored_D[:, None])] = np.nan
        return residual_DN


def residualise(
    values_DN: NDArray[np.floating],
    used_DN: NDArray[np.bool_],
    sector_DN: NDArray[np.integer],
    styles_DNK: NDArray[np.float32],
    min_freedom: int = MIN_FREEDOM,
) -> _Floats:
    """[D, N] residuals of each day on sector dummies and styles; NaN where not used.

    A day whose used stocks number less than `min_freedom` more than its independent regressors is
    NaN throughout. A residual of no more than rounding is exactly 0: of a stock alone in its
    sector, and throughout a day whose values are a combination of styles, where nothing is left
    to rank.

    Args:
        values_DN: finite where used; their type tells how exact they are.
        used_DN: cells that take part.
        sector_DN: sector of each stock on each day, integers ≥ 0.
        styles_DNK: exposures, such as `styles.style_ranks`; finite.
    """
    out_DN = np.empty(values_DN.shape)
    for first in range(0, len(values_DN), _DAYS_AT_ONCE):
        part = slice(first, first + _DAYS_AT_ONCE)
        regression = Regression.of(used_DN[part], sector_DN[part], styles_DNK[part], min_freedom)
        out_DN[part] = regression.residual(values_DN[part])
    return out_DN


def pure_label(
    returns_DN: NDArray[np.floating],
    alive_DN: NDArray[np.bool_],
    sector_DN: NDArray[np.integer],
    styles_DNK: NDArray[np.float32],
    min_freedom: int = MIN_FREEDOM,
) -> _Floats:
    """[D, N] normal scores of each day's returns, residualised; NaN where dead or missing."""
    used_DN = alive_DN & np.isfinite(returns_DN)
    scores_DN = normal_scores(np.where(used_DN, returns_DN, np.float32(np.nan)))
    return residualise(scores_DN, used_DN, sector_DN, styles_DNK, min_freedom)


def pure_labels(
    returns_DNQ: NDArray[np.float32],
    alive_DN: NDArray[np.bool_],
    sector_DN: NDArray[np.integer],
    styles_DNK: NDArray[np.float32],
) -> NDArray[np.float32]:
    """[D, N, Q] `pure_label` of every horizon.

    Raises:
        DataError: most days of a horizon have too few stocks.
    """
    out_DNQ = np.empty_like(returns_DNQ)
    for q in range(returns_DNQ.shape[-1]):
        out_DNQ[..., q] = pure_label(returns_DNQ[..., q], alive_DN, sector_DN, styles_DNK)
    _check_days(out_DNQ, returns_DNQ, alive_DN, styles_DNK.shape[2])
    return out_DNQ


def _check_days(
    pure_DNQ: NDArray[np.float32],
    returns_DNQ: NDArray[np.float32],
    alive_DN: NDArray[np.bool_],
    styles: int,
) -> None:
    raw_Q = (np.isfinite(returns_DNQ) & alive_DN[..., None]).any(axis=1).sum(axis=0)
    pure_Q = np.isfinite(pure_DNQ).any(axis=1).sum(axis=0)
    if (2 * pure_Q < raw_Q).any():
        q = int(np.argmax(2 * pure_Q < raw_Q))
        raise DataError(
            f"only {pure_Q[q]} of {raw_Q[q]} days have {MIN_FREEDOM} stocks more than sectors and "
            f"styles (at most {alive_DN.sum(axis=1).max()} stocks, {styles} styles), which pure "
            'labels need; set loss.label = "rank"'
        )


def _basis(
    styles_DNK: NDArray[np.float32],
    used_DN: NDArray[np.bool_],
    sectors: Sectors,
    count_DJ: _Floats,
) -> tuple[_Floats, NDArray[np.int64]]:
    """`Regression.basis_DKN` and the number of its rows that are not 0."""
    days, stocks, styles = styles_DNK.shape
    exact_DKN = np.empty((days, styles, stocks))
    for k in range(styles):
        style_DN = np.where(used_DN, styles_DNK[..., k], 0.0).astype(np.float64)
        exact_DKN[:, k] = sectors.within(style_DN, used_DN, count_DJ)
    gram_DKK = exact_DKN @ exact_DKN.swapaxes(1, 2)
    size_DK, vector_DKK = np.linalg.eigh(gram_DKK)
    stocks_D1 = used_DN.sum(axis=1)[:, None]
    real_DK = size_DK > _COLLINEAR * np.maximum(size_DK[:, -1:], stocks_D1)
    scale_DK = np.where(real_DK, 1.0 / np.sqrt(np.where(real_DK, size_DK, 1.0)), 0.0)
    return (vector_DKK * scale_DK[:, None, :]).swapaxes(1, 2) @ exact_DKN, real_DK.sum(axis=1)
