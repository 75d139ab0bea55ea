"""Days on which most of the market is absent: no rows, no trades, or yesterday's closes again.

A count of stocks is compared with the days around, on each side by itself: where coverage begins
or ends for good, one side is as low as the day. So a panel that grows is not suspicious.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from atft_hpo.data.suspicious.judged_prices import Flags, Floats, Ints, JudgedPrices, row_medians

DAYS_AROUND = 10
"""Days on each side that a day is compared with."""
_LEAST_DAYS = 3
"""Days that make a side."""
MOST = 0.5
"""Less than this share of the count around is suspicious."""


@dataclass(frozen=True)
class ThinDays:
    """Days, ascending, each with one reason."""

    day_M: Ints
    missing_M: Floats
    """Share of the count around that is missing."""
    reason_M: NDArray[np.str_]
    """"no rows", "no trades" or "closes unchanged"."""


def thin_days(rows: JudgedPrices) -> ThinDays:
    """Days on which most stocks have no row, no trade, or the close of the row before."""
    days = len(rows.dates)
    counts = {"no rows": np.bincount(rows.day_R, minlength=days).astype(np.float64)}
    if rows.volume_R is not None:
        counts["no trades"] = _count(rows, ~(rows.volume_R == 0))
    changed_D = _count(rows, ~rows.unchanged)
    counts["closes unchanged"] = changed_D
    reason_D = np.full(days, "", dtype="U16")
    missing_D = np.zeros(days)
    for reason, count_D in counts.items():
        short_D = 1 - count_D / np.maximum(_around(count_D), 1)
        new_D = (short_D > MOST) & (reason_D == "")
        reason_D[new_D], missing_D[new_D] = reason, short_D[new_D]
    found = np.flatnonzero(reason_D != "")
    return ThinDays(found, missing_D[found], reason_D[found])


def _count(rows: JudgedPrices, wanted_R: Flags) -> Floats:
    return np.bincount(rows.day_R[wanted_R], minlength=len(rows.dates)).astype(np.float64)


def _around(count_D: Floats) -> Floats:
    """[D] the lower of the medians of the days before and after; 0 where neither has enough."""
    padded = np.pad(count_D, DAYS_AROUND, constant_values=np.nan)
    window_DW = sliding_window_view(padded, 2 * DAYS_AROUND + 1)
    sides = [window_DW[:, :DAYS_AROUND], window_DW[:, DAYS_AROUND + 1 :]]
    medians = [
        np.where(np.isfinite(side).sum(axis=1) < _LEAST_DAYS, np.inf, row_medians(side))
        for side in sides
    ]
    lower_D = np.minimum(*medians)
    return np.where(np.isfinite(lower_D), lower_D, 0.0)
