"""Returns that look like errors by their size alone: undone on the next row, or beyond belief."""

import numpy as np

from atft_hpo.data.suspicious.judged_prices import SAME_CLOSE, Ints, JudgedPrices

LARGE_RETURN = 0.35
"""|close / close of the row before − 1| beyond which a reversal is suspicious."""
RECOVERED_SHARE = 0.8
"""Of a move, in logarithms: as much is undone on the next row, or more (up to 1.2)."""
EXTREME_FACTOR = 5.0
"""A close this many times the one before, or one divided by as much."""


def reversals(rows: JudgedPrices) -> Ints:
    """Rows of a bad print: a return beyond LARGE_RETURN that the next row takes back.

    The two-row log return is at most 1 − RECOVERED_SHARE of the first. Both returns, into the row
    and out of it, are then wrong.
    """
    r_R = rows.log_returns
    large = np.flatnonzero((r_R > np.log1p(LARGE_RETURN)) | (r_R < np.log1p(-LARGE_RETURN)))
    large = large[large + 1 < len(r_R)]
    undone = np.abs(r_R[large] + r_R[large + 1]) <= (1 - RECOVERED_SHARE) * np.abs(r_R[large])
    return large[undone]


def extreme_returns(rows: JudgedPrices, explained_R: Ints) -> Ints:
    """Rows whose close is EXTREME_FACTOR times the one before, or less than its inverse.

    Rows in `explained_R` (reversals, the rows after them, splits) are left out: they are listed.
    """
    beyond = np.flatnonzero(np.abs(rows.log_returns) >= np.log(EXTREME_FACTOR))
    return np.setdiff1d(beyond, explained_R)


def untraded_changes(rows: JudgedPrices) -> Ints:
    """Rows with volume 0 whose close is not that of the row before.

    Some vendors quote the middle of bid and ask then; and where closes are adjusted for dividends,
    an ex-day without a trade is among them.
    """
    if rows.volume_R is None:
        return np.empty(0, np.int64)
    return np.flatnonzero((rows.volume_R == 0) & (np.abs(rows.log_returns) > SAME_CLOSE))
