"""Trailing statistics along the day axis, each from its own window's values only.

    sum_DN = trailing_sum(np.nan_to_num(returns_DN), 20)
    high_DN = trailing_max(values_DN, 20)
    volatility_DN = trailing_volatility(returns_DN, 60)

Windows are put together from blocks of doubled length, not from differences of prefix sums: a
window of zeros sums to exactly 0, nothing outside of a window leaves a rounding error in it, and
the result of a day is bitwise the same wherever the series was cut before. `families.trailing` is
for features: it runs over a stock's own rows and wants full windows.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def trailing_sum(values_DN: Floats, window_days: int) -> Floats:
    """[D, N] sum of the last `window_days` days, today's included; days before the first count 0.

    Values must be finite.
    """
    out_DN = np.zeros_like(values_DN)
    block_DN = values_DN.copy()
    length, done = 1, 0
    while done < window_days:
        if window_days & length:
            out_DN[done:] += block_DN[: max(len(block_DN) - done, 0)]
            done += length
        block_DN[length:] += block_DN[:-length].copy()
        length *= 2
    return out_DN


def trailing_mean(values_DN: Floats, known_DN: NDArray[np.bool_], window_days: int) -> Floats:
    """[D, N] mean over the known days of the window; NaN where less than half of it is known.

    Values must be 0 where unknown.
    """
    count_DN = trailing_sum(known_DN.astype(np.float64), window_days)
    mean_DN = trailing_sum(values_DN, window_days) / np.maximum(count_DN, 1.0)
    return np.where(count_DN >= window_days / 2, mean_DN, np.nan)


def trailing_volatility(returns_DN: NDArray[np.floating], window_days: int) -> Floats:
    """[D, N] root mean square of the known returns of the last `window_days` days, with today's.

    Known at day d if the returns are (close[d] / close[d−1] − 1). NaN where less than half of a
    window is known.
    """
    known_DN = np.isfinite(returns_DN)
    square_DN = np.where(known_DN, returns_DN, 0.0).astype(np.float64) ** 2
    return np.sqrt(trailing_mean(square_DN, known_DN, window_days))


def trailing_max(values_DN: Floats, window_days: int) -> Floats:
    """[D, N] largest of the last `window_days` days, today's included.

    −∞ stands for a missing value; values must not be NaN.
    """
    out_DN = values_DN.copy()
    length = 1
    while 2 * length <= window_days:
        np.maximum(out_DN[length:], out_DN[:-length].copy(), out=out_DN[length:])
        length *= 2
    rest = window_days - length
    if rest:
        np.maximum(out_DN[rest:], out_DN[:-rest].copy(), out=out_DN[rest:])
    return out_DN
