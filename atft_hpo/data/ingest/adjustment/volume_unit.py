"""In which shares a table counts volume: those of the day, or those after all its splits.

A split of ratio k makes k times as many shares. Around it, volume as traded jumps by about ln k in
logarithms, and volume that was divided by later splits does not. The jump of a split is the median
of ln V over DAYS rows from it on, less that over DAYS rows before; the jump of the table is the
median over splits of jump / ln k, weighted by |ln k|: near 1 in one case, near 0 in the other.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Unit = Literal["day", "last"]
"""Shares of the day itself, or of the stock's last row."""

DAYS = 20
_LEAST_ROWS = 5
"""Traded rows on either side without which a split says nothing."""
_LEAST_ERROR = 0.35
"""Standard deviation of a jump of ln V that is no split's: what 20-day medians of daily volumes
move by from one month to the next."""
_CERTAIN = 2.0
"""Standard errors between the table's jump and the middle of 0 and 1."""


@dataclass(frozen=True)
class VolumeJump:
    """What the volumes around a table's splits say."""

    splits: int
    """Splits with enough traded rows on both sides."""
    jump: float
    """Weighted median of jump / ln ratio: 1 = volume as traded, 0 = divided by later splits."""
    error: float
    """Its standard error."""

    @property
    def unit(self) -> Unit | None:
        """The unit, None where the splits are too few or too small to tell."""
        if not self.splits or abs(self.jump - 0.5) < _CERTAIN * self.error:
            return None
        return "day" if self.jump > 0.5 else "last"


def volume_jump(volume_R: Floats, ratio_R: Floats, starts: NDArray[np.int64]) -> VolumeJump:
    """What the volumes say around the rows whose ratio is not 1.

    Args:
        volume_R: as the table has it; R rows sorted by stock, then day; 0 or NaN = no trade.
        ratio_R: new shares per old one on the day of a split, else 1.
        starts: [N + 1] first row of each stock, then R.
    """
    row_C = np.flatnonzero(ratio_R != 1)
    stock_C = np.searchsorted(starts, row_C, side="right") - 1
    jumps, logs = [], []
    for row, first, stop in zip(row_C, starts[stock_C], starts[stock_C + 1], strict=True):
        before = _log_traded(volume_R[max(first, row - DAYS) : row])
        after = _log_traded(volume_R[row : min(stop, row + DAYS)])
        if min(len(before), len(after)) >= _LEAST_ROWS:
            jumps.append(np.median(after) - np.median(before))
            logs.append(np.log(ratio_R[row]))
    if not jumps:
        return VolumeJump(0, np.nan, np.nan)
    jump_C, log_C = np.array(jumps), np.array(logs)
    share = _weighted_median(jump_C / log_C, np.abs(log_C))
    off_C = np.abs(jump_C - share * log_C)
    spread = max(_LEAST_ERROR, 1.4826 * float(np.median(off_C)))
    return VolumeJump(len(jumps), share, spread / float(np.sqrt((log_C**2).sum())))


def _log_traded(volume: Floats) -> Floats:
    return np.log(volume[volume > 0])


def _weighted_median(value_C: Floats, weight_C: Floats) -> float:
    order = np.argsort(value_C)
    reached = np.cumsum(weight_C[order])
    return float(value_C[order][np.searchsorted(reached, reached[-1] / 2)])
