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

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.config.data_schema import PackConfig
from atft_hpo.data.array_statistics.ordered import Floats, Ordered, rows_in_cache
from atft_hpo.data.array_statistics.ranks import ranks_in_order, score_table, scores_among
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


def rank_gauss(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Scaling:
    """Normal scores of ranks with averaged ties take the place of the values."""
    assert ordered.places_RN is not None
    scores_RN = _scores_in_order(ordered)
    for rows in rows_in_cache(x_RN):
        some_RN = x_RN[rows]
        begins_R1 = np.arange(len(some_RN))[:, None] * some_RN.shape[1]
        some_RN.reshape(-1)[ordered.places_RN[rows] + begins_R1] = scores_RN[rows]
    return unscaled(x_RN, ordered, stocks_R)


def robust_z(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Scaling:
    """(x − median) / (1.4826 · MAD), or / standard deviation where the MAD is 0."""
    median_R = ordered.medians
    size_R = ordered.median_deviation(median_R)
    return median_R, _scale(x_RN, median_R, size_R, stocks_R, standard_deviation)


def scale_only(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Scaling:
    """x / (1.4826 · median |x|), or / root mean square where that is 0.

    Not centred: the level, and with it the course of the feature in time, survives.
    """
    zero_R = np.zeros_like(ordered.lows)
    size_R = ordered.median_deviation(zero_R)
    scale_R = _scale(x_RN, zero_R, size_R, stocks_R, root_mean_square)
    scale_R[ordered.lows == ordered.highs] = np.nan
    return zero_R, scale_R


def unscaled(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Scaling:
    """The values as they are."""
    return np.zeros_like(ordered.lows), np.ones_like(ordered.lows)


NORMALISERS: dict[Normalisation, Callable[[Floats, Ordered, Stocks], Scaling]] = {
    "rank_gauss": rank_gauss,
    "robust_z": robust_z,
    "scale_only": scale_only,
    "none": unscaled,
}
"""Of values [R, N] and the same in order. Rows are padded to N with NaN; `stocks_R` says where the
padding begins."""


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
        member_DM, others = block.member_places, Others.of(block)
        bits_FDS = np.zeros((len(columns), *block.place_DS.shape), np.uint16)
        most = member_DM.shape[1]
        found = ColumnStatistics.empty(len(columns))
        for kind, alike in self._alike(columns, member_DM.size):
            x_FDM = self._arrays.get("x", np.float32, (len(alike), *member_DM.shape))
            other_FO = self._arrays.get("other", np.float32, (len(alike), len(others.place_O)))
            for f, x_DM, other_O in zip(alike, x_FDM, other_FO, strict=True):
                np.take(x_FR[f], member_DM, out=x_DM, mode="clip")
                np.take(x_FR[f], others.place_O, out=other_O, mode="clip")
            other_FO[np.isinf(other_FO)] = np.nan
            with np.errstate(over="ignore", invalid="ignore"):
                ordered = self._ordered(kind, alike, x_FDM, block.first_day, found)
                if kind == "rank_gauss":  # before the members' scores take their values' place
                    others.score(other_FO, ordered)
                stocks_R = np.tile(block.members_D, len(alike))
                scaling = NORMALISERS[kind](x_FDM.reshape(-1, most), ordered, stocks_R)
            scaling_FD = [some_R.reshape(len(alike), -1) for some_R in scaling]
            of_day = (np.repeat(some_FD, others.count_D, axis=1) for some_FD in scaling_FD)
            other_bits_FO = self._bits(other_FO, *of_day)
            for i, f in enumerate(alike):
                of_row = (some_FD[i, :, None] for some_FD in scaling_FD)
                bits_FDS[f, :, :most] = self._bits(x_FDM[i], *of_row)
                bits_FDS[f].reshape(-1)[others.cell_O] = other_bits_FO[i]
        return bits_FDS, found

    def _bits(self, x: Floats, centre: Floats, scale: Floats) -> NDArray[np.uint16]:
        half = scaled(x, centre, scale, self._clip).to(self._type)
        return np.asarray(half.view(torch.uint16).numpy())

    def _alike(
        self, columns: range, cells: int
    ) -> Iterator[tuple[Normalisation, NDArray[np.int64]]]:
        """Columns of one kind, as many as are worked on at once."""
        step = max(1, _CELLS_AT_ONCE // cells)
        for kind in NORMALISERS:
            alike = [i for i, f in enumerate(columns) if self._features[f].normalisation == kind]
            for start in range(0, len(alike), step):
                yield kind, np.array(alike[start : start + step])

    def _ordered(
        self, kind: Normalisation, alike: NDArray[np.int64], x_FDN: Floats, first_day: int,
        found: ColumnStatistics,
    ) -> Ordered:  # fmt: skip
        """The values sorted, without infinite ones, which become NaN; both go into `found`."""
        x_RN = x_FDN.reshape(-1, x_FDN.shape[-1])
        ascending_RN = self._arrays.get("ascending", np.float32, x_RN.shape)
        ranked = kind == "rank_gauss"
        places_RN = self._arrays.get("places", np.int64, x_RN.shape) if ranked else None
        ordered = Ordered.of(x_RN, ascending_RN, places_RN)
        if np.isinf(ordered.lows).any() or np.isinf(ordered.highs).any():
            found.add_infinite(alike, first_day, np.isinf(x_FDN))
            x_RN[np.isinf(x_RN)] = np.nan
            ordered = Ordered.of(x_RN, ascending_RN, places_RN)
        found.add_days(alike, ordered)
        return ordered


@dataclass(frozen=True)
class Others:
    """The slots of a block whose stocks are present, but not in the universe: O of them."""

    count_D: NDArray[np.int64]
    cell_O: NDArray[np.int64]
    """Day · S + slot, day by day, `count_D` each."""
    place_O: NDArray[np.int64]

    @classmethod
    def of(cls, block: Block) -> "Others":
        """Of these days."""
        day_O, slot_O = block.others
        cell_O = day_O * block.place_DS.shape[1] + slot_O
        return cls(block.stocks_D - block.members_D, cell_O, block.place_DS.take(cell_O))

    def score(self, other_FO: Floats, members: Ordered) -> None:
        """Normal scores take the place of the values: of their ranks among the day's members.

        Φ⁻¹((below + ½ equal) / n), within the members' own extremes; NaN without members.
        """
        begins = np.append(0, np.cumsum(self.count_D))
        for r, count in enumerate(members.counts):
            f, day = divmod(r, len(self.count_D))
            x_o = other_FO[f, begins[day] : begins[day + 1]]
            if not count:
                x_o[:] = np.nan
            elif len(x_o):
                x_o[:] = scores_among(members.ascending_RN[r, :count], x_o)


class _Arrays(threading.local):
    """Arrays that each thread uses again: new ones would be cleared page by page every time."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[Any]] = {}

    def get(self, name: str, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """One of this shape; whatever is in it."""
        size = int(np.prod(shape))
        if name not in self._kept or len(self._kept[name]) < size:
            self._kept[name] = np.empty(size, dtype)
        return self._kept[name][:size].reshape(shape)


def scaled(x: Floats, centre: Floats, scale: Floats, clip: float) -> torch.Tensor:
    """(x − centre) / scale within ±clip, 0 where that is NaN; in the place of `x`."""
    moved = torch.from_numpy(x).sub_(torch.from_numpy(centre)).div_(torch.from_numpy(scale))
    return moved.clamp_(-clip, clip).nan_to_num_(0.0)


def _scores_in_order(ordered: Ordered) -> Floats:
    """Normal scores of the values in ascending order, in their place; NaN after the last."""
    ascending_RN, count_R = ordered.ascending_RN, ordered.counts
    tied = np.flatnonzero((ascending_RN[:, 1:] == ascending_RN[:, :-1]).any(axis=1))
    half_steps = np.nan_to_num(2 * ranks_in_order(ascending_RN[tied]) - 2).astype(np.int64)
    counts, same_R = np.unique(count_R, return_inverse=True)
    untied = np.full((len(counts), ascending_RN.shape[1]), np.nan, np.float32)
    for scores_N, count in zip(untied, counts, strict=True):
        scores_N[:count] = score_table(int(count))[::2]
    np.take(untied, same_R, axis=0, out=ascending_RN, mode="clip")
    for r, steps_N in zip(tied, half_steps, strict=True):
        table = score_table(int(count_R[r]))
        ascending_RN[r, : count_R[r]] = table[steps_N[: count_R[r]]]
    return ascending_RN


def _scale(
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
