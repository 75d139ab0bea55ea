"""What trading at a panel's closes gives: when a decision is carried out, and what it earns then.

    trading = Trading.of(panel, split.validation, config.portfolio.delisting_return)
    trading.position_DN[d, n], trading.executable_DN[d, n], trading.realised_D[d]

A decision of day d is carried out at the close of d+δ and earns its first return from there to the
close of d+δ+1, the day on which that return is realised. Positions are marked to the last close
known: they earn nothing on days without one, and the whole jump on the next. When a stock's rows
end before the panel's, `delisting_return` is booked on the day after its last, and the position is
cash from then on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.store.panel import Panel


@dataclass(frozen=True, eq=False)
class Trading:
    """Of D days of decisions and N stocks."""

    position_DN: NDArray[np.float32]
    """What a position decided that day earns in its first day; NaN past the end of the panel."""
    executable_DN: NDArray[np.bool_]
    """The stock can be bought and sold at the close of d+δ; taken to be so past the panel's end."""
    listed_DN: NDArray[np.bool_]
    """d+δ is not after the stock's last row, or that is the panel's last day."""
    realised_D: NDArray[np.datetime64]
    """The day d+δ+1; NaT past the end of the panel."""

    @classmethod
    def of(cls, panel: Panel, days: range, delisting_return: float = 0.0) -> "Trading":
        """Of decisions on `days` of the panel."""
        total, delay = len(panel.dates), panel.manifest.delay_days
        entry = range(min(days.start + delay, total), min(days.stop + delay, total))
        last_N = last_rows(panel.present)
        executable_DN = np.ones((len(days), panel.present.shape[1]), dtype=np.bool_)
        executable_DN[: len(entry)] = panel.tradable[entry.start : entry.stop]
        day_D1 = np.arange(days.start + delay, days.stop + delay)[:, None]
        listed_DN = (day_D1 <= last_N) | (last_N == total - 1)
        return cls(
            position_DN=_positions(panel, days, last_N, delisting_return),
            executable_DN=executable_DN,
            listed_DN=listed_DN,
            realised_D=_realised(panel.dates, days, delay),
        )

    @classmethod
    def without_friction(
        cls, position_DN: NDArray[np.floating], dates_D: NDArray[np.datetime64]
    ) -> "Trading":
        """Every decision carried out at once, and its return realised on the same date."""
        always_DN = np.ones(position_DN.shape, dtype=np.bool_)
        exact_DN = np.asarray(position_DN, dtype=np.float32)
        return cls(exact_DN, always_DN, always_DN, dates_D)


def last_rows(present_DN: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N] the last day with a row of each stock; −1 without any."""
    backwards_N = np.asarray(present_DN)[::-1].argmax(axis=0)
    return np.where(present_DN.any(axis=0), len(present_DN) - 1 - backwards_N, -1)


def _positions(
    panel: Panel, days: range, last_N: NDArray[np.int64], delisting_return: float
) -> NDArray[np.float32]:
    total, shift = len(panel.dates), panel.manifest.delay_days + 1
    # A label given may reach further than the panel's last day.
    position_DN = np.array(panel.targets[days.start : days.stop, :, 0])
    known = range(min(days.start + shift, total), min(days.stop + shift, total))
    position_DN[: len(known)] = np.nan_to_num(panel.returns[known.start : known.stop])
    gone_DN = np.arange(days.start + shift, days.stop + shift)[:, None] == last_N + 1
    position_DN[gone_DN & (last_N < total - 1)] = delisting_return
    return position_DN


def _realised(dates_D: NDArray[np.datetime64], days: range, delay: int) -> NDArray[np.datetime64]:
    realised_D = np.full(len(days), np.datetime64("NaT", "D"))
    known_D = dates_D[days.start + delay + 1 : days.stop + delay + 1]
    realised_D[: len(known_D)] = known_D
    return realised_D
