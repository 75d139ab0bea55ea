"""Style exposures: what a stock is known for, ranked across the universe of each day.

    style_names(panel)            # ("liquidity", "volatility_60d", …)
    styles_DNK = style_ranks(panel)
    exposures = exposures_of(panel, split.validation)

A forecast of returns easily is a forecast of well-known premia, such as low volatility or reversal.
Styles are what `pure` takes out, and what `evaluation.metrics` reports a forecast's exposure to.
Each is known at the close of its day and reads at most LOOKBACK_DAYS days, today's included:

    liquidity         log mean traded value, 20 days
    volatility_60d    root mean square of daily returns
    volatility_20d    the same, 20 days
    reversal_5d       − log return of the last 5 days (high = has fallen)
    reversal_20d      − log return of the last 20 days
    momentum_120_20   log return of the last 120 days without the last 20
    beta_120d         slope of daily returns on the universe's equal-weight return
    max_return_20d    largest daily return

Missing returns are skipped; a window with less than half of its returns gives no exposure. Ranks
are uniform (mean 0, variance 1), not normal scores: bounded by ±√3, no single stock has leverage on
a day's regression, and they are on the scale of the training label. A missing exposure is 0, the
mean of the day. All but liquidity come from returns alone; liquidity is there where the panel has
traded values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.array_statistics.ranks import uniform_ranks
from atft_hpo.data.array_statistics.rolling import (
    trailing_max,
    trailing_mean,
    trailing_sum,
    trailing_volatility,
)
from atft_hpo.data.store.panel import Panel

LOOKBACK_DAYS = 120
_DAYS_AT_ONCE = 256
_LEAST_RETURN = -0.999999
"""A return given as −100 % or less has no logarithm."""
_LEAST_VARIANCE = 1e-12
"""Below, the universe's return does not move, and there is no slope on it."""
_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Exposures:
    """What a forecast's own part is free of: sectors and styles on a range of days."""

    names: tuple[str, ...]
    """[K] styles in force."""
    sector_DN: NDArray[np.int16]
    styles_DNK: NDArray[np.float32]

    def on(self, days: slice) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Sectors and styles of some days of the range."""
        return self.sector_DN[days], self.styles_DNK[days]


def style_names(panel: Panel) -> tuple[str, ...]:
    """The styles that `panel` has data for, in the order of STYLES."""
    return tuple(n for n in STYLES if n != "liquidity" or panel.traded_value is not None)


def style_ranks(panel: Panel, days: range | None = None) -> NDArray[np.float32]:
    """[D, N, K] ranks per day of the styles in `style_names(panel)`; of all days when absent.

    Over the day's live stocks; 0 where an exposure is missing and for stocks that are not alive.
    The exposures of a day are bitwise the same whatever `days` they are asked with.
    """
    days = range(len(panel.dates)) if days is None else days
    first = max(0, days.start - LOOKBACK_DAYS + 1)
    history = _History.of(panel, slice(first, days.stop))
    wanted = slice(days.start - first, None)
    names = style_names(panel)
    # One style after the other in memory: they are read one by one.
    out_DKN = np.empty((len(days), len(names), history.r_DN.shape[1]), dtype=np.float32)
    for k, name in enumerate(names):
        raw_DN = np.where(history.alive_DN, _RAW[name](history), np.nan)[wanted]
        for part in range(0, len(raw_DN), _DAYS_AT_ONCE):
            ranks_DN = uniform_ranks(raw_DN[part : part + _DAYS_AT_ONCE])
            out_DKN[part : part + _DAYS_AT_ONCE, k] = np.nan_to_num(ranks_DN)
    return out_DKN.swapaxes(1, 2)


def exposures_of(panel: Panel, days: range) -> Exposures:
    """Sectors and styles of `days`."""
    sector_DN = panel.sector[days.start : days.stop]
    return Exposures(style_names(panel), sector_DN, style_ranks(panel, days))


@dataclass(frozen=True, eq=False)
class _History:
    """What exposures are computed from; each [D, N], exposures NaN where missing."""

    r_DN: _Floats
    """Simple daily returns; 0 where missing."""
    known_DN: NDArray[np.bool_]
    alive_DN: NDArray[np.bool_]
    traded_DN: NDArray[np.float32] | None

    @classmethod
    def of(cls, panel: Panel, span: slice) -> "_History":
        known_DN = np.isfinite(panel.returns[span])
        r_DN = np.where(known_DN, panel.returns[span], 0.0).astype(np.float64)
        traded_DN = None if panel.traded_value is None else panel.traded_value[span]
        return cls(r_DN, known_DN, panel.alive[span], traded_DN)

    def liquidity(self) -> _Floats:
        assert self.traded_DN is not None  # `style_names` leaves it out otherwise
        known_DN = np.isfinite(self.traded_DN)
        value_DN = np.where(known_DN, self.traded_DN, 0.0).astype(np.float64)
        mean_DN = trailing_mean(value_DN, known_DN, 20)
        with np.errstate(divide="ignore"):
            return np.where(mean_DN == 0.0, np.nan, np.log(mean_DN))

    def volatility(self, window: int) -> _Floats:
        return trailing_volatility(np.where(self.known_DN, self.r_DN, np.nan), window)

    def log_return(self, window: int) -> _Floats:
        log_DN = np.log1p(np.maximum(self.r_DN, _LEAST_RETURN))
        return _enough(trailing_sum(log_DN, window), self.known_DN, window)

    def momentum(self, window: int, skipped: int) -> _Floats:
        out_DN = np.full_like(self.r_DN, np.nan)
        out_DN[skipped:] = self.log_return(window - skipped)[:-skipped]
        return out_DN

    def max_return(self, window: int) -> _Floats:
        high_DN = trailing_max(np.where(self.known_DN, self.r_DN, -np.inf), window)
        return _enough(high_DN, self.known_DN, window)

    def beta(self, window: int) -> _Floats:
        """Slope of r on m over the days with both, m = mean return of the day's universe."""
        counted_DN = self.known_DN & self.alive_DN
        m_D1 = (self.r_DN * counted_DN).sum(axis=1, keepdims=True)
        m_D1 /= np.maximum(counted_DN.sum(axis=1, keepdims=True), 1)
        m_DN = np.where(self.known_DN, m_D1, 0.0)
        mean_m_DN = trailing_mean(m_DN, self.known_DN, window)
        variance_DN = trailing_mean(m_DN**2, self.known_DN, window) - mean_m_DN**2
        covariance_DN = trailing_mean(self.r_DN * m_DN, self.known_DN, window)
        covariance_DN -= mean_m_DN * trailing_mean(self.r_DN, self.known_DN, window)
        moves_DN = variance_DN > _LEAST_VARIANCE
        return np.where(moves_DN, covariance_DN / np.where(moves_DN, variance_DN, 1.0), np.nan)


_RAW: dict[str, Callable[[_History], _Floats]] = {
    "liquidity": _History.liquidity,
    "volatility_60d": lambda history: history.volatility(60),
    "volatility_20d": lambda history: history.volatility(20),
    "reversal_5d": lambda history: -history.log_return(5),
    "reversal_20d": lambda history: -history.log_return(20),
    "momentum_120_20": lambda history: history.momentum(120, 20),
    "beta_120d": lambda history: history.beta(120),
    "max_return_20d": lambda history: history.max_return(20),
}
STYLES: tuple[str, ...] = tuple(_RAW)


def _enough(value_DN: _Floats, known_DN: NDArray[np.bool_], window: int) -> _Floats:
    """`value_DN` where at least half of the window is known, else NaN."""
    count_DN = trailing_sum(known_DN.astype(np.float64), window)
    return np.where(count_DN >= window / 2, value_DN, np.nan)
