"""Whether a panel knows stocks that went, or only those that are still there at its end.

    count, share_a_year = departures(panel)
    departures_line(stocks=469, count=5, share_a_year=.002)     # "survivors only, or nearly: …"

On a panel of survivors hardly anybody meets a delisting, or a stock that is about to be delisted:
what a forecast earns there is too good, and how much too good cannot be told from it.
"""

from typing import Final

import numpy as np

from atft_hpo.data.store.panel import Panel

GONE_DAYS: Final = 20
"""Without a price for so many days at the end a stock is gone; for fewer, perhaps halted."""
SURVIVORS_SHARE: Final = 0.01
"""Fewer departures a year than this share of the stocks: a list drawn up afterwards. Markets lose
several per cent a year to mergers, bankruptcies and going private."""


def departures(panel: Panel) -> tuple[int, float]:
    """Stocks whose last return is more than `GONE_DAYS` days before the end; their share a year."""
    known_DN = np.isfinite(np.asarray(panel.returns))
    ever_N, late_N = known_DN.any(axis=0), known_DN[-GONE_DAYS - 1 :].any(axis=0)
    count = int((ever_N & ~late_N).sum())
    years = float((panel.dates[-1] - panel.dates[0]) / np.timedelta64(1, "D")) / 365.25
    return count, count / max(int(ever_N.sum()), 1) / years


def departures_line(stocks: int, count: int, share_a_year: float) -> str:
    """What that says of the returns."""
    gone = f"{count} of {stocks} stocks ({share_a_year:.1%} a year) are gone before the panel ends"
    if share_a_year >= SURVIVORS_SHARE:
        return gone
    return (
        f"survivors only, or nearly: {gone}, so that hardly anybody met a delisting; returns are "
        "too good by what this panel cannot tell"
    )
