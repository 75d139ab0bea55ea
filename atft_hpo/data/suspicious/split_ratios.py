"""Splits that nobody adjusted for: prices that step by a split's ratio and stay there.

    splits = unadjusted_splits(rows)      # splits.row_M, splits.name_M: "5:1" is five new for one

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

from atft_hpo.data.suspicious.judged_prices import Flags, Floats, Ints, JudgedPrices, row_medians

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
    """M steps by a split's ratio."""

    row_M: Ints
    """First row at the new level, ascending."""
    name_M: NDArray[np.str_]
    """New for old shares, such as 5:1 (price a fifth) or 1:10 (ten times the price)."""

    def without(self, row_E: Ints) -> "Splits":
        """Those at other rows."""
        others_M = ~np.isin(self.row_M, row_E)
        return Splits(self.row_M[others_M], self.name_M[others_M])


def unadjusted_splits(rows: JudgedPrices) -> Splits:
    """Steps of a stock's price by a split's ratio that no adjustment took out."""
    widest = _STEP_LIMITS[0] * _VOLATILITY_RANGE[1]
    stepped_R = np.abs(rows.log_returns) >= _NEAR_STEP - widest
    candidate_M = np.flatnonzero(stepped_R)
    market_M = _market_moves(rows, stepped_R, candidate_M)
    found, names = [np.empty(0, np.int64)], [np.empty(0, _NAMES.dtype)]
    for first in range(0, len(candidate_M), _CHUNK):
        part = slice(first, first + _CHUNK)
        row_M = candidate_M[part]
        nearest_M = _nearest(rows.log_returns[row_M] - market_M[part])
        is_split_M = _is_split(rows, row_M, market_M[part], _STEPS[nearest_M])
        found.append(row_M[is_split_M])
        names.append(_NAMES[nearest_M[is_split_M]])
    return _with_way_out(rows, Splits(np.concatenate(found), np.concatenate(names)))


def _with_way_out(rows: JudgedPrices, splits: Splits) -> Splits:
    """The splits, and the steps that they take back: some days were quoted in another unit.

    Those days are too few to look like a level of their own; what follows them does.
    """
    rows_M, names_M = [splits.row_M], [splits.name_M]
    inverse_M = np.array([":".join(reversed(name.split(":"))) for name in splits.name_M.tolist()])
    step_M = rows.log_returns[splits.row_M]
    for days in range(2, _DAYS_AFTER):
        out_M = splits.row_M - days
        moves_MW = rows.around(rows.log_returns, splits.row_M, range(-days, 1))
        back_M = np.abs(moves_MW.sum(axis=1)) <= _LEFT_OVER * np.abs(step_M)
        back_M &= np.abs(moves_MW[:, 0] + step_M) <= _LEFT_OVER * np.abs(step_M)
        rows_M.append(out_M[back_M])
        names_M.append(inverse_M[back_M])
    all_M, first = np.unique(np.concatenate(rows_M), return_index=True)
    return Splits(all_M, np.concatenate(names_M)[first])


def _market_moves(rows: JudgedPrices, stepped_R: Flags, row_M: Ints) -> Floats:
    """[M] median log return of the day over the stocks that did not step; 0 below _LEAST_DAYS."""
    known_R = ~stepped_R & np.isfinite(rows.log_returns)
    days, place_M = np.unique(rows.day_R[row_M], return_inverse=True)
    wanted_D = np.zeros(len(rows.dates), np.bool_)
    wanted_D[days] = True
    near = np.flatnonzero(known_R & wanted_D[rows.day_R])
    near = near[np.argsort(rows.day_R[near], kind="stable")]
    bounds = np.searchsorted(rows.day_R[near], [days, days + 1])
    moves = [
        np.median(rows.log_returns[near[start:stop]]) if stop - start >= _LEAST_DAYS else 0.0
        for start, stop in bounds.T
    ]
    return np.array(moves, np.float64)[place_M]


def _nearest(step_M: Floats) -> Ints:
    """[M] the ratio nearest to each step."""
    order = np.argsort(_STEPS)
    middle = (_STEPS[order][1:] + _STEPS[order][:-1]) / 2
    return order[np.searchsorted(middle, step_M)]


def _is_split(rows: JudgedPrices, row_M: Ints, market_M: Floats, ratio_M: Floats) -> Flags:
    """[M] whether everything that is known speaks for a split; what is unknown is passed over."""
    far_M = (np.abs(ratio_M) >= _FAR_STEP - 1e-9).astype(np.int64)
    volatility_M = np.clip(_volatility(rows, row_M), *_VOLATILITY_RANGE)
    tolerance_M = _STEP_LIMITS[far_M] * volatility_M
    step_M = rows.log_returns[row_M] - market_M - ratio_M
    is_split_M: Flags = np.abs(step_M) <= tolerance_M
    is_split_M &= _stays(rows, row_M, ratio_M, far_M)
    if rows.open_R is None:
        is_split_M &= far_M == 1
        return is_split_M
    day_M = np.log(rows.close_R[row_M] / rows.open_R[row_M])
    is_split_M &= ~(np.abs(step_M - day_M) > tolerance_M)
    is_split_M &= (far_M == 1) | (day_M != 0)
    if rows.volume_R is not None:
        surge_M = _log_traded(rows, row_M) - np.maximum(-ratio_M, 0)
        is_split_M &= ~(surge_M > _TRADED_LIMITS[far_M])
    return is_split_M


def _volatility(rows: JudgedPrices, row_M: Ints) -> Floats:
    """[M] robust daily volatility of the days before; of those after where few are before."""
    size_R = np.abs(rows.log_returns)
    before_MW = rows.around(size_R, row_M, range(-_DAYS_BEFORE, 0))
    after_MW = rows.around(size_R, row_M, range(1, _DAYS_BEFORE + 1))
    few_M = np.isfinite(before_MW).sum(axis=1) < _LEAST_DAYS
    known_MW = np.where(few_M[:, None], after_MW, before_MW)
    return np.nan_to_num(row_medians(known_MW) / _NORMAL_MEDIAN, nan=_UNKNOWN_VOLATILITY)


def _stays(rows: JudgedPrices, row_M: Ints, ratio_M: Floats, far_M: Ints) -> Flags:
    """[M] whether the days after are at the new level, and calm; so where there are none yet."""
    volatility_M = np.maximum(_volatility(rows, row_M), _VOLATILITY_RANGE[0])
    after_MW = rows.around(rows.log_returns, row_M, range(1, _DAYS_AFTER + 1))
    drift_M = row_medians(np.cumsum(after_MW, axis=1))
    size_M = row_medians(np.abs(after_MW)) / _NORMAL_MEDIAN
    back_M = np.abs(drift_M) > np.abs(ratio_M) / 2
    wild_M = size_M > _CALM_LIMITS[far_M] * volatility_M
    wild_M |= np.abs(after_MW[:, 0]) > _NEXT_LIMITS[far_M] * volatility_M
    return ~back_M & ~wild_M


def _log_traded(rows: JudgedPrices, row_M: Ints) -> Floats:
    """[M] ln(shares traded / median of the days before with a trade); NaN where unknown."""
    assert rows.volume_R is not None
    traded_R = np.where(rows.volume_R > 0, rows.volume_R, np.nan)
    before_MW = rows.around(traded_R, row_M, range(-_DAYS_BEFORE, 0))
    return np.log(traded_R[row_M] / row_medians(before_MW))
