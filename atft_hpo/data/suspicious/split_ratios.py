"""Splits that nobody adjusted for: prices that step by a split's ratio and stay there.

    splits = unadjusted_splits(rows)      # splits.row_C, splits.name_C: "5:1" is five new for one

A real crash can end near half the price, too. What tells them apart:

- the step less the day's market move is the ratio, within a few of the stock's daily volatilities;
- the open is at the new level already, and the day goes on as any day (opens known only);
- shares traded are ordinary: a split changes them by its ratio at most, news brings many times as
  much (volumes known only, in either convention: raw, or divided by the ratio);
- the next days are at the new level, and calm. (Where they are back within four days, the way out
  is told from the way back.)

Below 2:1, where real moves are frequent, the limits are narrower; a market with daily price limits
locks at open = close after such a jump, so a day without any move is no split; and closes alone
cannot tell, so that they are not judged. On 3.8 million rows of Tokyo this names 3 steps, all
errors, and finds .93 (3:2) to .99 (10:1) of planted splits; from closes alone 7, and .98 from 2:1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.suspicious.price_rows import Flags, Floats, Ints, PriceRows, row_medians

_MANY = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100, 200, 500, 1000)
_FORWARD = ((3, 2), (5, 2), *((n, 1) for n in _MANY))
RATIOS = (*_FORWARD, *((old, new) for new, old in _FORWARD))
"""(new, old) shares; the price is multiplied by old / new."""
_STEPS = np.array([np.log(old / new) for new, old in RATIOS])
_NAMES = np.array([f"{new}:{old}" for new, old in RATIOS])
_NEAR_STEP, _FAR_STEP = np.log(1.5), np.log(2.0)
"""The smallest step, and that from which on the wider limits hold."""

_VOLATILITY_RANGE = (0.01, 0.03)
"""Daily; what the tolerance is made from stays within."""
_UNKNOWN_VOLATILITY = 0.03
_DAYS_BEFORE, _DAYS_AFTER = 20, 5
_LEFT_OVER = 0.2
"""Of a step, in logarithms, when it is said to be taken back."""
_LEAST_DAYS = 5
"""Returns that give a volatility."""
_NORMAL_MEDIAN = 0.6745
"""Median of |z| of a normal variable: the median |return| over this is a robust volatility."""
_CHUNK = 50_000
"""Candidates looked at together."""


_STEP_LIMITS = np.array([4.0, 5.0])
"""Of step and open from the ratio, in volatilities: below 2:1, and from there on."""
_CALM_LIMITS = np.array([4.0, 8.0])
"""Volatility of the days after, in that of the days before."""
_NEXT_LIMITS = np.array([5.0, 10.0])
"""The next row's return, in volatilities."""
_TRADED_LIMITS = np.log([4.0, 8.0])
"""Shares traded beyond what the ratio explains, over the median of the days before."""


@dataclass(frozen=True)
class Splits:
    """C steps by a split's ratio."""

    row_C: Ints
    """First row at the new level, ascending."""
    name_C: NDArray[np.str_]
    """New for old shares, such as 5:1 (price a fifth) or 1:10 (ten times the price)."""

    def without(self, row_E: Ints) -> "Splits":
        """Those at other rows."""
        others_C = ~np.isin(self.row_C, row_E)
        return Splits(self.row_C[others_C], self.name_C[others_C])


def unadjusted_splits(rows: PriceRows) -> Splits:
    """Steps of a stock's price by a split's ratio that no adjustment took out."""
    widest = _STEP_LIMITS[0] * _VOLATILITY_RANGE[1]
    stepped_R = np.abs(rows.log_returns) >= _NEAR_STEP - widest
    candidate_C = np.flatnonzero(stepped_R)
    market_C = _market_moves(rows, stepped_R, candidate_C)
    found, names = [np.empty(0, np.int64)], [np.empty(0, _NAMES.dtype)]
    for first in range(0, len(candidate_C), _CHUNK):
        part = slice(first, first + _CHUNK)
        row_C = candidate_C[part]
        nearest_C = _nearest(rows.log_returns[row_C] - market_C[part])
        is_split_C = _is_split(rows, row_C, market_C[part], _STEPS[nearest_C])
        found.append(row_C[is_split_C])
        names.append(_NAMES[nearest_C[is_split_C]])
    return _with_way_out(rows, Splits(np.concatenate(found), np.concatenate(names)))


def _with_way_out(rows: PriceRows, splits: Splits) -> Splits:
    """The splits, and the steps that they take back: some days were quoted in another unit.

    Those days are too few to look like a level of their own; what follows them does.
    """
    rows_C, names_C = [splits.row_C], [splits.name_C]
    inverse_C = np.array([":".join(reversed(name.split(":"))) for name in splits.name_C.tolist()])
    step_C = rows.log_returns[splits.row_C]
    for days in range(2, _DAYS_AFTER):
        out_C = splits.row_C - days
        moves_CW = rows.around(rows.log_returns, splits.row_C, range(-days, 1))
        back_C = np.abs(moves_CW.sum(axis=1)) <= _LEFT_OVER * np.abs(step_C)
        back_C &= np.abs(moves_CW[:, 0] + step_C) <= _LEFT_OVER * np.abs(step_C)
        rows_C.append(out_C[back_C])
        names_C.append(inverse_C[back_C])
    all_C, first = np.unique(np.concatenate(rows_C), return_index=True)
    return Splits(all_C, np.concatenate(names_C)[first])


def _market_moves(rows: PriceRows, stepped_R: Flags, row_C: Ints) -> Floats:
    """[C] median log return of the day over the stocks that did not step; 0 below _LEAST_DAYS."""
    known_R = ~stepped_R & np.isfinite(rows.log_returns)
    days, place_C = np.unique(rows.day_R[row_C], return_inverse=True)
    wanted_D = np.zeros(len(rows.dates), np.bool_)
    wanted_D[days] = True
    near = np.flatnonzero(known_R & wanted_D[rows.day_R])
    near = near[np.argsort(rows.day_R[near], kind="stable")]
    bounds = np.searchsorted(rows.day_R[near], [days, days + 1])
    moves = [
        np.median(rows.log_returns[near[start:stop]]) if stop - start >= _LEAST_DAYS else 0.0
        for start, stop in bounds.T
    ]
    return np.array(moves, np.float64)[place_C]


def _nearest(step_C: Floats) -> Ints:
    """[C] the ratio nearest to each step."""
    order = np.argsort(_STEPS)
    middle = (_STEPS[order][1:] + _STEPS[order][:-1]) / 2
    return order[np.searchsorted(middle, step_C)]


def _is_split(rows: PriceRows, row_C: Ints, market_C: Floats, ratio_C: Floats) -> Flags:
    """[C] whether everything that is known speaks for a split; what is unknown is passed over."""
    far_C = (np.abs(ratio_C) >= _FAR_STEP - 1e-9).astype(np.int64)
    volatility_C = np.clip(_volatility(rows, row_C), *_VOLATILITY_RANGE)
    tolerance_C = _STEP_LIMITS[far_C] * volatility_C
    step_C = rows.log_returns[row_C] - market_C - ratio_C
    is_split_C: Flags = np.abs(step_C) <= tolerance_C
    is_split_C &= _stays(rows, row_C, ratio_C, far_C)
    if rows.open_R is None:
        is_split_C &= far_C == 1
        return is_split_C
    day_C = np.log(rows.close_R[row_C] / rows.open_R[row_C])
    is_split_C &= ~(np.abs(step_C - day_C) > tolerance_C)
    is_split_C &= (far_C == 1) | (day_C != 0)
    if rows.volume_R is not None:
        surge_C = _log_traded(rows, row_C) - np.maximum(-ratio_C, 0)
        is_split_C &= ~(surge_C > _TRADED_LIMITS[far_C])
    return is_split_C


def _volatility(rows: PriceRows, row_C: Ints) -> Floats:
    """[C] robust daily volatility of the days before; of those after where few are before."""
    size_R = np.abs(rows.log_returns)
    before_CW = rows.around(size_R, row_C, range(-_DAYS_BEFORE, 0))
    after_CW = rows.around(size_R, row_C, range(1, _DAYS_BEFORE + 1))
    few_C = np.isfinite(before_CW).sum(axis=1) < _LEAST_DAYS
    known_CW = np.where(few_C[:, None], after_CW, before_CW)
    return np.nan_to_num(row_medians(known_CW) / _NORMAL_MEDIAN, nan=_UNKNOWN_VOLATILITY)


def _stays(rows: PriceRows, row_C: Ints, ratio_C: Floats, far_C: Ints) -> Flags:
    """[C] whether the days after are at the new level, and calm; so where there are none yet."""
    volatility_C = np.maximum(_volatility(rows, row_C), _VOLATILITY_RANGE[0])
    after_CW = rows.around(rows.log_returns, row_C, range(1, _DAYS_AFTER + 1))
    drift_C = row_medians(np.cumsum(after_CW, axis=1))
    size_C = row_medians(np.abs(after_CW)) / _NORMAL_MEDIAN
    back_C = np.abs(drift_C) > np.abs(ratio_C) / 2
    wild_C = size_C > _CALM_LIMITS[far_C] * volatility_C
    wild_C |= np.abs(after_CW[:, 0]) > _NEXT_LIMITS[far_C] * volatility_C
    return ~back_C & ~wild_C


def _log_traded(rows: PriceRows, row_C: Ints) -> Floats:
    """[C] ln(shares traded / median of the days before with a trade); NaN where unknown."""
    assert rows.volume_R is not None
    traded_R = np.where(rows.volume_R > 0, rows.volume_R, np.nan)
    before_CW = rows.around(traded_R, row_C, range(-_DAYS_BEFORE, 0))
    return np.log(traded_R[row_C] / row_medians(before_CW))
