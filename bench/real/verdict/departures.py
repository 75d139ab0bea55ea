"""Whether a panel knows stocks that went, or only those that are still there at its end.

    departures(panel)      # 0: survivors only

On a panel of survivors nobody meets a delisting, nor the stocks that were about to be delisted:
what a forecast earns there is too good, and how much too good cannot be told from it.
"""

from typing import Final

import numpy as np

from atft_hpo.data.store.panel import Panel

GONE_DAYS: Final = 20
"""Without a price for so many days at the end a stock is gone; for fewer, perhaps halted."""


def departures(panel: Panel) -> int:
    """How many stocks have their last price more than `GONE_DAYS` days before the panel ends."""
    priced_DN = np.isfinite(np.asarray(panel.returns))
    ends_N = priced_DN[-GONE_DAYS - 1 :].any(axis=0)
    return int((priced_DN.any(axis=0) & ~ends_N).sum())
