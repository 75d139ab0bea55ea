"""Ranks with averaged ties along the last axis, vectorised, NaN = absent.

`average_ranks` equals `scipy.stats.rankdata(nan_policy="omit")` and is some thirty times faster on
many short rows. Normal scores and uniform ranks are built on it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.floating[Any]]


def average_ranks(values: Floats) -> Floats:
    """Ranks 1 … n along the last axis, ties averaged; NaN stays NaN and takes no rank."""
    width = values.shape[-1]
    order, ascending = _sorted(values)
    first_of_tie = np.ones(values.shape, dtype=bool)
    first_of_tie[..., 1:] = ascending[..., 1:] != ascending[..., :-1]
    last_of_tie = np.ones(values.shape, dtype=bool)
    last_of_tie[..., :-1] = first_of_tie[..., 1:]
    places = np.arange(1, width + 1, dtype=np.float32)
    first = np.maximum.accumulate(np.where(first_of_tie, places, 0), axis=-1)
    backwards = np.where(last_of_tie, places, width)[..., ::-1]
    last = np.minimum.accumulate(backwards, axis=-1)[..., ::-1]
    ranks_sorted = np.where(np.isnan(ascending), np.nan, (first + last) / 2)
    ranks = np.empty(values.shape, dtype=np.float32)
    np.put_along_axis(ranks, order, ranks_sorted.astype(np.float32), axis=-1)
    return ranks


def _sorted(values: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Places in ascending order along the last axis, NaN last, and the values there.

    float32 is sorted as integers of the same order that carry their place in their lower half:
    a third of the time of argsort, which has no vector instructions.
    """
    if values.dtype != np.float32:
        order = np.argsort(values, axis=-1)
        return order, np.take_along_axis(values, order, axis=-1)
    # + 0 makes −0 equal to 0; a NaN may have a sign, which would put it first.
    bits = np.where(np.isnan(values), np.float32(np.nan), values + np.float32(0.0)).view(np.int32)
    key = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    packed = (key.astype(np.int64) << 32) | np.arange(values.shape[-1])
    packed.sort(axis=-1)
    key = (packed >> 32).astype(np.int32)
    ascending = (key ^ ((key >> 31) & np.int32(0x7FFFFFFF))).view(np.float32)
    return packed & 0xFFFFFFFF, ascending


def normal_scores(values: Floats) -> Floats:
    """Φ⁻¹((rank − ½)/n) along the last axis; all-equal values become 0, NaN stays NaN."""
    count = np.maximum(_present(values), 1)
    return np.asarray(ndtri((average_ranks(values) - 0.5) / count), dtype=np.float32)


def uniform_ranks(values: Floats) -> Floats:
    """Ranks along the last axis, scaled to mean 0 and (without ties) variance exactly 1.

    A uniform on n equally spaced points has variance (n² − 1)/12; the extremes approach ±√3.
    Rows with fewer than two present values become NaN: nothing can be ranked there.
    """
    count = _present(values).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt((count**2 - 1) / 12)
        scaled = (average_ranks(values) - (count + 1) / 2) / scale
    return np.where(count < 2, np.float32(np.nan), scaled).astype(np.float32)


def _present(values: Floats) -> NDArray[np.int64]:
    return np.asarray((~np.isnan(values)).sum(axis=-1, keepdims=True))
