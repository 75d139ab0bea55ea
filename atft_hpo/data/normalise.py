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
    ascending_FN, count_F1 = _ascending(x_FN)
    median_F1 = _middle(ascending_FN, count_F1)
    deviation_F1 = _median_deviation(ascending_FN, count_F1, median_F1)
    return _finish(_scaled(x_FN - median_F1, deviation_F1, centred=True), clip)


def scale_only(x_FN: Floats, clip: float) -> Floats:
    """x / (1.4826 · median |x|), or / root mean square where that is 0; winsorised.

    Not centred: the level, and with it the course of the feature in time, survives.
    """
    same_F1 = np.fmax.reduce(x_FN, -1, keepdims=True) == np.fmin.reduce(x_FN, -1, keepdims=True)
    size_F1 = _middle(*_ascending(np.abs(x_FN)))
    scaled_FN = _scaled(x_FN, size_F1, centred=False)
    return _finish(np.where(same_F1, np.float32(0.0), scaled_FN), clip)


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

    def __call__(self, x_FN: Floats) -> Floats:
        """Normalised values float32 [F, n] of one day's live stocks [F, n]."""
        out_FN = np.empty_like(x_FN, dtype=np.float32)
        for kind, rows in self._rows.items():
            out_FN[rows] = NORMALISERS[kind](x_FN[rows], self._clip)
        return out_FN


def _ascending(x_FN: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Each row sorted, NaN last, and how many values are present [F, 1]."""
    count_F1 = x_FN.shape[-1] - np.isnan(x_FN).sum(axis=-1, keepdims=True)
    return np.sort(x_FN, axis=-1), count_F1


def _middle(ascending_FN: Floats, count_F1: NDArray[np.int64]) -> Floats:
    """Median of the present values of each row, [F, 1]; NaN for a row without any."""
    low, high = (_at(ascending_FN, place_F1) for place_F1 in _middle_places(count_F1))
    return np.where(count_F1 % 2 == 1, low, low / 2 + high / 2)


def _median_deviation(
    ascending_FN: Floats, count_F1: NDArray[np.int64], median_F1: Floats
) -> Floats:
    """Median of |x − median| of each row, [F, 1], without sorting again.

    The k + 1 values nearest to the median are neighbours; a bisection finds where they begin.
    """
    found = []
    for k_F1 in _middle_places(count_F1):
        low_F1, high_F1 = np.zeros_like(k_F1), np.maximum(count_F1 - 1 - k_F1, 0)
        while (low_F1 < high_F1).any():
            begin_F1 = (low_F1 + high_F1) // 2
            left_F1 = median_F1 - _at(ascending_FN, begin_F1)
            right_F1 = _at(ascending_FN, begin_F1 + k_F1 + 1) - median_F1
            later_F1 = (left_F1 > right_F1) & (low_F1 < high_F1)
            low_F1 = np.where(later_F1, begin_F1 + 1, low_F1)
            high_F1 = np.where(later_F1, high_F1, np.minimum(begin_F1, high_F1))
        left_F1 = median_F1 - _at(ascending_FN, low_F1)
        found.append(np.maximum(left_F1, _at(ascending_FN, low_F1 + k_F1) - median_F1))
    low, high = found
    return np.where(count_F1 % 2 == 1, low, low / 2 + high / 2)


def _middle_places(count_F1: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the one or two values in the middle; 0 for a row without any."""
    return np.maximum(count_F1 - 1, 0) // 2, np.minimum(count_F1 // 2, np.maximum(count_F1 - 1, 0))


def _at(x_FN: Floats, place_F1: NDArray[np.int64]) -> Floats:
    return np.take_along_axis(x_FN, np.minimum(place_F1, x_FN.shape[-1] - 1), axis=-1)


def _scaled(x_FN: Floats, size_F1: Floats, centred: bool) -> Floats:
    """x over 1.4826 times the median size of its values, or over their deviation if that is 0."""
    scale_F1 = _MAD_TO_SIGMA * size_F1
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
