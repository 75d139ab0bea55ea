"""Normalisation of one day across its live stocks; never over time, never over one stock.

Each function takes values [F, n] of one day (NaN = missing) and returns float32 [F, n] within
±clip, where a feature that is the same for all stocks becomes 0 and a missing cell becomes 0.
Only the day's own values enter, so nothing of the future can.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.panel import FeatureSpec, Normalisation
from atft_hpo.data.ranks import Floats, normal_scores

CALENDAR_FAMILY = "calendar"
"""The same for all stocks of a day: any normalisation across stocks would make it 0."""
_MAD_TO_SIGMA = np.float32(1.4826)


def rank_gauss(x_FN: Floats, clip: float) -> Floats:
    """Normal scores of ranks with averaged ties."""
    return _finish(normal_scores(x_FN), clip)


def robust_z(x_FN: Floats, clip: float) -> Floats:
    """(x − median) / (1.4826 · MAD), or / standard deviation where the MAD is 0; winsorised."""
    return _finish(_scaled(x_FN - _median(x_FN), centred=True), clip)


def scale_only(x_FN: Floats, clip: float) -> Floats:
    """x / (1.4826 · median |x|), or / root mean square where that is 0; winsorised.

    Not centred: the level, and with it the course of the feature in time, survives.
    """
    same_F1 = np.fmax.reduce(x_FN, -1, keepdims=True) == np.fmin.reduce(x_FN, -1, keepdims=True)
    return _finish(np.where(same_F1, np.float32(0.0), _scaled(x_FN, centred=False)), clip)


def unscaled(x_FN: Floats, clip: float) -> Floats:
    """The values as they are, winsorised."""
    return _finish(x_FN, clip)


NORMALISERS: dict[Normalisation, Callable[[Floats, float], Floats]] = {
    "rank_gauss": rank_gauss,
    "robust_z": robust_z,
    "scale_only": scale_only,
    "none": unscaled,
}


def normalisation_of(
    family: str, return_like: Sequence[str], ranked: Sequence[str]
) -> Normalisation:
    """What a feature family gets."""
    if family in return_like:
        return "scale_only"
    if family in ranked:
        return "rank_gauss"
    return "none" if family == CALENDAR_FAMILY else "robust_z"


class DayNormaliser:
    """Applies to each feature what its `FeatureSpec` says."""

    def __init__(self, features: Sequence[FeatureSpec], clip: float) -> None:
        self._clip = clip
        self._rows: dict[Normalisation, NDArray[np.int64]] = {}
        for kind in NORMALISERS:
            rows = [i for i, spec in enumerate(features) if spec.normalisation == kind]
            if rows:
                self._rows[kind] = np.array(rows)

    def __call__(self, x_NF: Floats) -> Floats:
        """Normalised values float32 [n, F] of one day's live stocks [n, F]."""
        x_FN = np.ascontiguousarray(x_NF.T)
        out_FN = np.empty_like(x_FN, dtype=np.float32)
        for kind, rows in self._rows.items():
            out_FN[rows] = NORMALISERS[kind](x_FN[rows], self._clip)
        return out_FN.T


def _median(x_FN: Floats) -> Floats:
    """Median of the present values of each row, [F, 1]; NaN for a row without any."""
    ascending = np.sort(x_FN, axis=-1)  # NaN last
    count = (~np.isnan(x_FN)).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ascending, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ascending, np.minimum(count // 2, x_FN.shape[-1] - 1), axis=-1)
    return np.where(count % 2 == 1, low, low / 2 + high / 2)


def _scaled(x_FN: Floats, centred: bool) -> Floats:
    scale_F1 = _MAD_TO_SIGMA * _median(np.abs(x_FN))
    flat = scale_F1[:, 0] == 0
    if flat.any():
        scale_F1[flat] = _deviation(x_FN[flat].astype(np.float64), centred)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(scale_F1 > 0, x_FN / scale_F1, np.float32(0.0))


def _deviation(x_FN: NDArray[np.float64], centred: bool) -> NDArray[np.float64]:
    """Standard deviation (or root mean square) of each row's present values, [F, 1]."""
    count = np.maximum((~np.isnan(x_FN)).sum(axis=-1, keepdims=True), 1)
    mean = np.nansum(x_FN, axis=-1, keepdims=True) / count if centred else 0.0
    return np.asarray(np.sqrt(np.nansum((x_FN - mean) ** 2, axis=-1, keepdims=True) / count))


def _finish(x_FN: Floats, clip: float) -> Floats:
    return np.nan_to_num(np.clip(x_FN, -clip, clip), copy=False, nan=0.0).astype(np.float32)
