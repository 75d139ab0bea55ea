"""Paired daily differences: what two forecasts on the same days can be told apart by.

    found = paired_difference(ours.rank_ic, theirs.rank_ic, overlap_days=horizon_days)
    found.mean, found.t, (found.low, found.high)

Two forecasts live through the same market, so that the noise of their *difference* is 5 to 14 times
smaller than that of either's own mean; days on which one has no value are left out.
"""

import numpy as np
from numpy.typing import NDArray

from atft_hpo.evaluation.mean_error import MeanError, mean_error


def paired_difference(
    a_D: NDArray[np.floating], b_D: NDArray[np.floating], overlap_days: int
) -> MeanError | None:
    """The mean of a − b over the days that both have; None with fewer than 2 common days.

    Args:
        a_D, b_D: daily values of the same days in the same order; NaN = none.
        overlap_days: days that a value's label spans: its horizon; 1 for daily returns.

    Raises:
        ValueError: the series differ in length.
    """
    if len(a_D) != len(b_D):
        raise ValueError(f"series of {len(a_D)} and {len(b_D)} days: expected the same days")
    difference_D = np.asarray(a_D, np.float64) - np.asarray(b_D, np.float64)
    return mean_error(difference_D[np.isfinite(difference_D)], overlap_days)
