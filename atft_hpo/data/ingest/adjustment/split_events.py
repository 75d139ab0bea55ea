"""Splits: on which row a stock's shares became `ratio` times as many.

    ratio_R = splits_in_factor(factor_R, close_R, starts)      # from adj_close / close
    ratio_R = splits_in_column(column_R, "shares", starts)     # from a column of the table
    share_R = share_factor(ratio_R, starts)                    # times raw prices, under raw volumes

An adjusted close mixes splits, which change the number of shares, with dividends, which do not. A
split is a jump of adj_close / close near a ratio of small whole numbers, 6:5 or larger, that the
raw close goes along with. Less is a dividend: 9:8 (12 %) has been paid as one more than once. A
jump that the close does not follow is an error in the adjusted close, or its rounding.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Convention = Literal["shares", "price", "cumulative"]

_WHOLE = (*range(2, 101), 125, 150, 200, 250, 300, 400, 500, 1000)
_BROKEN = ((6, 5), (5, 4), (4, 3), (7, 5), (3, 2), (8, 5), (5, 3), (7, 4), (9, 5), (5, 2), (7, 2))
_FORWARD = sorted([float(n) for n in _WHOLE] + [new / old for new, old in _BROKEN])
RATIOS = np.array([*(1 / ratio for ratio in reversed(_FORWARD)), *_FORWARD])
"""Ascending; those below 1 are reverse splits."""
_LOG_RATIOS = np.log(RATIOS)
_TOLERANCE = 0.005
"""Of a jump from its ratio, in logarithms."""
_SAME_DAY_DIVIDEND = 0.03
"""A dividend on the day of a split adds to its jump; allowed for where the split is 2:1 or larger,
as stocks split at the end of a Japanese half-year, when most pay."""
_CENT = 0.01
_FOLLOWS = 0.5
"""The adjusted return on the day of a split, of the logarithm of its ratio, is at most this."""


def splits_in_factor(factor_R: Floats, close_R: Floats, starts: NDArray[np.int64]) -> Floats:
    """[R] new shares per old one on the day of a split, 1 on all other rows.

    Args:
        factor_R: adjusted over raw close; R rows sorted by stock, then day.
        close_R: raw.
        starts: [N + 1] first row of each stock, then R.
    """
    ratio_R = np.ones(len(factor_R))
    jump_R = np.zeros(len(factor_R))
    jump_R[1:] = np.diff(np.log(factor_R))
    jump_R[starts[:-1]] = 0.0
    row_C = np.flatnonzero(np.abs(jump_R) > _LOG_RATIOS[_LOG_RATIOS > 0][0] - 2 * _TOLERANCE)
    if not len(row_C):
        return ratio_R
    jump_C, log_C = jump_R[row_C], _nearest(jump_R[row_C])
    beyond_C = jump_C - log_C
    slack_C = _TOLERANCE + _rounding(factor_R, close_R, row_C)
    large_C = np.abs(log_C) >= np.log(2) - 1e-9
    near_C = (beyond_C >= -slack_C) & (
        beyond_C <= slack_C + np.where(large_C, _SAME_DAY_DIVIDEND, 0.0)
    )
    adjusted_return_C = np.log(close_R[row_C] / close_R[row_C - 1]) + jump_C
    found_C = near_C & (np.abs(adjusted_return_C) <= _FOLLOWS * np.abs(log_C))
    ratio_R[row_C[found_C]] = np.exp(log_C[found_C])
    return ratio_R


def splits_in_column(
    column_R: Floats, convention: Convention | None, starts: NDArray[np.int64]
) -> Floats:
    """[R] new shares per old one on the day of a split, 1 on all other rows.

    Args:
        column_R: `shares`: that very number, 0, 1 or NaN where there is no split (Yahoo's "Stock
            Splits"); `price`: the multiplier of earlier prices, 0.5 for 2:1 (J-Quants'
            AdjustmentFactor); `cumulative`: what prices are divided by, constant between splits
            (CRSP's cfacpr); None: `cumulative` where most rows say something, else `price` where
            most splits then are forward ones, else `shares`.
        starts: [N + 1] first row of each stock, then R.
    """
    says_R = np.isfinite(column_R) & (column_R > 0) & (column_R != 1)
    if convention is None:
        convention = _convention(column_R[says_R], len(column_R))
    if convention == "shares":
        return np.where(says_R, column_R, 1.0)
    if convention == "price":
        return np.where(says_R, 1.0 / np.where(says_R, column_R, 1.0), 1.0)
    ratio_R = np.ones(len(column_R))
    divisor_R = _carried(column_R, starts)
    ratio_R[1:] = divisor_R[:-1] / divisor_R[1:]
    ratio_R[starts[:-1]] = 1.0
    return ratio_R


def onto_kept_rows(
    ratio_R: Floats, kept_R: NDArray[np.bool_], stock_R: NDArray[np.integer]
) -> Floats:
    """The ratios of the rows kept; a split on a row left out happens on the stock's next row.

    Args:
        ratio_R: [all rows] 1 where there is no split; sorted by stock, then day.
        kept_R: rows that stay, such as those that have a close.
        stock_R: each row's stock.
    """
    out = ratio_R[kept_R].copy()
    rows = np.flatnonzero(kept_R)
    for row in np.flatnonzero(~kept_R & (ratio_R != 1)):
        place = int(np.searchsorted(rows, row))
        if place < len(rows) and stock_R[rows[place]] == stock_R[row]:
            out[place] *= ratio_R[row]
    return out


def share_factor(ratio_R: Floats, starts: NDArray[np.int64]) -> Floats:
    """[R] 1 / product of the ratios on a stock's later rows.

    Raw prices times this, and raw volumes over it, are in shares of the stock's last row.
    """
    log_R = np.cumsum(np.log(ratio_R))
    last_R = np.repeat(log_R[starts[1:] - 1], np.diff(starts))
    return np.asarray(np.exp(log_R - last_R))


def _nearest(log_C: Floats) -> Floats:
    """[C] logarithm of the ratio nearest to each jump."""
    place_C = np.clip(np.searchsorted(_LOG_RATIOS, log_C), 1, len(_LOG_RATIOS) - 1)
    below_C, above_C = _LOG_RATIOS[place_C - 1], _LOG_RATIOS[place_C]
    return np.asarray(np.where(log_C - below_C < above_C - log_C, below_C, above_C))


def _rounding(factor_R: Floats, close_R: Floats, row_C: NDArray[np.int64]) -> Floats:
    """[C] how far a jump may be off because adjusted closes are written in cents."""
    adjusted_C2 = np.column_stack([(factor_R * close_R)[row_C - 1], (factor_R * close_R)[row_C]])
    cents_C2 = adjusted_C2 / _CENT
    written_C = (np.abs(cents_C2 - np.round(cents_C2)) < 1e-4 * cents_C2 + 1e-6).all(axis=1)
    half_cents_C = (0.5 * _CENT / adjusted_C2).sum(axis=1)
    return np.where(written_C, np.minimum(half_cents_C, _SAME_DAY_DIVIDEND), 0.0)


def _convention(said: Floats, rows: int) -> Convention:
    if len(said) > rows / 2:
        return "cumulative"
    return "price" if (said < 1).sum() > len(said) / 2 else "shares"


def _carried(column_R: Floats, starts: NDArray[np.int64]) -> Floats:
    """The column with each unknown value as on the stock's row before, 1 where there is none."""
    known_R = np.isfinite(column_R) & (column_R > 0)
    place_R = np.where(known_R, np.arange(len(column_R)), -1)
    first_R = np.repeat(starts[:-1], np.diff(starts))
    last_R = np.maximum.accumulate(place_R)
    return np.where(last_R >= first_R, column_R[np.maximum(last_R, 0)], 1.0)
