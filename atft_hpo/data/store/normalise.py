"""Normalisation of one day across its universe; never over time, never over one stock.

    normalise = Normaliser(features, config.pack)
    bits_FDS, found = normalise(columns, x_FR, block)

A row [N] is one feature on one day, NaN = missing; rows are independent, so many are done at once.
Results lie within ±clip; a feature that is the same for all members becomes 0 and a missing cell
becomes 0. Only the day's own values enter, so nothing of the future can.

Stocks that are present but not in the universe are placed where they would stand among its members,
who do not notice: by the members' centre and scale, or at the rank between those of their
neighbours.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.config.data_schema import PackConfig
from atft_hpo.data.array_statistics.ordered import Floats, Ordered
from atft_hpo.data.array_statistics.ranks import scores_among
from atft_hpo.data.ingest.row_blocks import Block
from atft_hpo.data.store.column_statistics import ColumnStatistics
from atft_hpo.data.store.panel import FeatureSpec, Normalisation

CALENDAR_FAMILY = "calendar"
"""The same for all stocks of a day: any normalisation across stocks would make it 0."""
_MAD_TO_SIGMA = np.float32(1.4826)
_CELLS_AT_ONCE = 1 << 20
"""Enough rows for a bisection over all of them to cost little."""
Stocks = NDArray[np.int64]
Scaling = tuple[Floats, Floats]
"""What is subtracted from each row, [R], and what the row is divided by then; NaN makes it 0."""


def robust_z(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Scaling:
    """(x − median) / (1.4826 · MAD), or / standard deviation where the MAD is 0."""
    median_R = ordered.medians
    size_R = ordered.median_deviation(median_R)
    return median_R, _scale_of(x_RN, median_R, size_R, stocks_R, standard_deviation)


def scale_only(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Scaling:
    """x / (1.4826 · median |x|), or / root mean square where that is 0.

    Not centred: the level, and with it the course of the feature in time, survives.
    """
    zero_R = np.zeros_like(ordered.lows)
    size_R = ordered.median_deviation(zero_R)
    scale_R = _scale_of(x_RN, zero_R, size_R, stocks_R, root_mean_square)
    scale_R[ordered.lows == ordered.highs] = np.nan
    return zero_R, scale_R


SCALED: dict[str, Callable[[Floats, Ordered, Stocks], Scaling]] = {
    "robust_z": robust_z,
    "scale_only": scale_only,
}
"""Of values [R, S], whose first `stocks_R` are members, and the members in order. The other two
kinds are `rank_gauss`, normal scores among the members, and `none`, the values as they are."""


def normalisation_of(
    family: str, return_like: Sequence[str], ranked: Sequence[str]
) -> Normalisation:
    """What a feature family gets."""
    if family in return_like:
        return "scale_only"
    if family in ranked:
        return "rank_gauss"
    return "none" if family == CALENDAR_FAMILY else "robust_z"


class Normaliser:
    """Applies to each feature what its `FeatureSpec` says, and writes in the store's type."""

    def __init__(self, features: Sequence[FeatureSpec], config: PackConfig) -> None:
        self._features = features
        self._clip = config.clip
        self._type = torch.float16 if config.dtype == "float16" else torch.bfloat16
        self._arrays = _Arrays()

    def __call__(
        self, columns: range, x_FR: Floats, block: Block
    ) -> tuple[NDArray[np.uint16], ColumnStatistics]:
        """A block of days: bits in the store's type [F, D, S], and what its columns hold.

        Args:
            columns: which features; F of them.
            x_FR: their values by place, NaN where missing and at `block.none`.
            block: the days.
        """
        member_DS = block.member_DS
        bits_FDS = np.empty((len(columns), *member_DS.shape), np.uint16)
        found = ColumnStatistics.empty(len(columns))
        for kind, alike in self._alike(columns, member_DS.size):
            x_FDS = self._arrays.get("x", (len(alike), *member_DS.shape))
            for f, x_DS in zip(alike, x_FDS, strict=True):
                np.take(x_FR[f], block.place_DS, out=x_DS, mode="clip")
                infinite_DS = np.isinf(x_DS)
                if infinite_DS.any():
                    found.add_infinite(f, block.first_day, infinite_DS & member_DS)
                    x_DS[infinite_DS] = np.nan
            with np.errstate(over="ignore", invalid="ignore"):
                scaling = self._compared(kind, alike, x_FDS, block, found)
                for i, f in enumerate(alike):
                    if scaling:
                        scale(x_FDS[i], *(some_R.reshape(len(alike), -1)[i] for some_R in scaling))
                    half = bounded(x_FDS[i], self._clip).to(self._type)
                    bits_FDS[f] = half.view(torch.uint16).numpy()
        return bits_FDS, found

    def _alike(
        self, columns: range, cells: int
    ) -> Iterator[tuple[Normalisation, NDArray[np.int64]]]:
        """Columns of one kind, as many as are worked on at once."""
        step = max(1, _CELLS_AT_ONCE // cells)
        for kind in get_args(Normalisation):
            alike = [i for i, f in enumerate(columns) if self._features[f].normalisation == kind]
            for start in range(0, len(alike), step):
                yield kind, np.array(alike[start : start + step])

    def _compared(
        self, kind: Normalisation, alike: NDArray[np.int64], x_FDS: Floats, block: Block,
        found: ColumnStatistics,
    ) -> Scaling | None:  # fmt: skip
        """What is to be done to each (feature, day) yet; what its members hold goes into `found`.

        Normal scores take the place of values that are to be ranked.
        """
        if kind == "rank_gauss":
            for i, x_DS in enumerate(x_FDS):
                scores = scores_among(x_DS, block.member_DS)
                found.add_days(alike[i : i + 1], scores.low_R, scores.high_R, scores.count_R)
                x_DS[:] = scores.score_RN
            return None
        most = int(block.members_D.max())
        ascending_FDM = self._arrays.get("ascending", (*x_FDS.shape[:2], most))
        np.copyto(ascending_FDM, x_FDS[:, :, :most])
        ascending_FDM[:, ~block.member_DS[:, :most]] = np.nan
        ordered = Ordered.of(ascending_FDM.reshape(-1, most))
        found.add_days(alike, ordered.lows, ordered.highs, ordered.counts)
        if kind == "none":
            return None
        x_RS, members_R = x_FDS.reshape(-1, x_FDS.shape[-1]), np.tile(block.members_D, len(alike))
        return SCALED[kind](x_RS, ordered, members_R)


class _Arrays(threading.local):
    """Arrays that each thread uses again: new ones would be cleared page by page every time."""

    def __init__(self) -> None:
        self._kept: dict[str, Floats] = {}

    def get(self, name: str, shape: tuple[int, ...]) -> Floats:
        """One of this shape; whatever is in it."""
        size = math.prod(shape)
        if name not in self._kept or len(self._kept[name]) < size:
            self._kept[name] = np.empty(size, np.float32)
        return self._kept[name][:size].reshape(shape)


def scale(x_RS: Floats, centre_R: Floats, scale_R: Floats) -> None:
    """(x − centre) / scale in the place of x."""
    x_RS -= centre_R[:, None]
    x_RS /= scale_R[:, None]


def bounded(x: Floats, clip: float) -> torch.Tensor:
    """Within ±clip, 0 where missing; in the place of `x`.

    Of one feature of a block at a time: torch shares out more cells than that among threads of its
    own, here for each of the threads that pack, and those wait for one another.
    """
    return torch.from_numpy(x).clamp_(-clip, clip).nan_to_num_(0.0)


def _scale_of(
    x_RN: Floats, centre_R: Floats, size_R: Floats, stocks_R: Stocks,
    deviation: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Floats:  # fmt: skip
    """1.4826 times the median size, or the deviation from the centre where that is 0; NaN for a
    row in which nothing differs."""
    scale_R = _MAD_TO_SIGMA * size_R
    flat_R = scale_R == 0
    for stocks in np.unique(stocks_R[flat_R]):
        # Without the padding: a sum's rounding depends on how many terms there are.
        rows = np.flatnonzero(flat_R & (stocks_R == stocks))
        centred_RN = x_RN[rows, :stocks] - centre_R[rows, None]
        scale_R[rows] = deviation(centred_RN.astype(np.float64))
    scale_R[~(scale_R > 0)] = np.nan
    return scale_R


def standard_deviation(x_RN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row's present values."""
    count_R1 = np.maximum((~np.isnan(x_RN)).sum(axis=-1, keepdims=True), 1)
    return root_mean_square(x_RN - np.nansum(x_RN, axis=-1, keepdims=True) / count_R1)


def root_mean_square(x_RN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row's present values."""
    count_R = np.maximum((~np.isnan(x_RN)).sum(axis=-1), 1)
    return np.asarray(np.sqrt(np.nansum(x_RN**2, axis=-1) / count_R))
