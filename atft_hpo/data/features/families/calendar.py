"""Family `calendar`: where in the week, month, quarter and year a day lies; equal for all stocks.

Each position is an angle, given by its sine and cosine. Only the date itself is read: how many
days its month has is known before the month begins.
"""

from collections.abc import Callable

import numpy as np

from atft_hpo.data.features.families.kind import Compute, Kind
from atft_hpo.data.features.families.price_history import History
from atft_hpo.data.features.families.trailing import Array

_TRADING_WEEKDAYS = 5
_THURSDAY = 3
"""Weekday of 1970-01-01, day 0, with Monday = 0."""


def _weekday(h: History) -> Array:
    days = h.dates().astype("datetime64[D]").astype(np.int64)
    return np.asarray((days + _THURSDAY) % 7 / _TRADING_WEEKDAYS)


def _month_of_year(h: History) -> Array:
    return np.asarray(h.dates().astype("datetime64[M]").astype(np.int64) % 12 / 12)


def _day_of_month(h: History) -> Array:
    dates = h.dates().astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    first, next_first = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]")
    return np.asarray((dates - first) / (next_first - first))


def _quarter(h: History) -> Array:
    return np.asarray((_month_of_year(h) * 4 + _day_of_month(h) / 3) % 1)


def _circle(name: str, words: str, position: Callable[[History], Array]) -> list[Kind]:
    sine: Compute = lambda h, _: np.sin(2 * np.pi * position(h))  # noqa: E731
    cosine: Compute = lambda h, _: np.cos(2 * np.pi * position(h))  # noqa: E731
    return [
        Kind(f"{name}_sin", f"sin 2π·{words}", sine, fixed=()),
        Kind(f"{name}_cos", f"cos 2π·{words}", cosine, fixed=()),
    ]


CALENDAR = [
    *_circle("weekday", "weekday / 5, Monday = 0", _weekday),
    *_circle("turn", "(day of the month − 1) / days of the month; cos is 1 at the turn",
             _day_of_month),
    *_circle("quarter", "position in the quarter", _quarter),
    *_circle("year", "(month − 1) / 12", _month_of_year),
]  # fmt: skip
