"""Which features change when the latest splits and dividends are not known yet?

    found = withhold_latest(prices, features)
    found.shifts                           # {"liquidity__old_dollar_volume_20d": 0.013}

Adjusted prices and volumes of a day depend on what comes after it. Prices as they would have been
adjusted a year before the table's end (half of it before, where it has less than two) differ by a
number per stock; an honest feature's ranking on the days before does not. Compared are the rankings
of the last days before that date, over a sample of stocks: those rescaled most, and others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.array_statistics.ranks import shares_below
from atft_hpo.data.features.benchmarks import benchmarks
from atft_hpo.data.features.families.kind import Feature
from atft_hpo.data.features.pieces import history_of, pieces, rows_of
from atft_hpo.data.ingest.prices import Prices

_YEAR_DAYS = 365
_COMPARED_DAYS = 20
_SAMPLE = 128
"""Stocks, half of them those that were rescaled most."""
_LEAST_STOCKS = 5
_WINDOWS_BEFORE = 3
"""Rows before the compared days, in longest windows: some features look back two and a month."""
_PIECE_CELLS = 50_000
_RESCALED = 1e-6
"""A factor this far from 1, in logarithms, is more than rounding."""
_SHOWN = 1e-6
"""Shifts below are rounding's: two stocks that all but tie."""


@dataclass(frozen=True)
class WithheldFactors:
    """What the latest factors change on the days before them."""

    since: str
    """First day whose splits and dividends were withheld, ISO."""
    stocks: int
    """Stocks that they rescale, of all."""
    shifts: dict[str, float]
    """Feature → mean |change of a stock's percentile among the day's stocks|; those that change."""


def withhold_latest(prices: Prices, features: Sequence[Feature]) -> WithheldFactors | None:
    """Rankings with and without the latest factors; None where no such factor is known."""
    year_ago = np.searchsorted(prices.dates, prices.dates[-1] - np.timedelta64(_YEAR_DAYS))
    cut = max(int(year_ago), len(prices.dates) // 2)
    if not cut or (prices.price_factor_R is None and prices.share_factor_R is None):
        return None
    scales = _Scales.of(prices, cut)
    rescaled = int(np.count_nonzero(scales.sizes > _RESCALED))
    if not rescaled:
        return None
    shifts = _shifts(prices, features, cut, scales)
    return WithheldFactors(str(prices.dates[cut]), rescaled, shifts)


@dataclass(frozen=True)
class _Scales:
    """What the factors from a day on do to a stock's earlier rows."""

    price_N: NDArray[np.float64]
    """Prices before the day are multiplied by this."""
    share_N: NDArray[np.float64]
    """And volumes are divided by this."""
    last_N: NDArray[np.int64]
    """Last row before the day; below the stock's first where there is none."""

    @property
    def sizes(self) -> NDArray[np.float64]:
        """[N] how much each stock is rescaled, in logarithms."""
        return np.maximum(np.abs(np.log(self.price_N)), np.abs(np.log(self.share_N)))

    @classmethod
    def of(cls, prices: Prices, cut: int) -> "_Scales":
        stock_R = np.repeat(np.arange(len(prices.codes)), np.diff(prices.starts))
        before_N = np.bincount(stock_R[prices.day_R < cut], minlength=len(prices.codes))
        last_N = prices.starts[:-1] + before_N - 1
        there = before_N > 0

        def scale(factor_R: NDArray[np.float64] | None) -> NDArray[np.float64]:
            if factor_R is None:
                return np.ones(len(there))
            end_N = prices.starts[1:] - 1
            return np.where(there, factor_R[np.maximum(last_N, 0)] / factor_R[end_N], 1.0)

        return cls(scale(prices.price_factor_R), scale(prices.share_factor_R), last_N)


def _shifts(
    prices: Prices, features: Sequence[Feature], cut: int, scales: _Scales
) -> dict[str, float]:
    """Feature → mean |change of percentile| on the last days before day `cut`, if it changes."""
    stocks = _sample(prices, cut, scales)
    if len(stocks) < _LEAST_STOCKS:
        return {}
    longest = max((feature.window for feature in features), default=0)
    rows = _COMPARED_DAYS + _WINDOWS_BEFORE * longest + 1
    known = _before(prices, stocks, scales.last_N[stocks], rows)
    lengths = np.diff(known.starts)
    price_R = np.repeat(scales.price_N[stocks], lengths)
    withheld = replace(
        known,
        open_R=known.open_R / price_R,
        high_R=known.high_R / price_R,
        low_R=known.low_R / price_R,
        close_R=known.close_R / price_R,
        volume_R=known.volume_R * np.repeat(scales.share_N[stocks], lengths),
    )
    compared = np.flatnonzero(known.day_R >= cut - _COMPARED_DAYS)
    day_R = known.day_R[compared].astype(np.int64) - (cut - _COMPARED_DAYS)
    place = (day_R, np.repeat(np.arange(len(stocks)), lengths)[compared].astype(np.int64))
    shifts = {}
    pairs = zip(_values(known, features), _values(withheld, features), strict=True)
    for feature, (with_R, without_R) in zip(features, pairs, strict=True):
        shift = _shift(with_R[compared], without_R[compared], place, len(stocks))
        if shift > _SHOWN:
            shifts[feature.name] = shift
    return shifts


def _sample(prices: Prices, cut: int, scales: _Scales) -> NDArray[np.int64]:
    """Stocks, ascending, that have a row on one of the days compared."""
    last_N = np.maximum(scales.last_N, 0)
    there_N = scales.last_N >= prices.starts[:-1]
    recent = np.flatnonzero(there_N & (prices.day_R[last_N] >= cut - _COMPARED_DAYS))
    by_size = recent[np.argsort(-scales.sizes[recent], kind="stable")]
    most, others = by_size[: _SAMPLE // 2], np.sort(by_size[_SAMPLE // 2 :])
    spread = np.linspace(0, len(others) - 1, min(_SAMPLE // 2, len(others))).astype(np.int64)
    return np.sort(np.concatenate([most, others[spread]]))


def _before(
    prices: Prices, stocks: NDArray[np.int64], last_N: NDArray[np.int64], rows: int
) -> Prices:
    """Up to `rows` rows of each stock, ending with its row `last_N`."""
    first_N = np.maximum(prices.starts[stocks], last_N + 1 - rows)
    take = np.concatenate([np.arange(a, b + 1) for a, b in zip(first_N, last_N, strict=True)])
    per_row = {
        name: value[take]
        for name, value in vars(prices).items()
        if name.endswith("_R") and value is not None
    }
    starts = np.concatenate([[0], np.cumsum(last_N + 1 - first_N)])
    codes = tuple(prices.codes[stock] for stock in stocks)
    return replace(prices, codes=codes, starts=starts, **per_row)


def _values(prices: Prices, features: Sequence[Feature]) -> list[NDArray[np.float32]]:
    """Each feature at each row; of a rank, what is ranked."""
    market = benchmarks(prices)
    parts: list[list[NDArray[np.float32]]] = [[] for _ in features]
    for piece in pieces(np.diff(prices.starts), _PIECE_CELLS):
        history = history_of(prices, market, piece)
        for part, feature in zip(parts, features, strict=True):
            part.append(rows_of(prices, piece, feature.compute(history)))
    return [np.concatenate(part) for part in parts]


def _shift(
    with_R: NDArray[np.float32],
    without_R: NDArray[np.float32],
    place: tuple[NDArray[np.int64], NDArray[np.int64]],
    stocks: int,
) -> float:
    """Mean |change of percentile| over the values known; one that comes or goes counts as 1."""
    shares = []
    for value_R in (with_R, without_R):
        dense = np.full((_COMPARED_DAYS, stocks), np.nan, dtype=np.float32)
        dense[place] = np.where(np.isfinite(value_R), value_R, np.nan)
        shares.append(shares_below(dense, np.ones(dense.shape, dtype=np.bool_)))
    known = ~np.isnan(shares[0]) | ~np.isnan(shares[1])
    change = np.abs(shares[0] - shares[1])[known]
    return float(np.nan_to_num(change, nan=1.0).mean()) if known.any() else 0.0
