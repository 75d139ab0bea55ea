"""Normalisation of one day across its live stocks; never over time, never over one stock.

    normalise = Normaliser(features, config.pack)
    bits_FDN, found = normalise(fill, first_day, stocks_D)

A row [N] is one feature on one day, NaN = missing; rows are independent, so many are done at once.
Results lie within ±clip; a feature that is the same for all stocks becomes 0 and a missing cell
becomes 0. Only the day's own values enter, so nothing of the future can.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.config.schema import PackConfig
from atft_hpo.data.column_statistics import ColumnStatistics
from atft_hpo.data.ordered import Floats, Ordered
from atft_hpo.data.panel import FeatureSpec, Normalisation
from atft_hpo.data.ranks import ranks_in_order, score_table

CALENDAR_FAMILY = "calendar"
"""The same for all stocks of a day: any normalisation across stocks would make it 0."""
_MAD_TO_SIGMA = np.float32(1.4826)
_CELLS_AT_ONCE = 1 << 19
"""Enough rows for a bisection over all of them to cost little, few enough for the cache."""
_CACHED_CELLS = 1 << 15
Stocks = NDArray[np.int64]


def rank_gauss(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Floats:
    """Normal scores of ranks with averaged ties; missing cells 0."""
    assert ordered.places_RN is not None
    out_RN = np.empty_like(x_RN)
    begins_R1 = np.arange(len(x_RN))[:, None] * x_RN.shape[1]
    out_RN.ravel()[ordered.places_RN + begins_R1] = _scores_in_order(ordered)
    return out_RN


def robust_z(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Floats:
    """(x − median) / (1.4826 · MAD), or / standard deviation where the MAD is 0."""
    median_R = ordered.median_R
    deviation_R = ordered.median_deviation(median_R)
    for rows in _rows_in_cache(x_RN):
        torch.from_numpy(x_RN[rows]).sub_(torch.from_numpy(median_R[rows, None]))
    return _scaled(x_RN, deviation_R, stocks_R, centred=True)


def scale_only(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Floats:
    """x / (1.4826 · median |x|), or / root mean square where that is 0.

    Not centred: the level, and with it the course of the feature in time, survives.
    """
    size_R = ordered.median_deviation(np.zeros_like(ordered.low_R))
    x_RN[ordered.low_R == ordered.high_R] = 0.0
    return _scaled(x_RN, size_R, stocks_R, centred=False)


def unscaled(x_RN: Floats, ordered: Ordered, stocks_R: Stocks) -> Floats:
    """The values as they are."""
    return x_RN


NORMALISERS: dict[Normalisation, Callable[[Floats, Ordered, Stocks], Floats]] = {
    "rank_gauss": rank_gauss,
    "robust_z": robust_z,
    "scale_only": scale_only,
    "none": unscaled,
}
"""From values [R, N] and the same in order to normalised ones. Rows are padded to N with NaN;
`stocks_R` says where the padding begins. The values given may be overwritten."""


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

    def __call__(
        self, fill: Callable[[int, Floats], None], first_day: int, stocks_D: Stocks
    ) -> tuple[NDArray[np.uint16], ColumnStatistics]:
        """A block of days: bits in the store's type [F, D, N], and what its columns hold.

        Args:
            fill: writes a feature's values to [D, N], NaN where missing and after the day's stocks.
            first_day: the block's.
            stocks_D: how many stocks are alive on each day; N is the most.
        """
        bits_FDN = np.empty((len(self._features), len(stocks_D), stocks_D.max()), np.uint16)
        found = ColumnStatistics.empty(len(self._features))
        for kind, columns in self._alike(bits_FDN[0].size):
            x_FDN = np.empty((len(columns), *bits_FDN.shape[1:]), np.float32)
            for f, x_DN in zip(columns, x_FDN, strict=True):
                fill(int(f), x_DN)
            x_RN = x_FDN.reshape(-1, x_FDN.shape[-1])
            with np.errstate(over="ignore", invalid="ignore"):
                ordered = Ordered.of(x_RN, places=kind == "rank_gauss")
                if np.isinf(ordered.low_R).any() or np.isinf(ordered.high_R).any():
                    found.add_infinite(columns, first_day, np.isinf(x_FDN))
                    x_RN[np.isinf(x_RN)] = np.nan
                    ordered = Ordered.of(x_RN, places=kind == "rank_gauss")
                found.add_days(columns, ordered)
                z_RN = NORMALISERS[kind](x_RN, ordered, np.tile(stocks_D, len(columns)))
            bits_FDN[columns] = self._stored(z_RN).reshape(x_FDN.shape)
        return bits_FDN, found

    def _alike(self, cells: int) -> Iterator[tuple[Normalisation, NDArray[np.int64]]]:
        """Columns of one kind, as many as are worked on at once."""
        step = max(1, _CELLS_AT_ONCE // cells)
        for kind in NORMALISERS:
            alike = [f for f, spec in enumerate(self._features) if spec.normalisation == kind]
            for start in range(0, len(alike), step):
                yield kind, np.array(alike[start : start + step])

    def _stored(self, z_RN: Floats) -> NDArray[np.uint16]:
        """Clipped, missing = 0, in the store's type."""
        bits_RN = np.empty(z_RN.shape, np.uint16)
        for rows in _rows_in_cache(z_RN):
            z = torch.from_numpy(z_RN[rows]).clamp_(-self._clip, self._clip).nan_to_num_(0.0)
            torch.from_numpy(bits_RN[rows]).view(self._type).copy_(z)
        return bits_RN


def _scores_in_order(ordered: Ordered) -> Floats:
    """Normal scores of the values in ascending order; 0 after the last."""
    ascending_RN, count_R = ordered.ascending_RN, ordered.count_R
    scores_RN = np.zeros_like(ascending_RN)
    tied_R = (ascending_RN[:, 1:] == ascending_RN[:, :-1]).any(axis=1)
    for count in np.unique(count_R[count_R > 0]):
        table = score_table(int(count))
        scores_RN[(count_R == count) & ~tied_R, :count] = table[::2]
        tied = np.flatnonzero((count_R == count) & tied_R)
        half_steps = 2 * ranks_in_order(ascending_RN[tied, :count]) - 2
        scores_RN[tied, :count] = table[half_steps.astype(np.int64)]
    return scores_RN


def _scaled(x_RN: Floats, size_R: Floats, stocks_R: Stocks, centred: bool) -> Floats:
    """x over 1.4826 times the median size of its values, or over their deviation if that is 0."""
    scale_R = _MAD_TO_SIGMA * size_R
    flat_R = scale_R == 0
    for stocks in np.unique(stocks_R[flat_R]):
        # Without the padding: a sum's rounding depends on how many terms there are.
        rows = np.flatnonzero(flat_R & (stocks_R == stocks))
        scale_R[rows] = _deviation(x_RN[rows, :stocks].astype(np.float64), centred)
    useless_R = ~(scale_R > 0)
    x_RN[useless_R], scale_R[useless_R] = 0.0, 1.0
    for rows in _rows_in_cache(x_RN):
        torch.from_numpy(x_RN[rows]).div_(torch.from_numpy(scale_R[rows, None]))
    return x_RN


def _deviation(x_RN: NDArray[np.float64], centred: bool) -> NDArray[np.float64]:
    """Standard deviation (or root mean square) of each row's present values."""
    count = np.maximum((~np.isnan(x_RN)).sum(axis=-1, keepdims=True), 1)
    mean = np.nansum(x_RN, axis=-1, keepdims=True) / count if centred else 0.0
    return np.asarray(np.sqrt(np.nansum((x_RN - mean) ** 2, axis=-1) / count[:, 0]))


def _rows_in_cache(x_RN: Floats) -> Iterator[slice]:
    """The rows, some at a time: several operations in turn find them in the processor's cache."""
    step = max(1, _CACHED_CELLS // x_RN.shape[1])
    for start in range(0, len(x_RN), step):
        yield slice(start, start + step)
