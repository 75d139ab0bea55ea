"""Labels and returns over prices that are not to be trusted, taken out.

    targets_DNQ = mask_spans(suspicious_DN, targets_DNQ, next_tradable(tradable_DN), horizons, δ)
    returns_DN = mask_returns(suspicious_DN, returns_DN)

`suspicious_DN[d]` says so of the return *into* day d, since the stock's previous row. A label holds
the returns of the days after its entry, through its exit; one that enters at the close of a split's
day holds nothing of the split.
"""

import numpy as np
from numpy.typing import NDArray

Returns = NDArray[np.float32]
Flags = NDArray[np.bool_]


def mask_spans(
    suspicious_DN: Flags,
    target_DNQ: Returns,
    exit_DN: NDArray[np.int64],
    horizons: tuple[int, ...],
    delay: int,
) -> Returns:
    """[D, N, Q] labels, NaN where a day from d + δ + 1 through the exit is suspicious.

    The exit is that of `labels`: `exit_DN[d + δ + h]`, the first day from there on on which the
    stock can be traded, D where none comes.
    """
    days = len(suspicious_DN)
    before_DN = np.zeros((days + 1, *suspicious_DN.shape[1:]), np.int32)
    np.cumsum(suspicious_DN, axis=0, out=before_DN[1:])
    entry_D = np.minimum(np.arange(days) + delay, days - 1)
    out_DNQ = target_DNQ.copy()
    for q, horizon in enumerate(horizons):
        left_DN = np.minimum(exit_DN[np.minimum(entry_D + horizon, days - 1)], days - 1)
        through_DN = np.take_along_axis(before_DN, left_DN + 1, axis=0)
        touched_DN = through_DN > before_DN[entry_D + 1]
        out_DNQ[..., q][touched_DN] = np.nan
    return out_DNQ


def mask_returns(suspicious_DN: Flags, return_DN: Returns) -> Returns:
    """[D, N] returns known at d, NaN where suspicious: a portfolio books 0 then."""
    return np.where(suspicious_DN, np.float32(np.nan), return_DN)
