"""Daily series whose true mean is 0, as the days of forecasts depend on each other: [R, D] each.

overlapped(rng, replications=2000, days=448, horizon=20, persistence=0.9)
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]
Process = Callable[[np.random.Generator, int, int, int, float], Floats]
_BURN_IN: Final = 400
_STOCKS: Final = 12
_PERSISTENT_SHARE: Final = 0.2


def overlapped(
    rng: np.random.Generator, replications: int, days: int, horizon: int, persistence: float
) -> Floats:
    """Sums over `horizon` days of innovations that are an autoregression of order 1."""
    return _sums(_autoregression(rng, replications, days + horizon - 1, persistence), horizon)


def partly_persistent(
    rng: np.random.Generator, replications: int, days: int, horizon: int, persistence: float
) -> Floats:
    """Sums of innovations of which a fifth of the variance persists: skill below daily noise."""
    shape = (replications, days + horizon - 1)
    slow_RD = _autoregression(rng, *shape, persistence) * np.sqrt(1.0 - persistence**2)
    noise_RD = rng.standard_normal(shape)
    share = _PERSISTENT_SHARE
    mixed_RD: Floats = share**0.5 * slow_RD + (1.0 - share) ** 0.5 * noise_RD
    return _sums(mixed_RD, horizon)


def persistent_scores(
    rng: np.random.Generator, replications: int, days: int, horizon: int, persistence: float
) -> Floats:
    """Scores that persist, times labels of `horizon` days that they know nothing of."""
    found_RD = np.zeros((replications, days))
    for _ in range(_STOCKS):
        label_RD = _sums(rng.standard_normal((replications, days + horizon - 1)), horizon)
        found_RD += _autoregression(rng, replications, days, persistence) * label_RD
    return found_RD


def with_noise(
    rng: np.random.Generator, replications: int, days: int, horizon: int, persistence: float
) -> Floats:
    """Overlapping sums and, of a fifth of the variance, noise that no two days share."""
    sums_RD = overlapped(rng, replications, days, horizon, persistence)
    return np.asarray(sums_RD + 0.5 * sums_RD.std() * rng.standard_normal(sums_RD.shape))


PROCESSES: Final[dict[str, Process]] = {
    "overlapped": overlapped,
    "partly persistent": partly_persistent,
    "persistent scores": persistent_scores,
    "with noise": with_noise,
}


def _autoregression(
    rng: np.random.Generator, replications: int, days: int, persistence: float
) -> Floats:
    shocks_RD = rng.standard_normal((replications, days + _BURN_IN))
    return np.asarray(lfilter([1.0], [1.0, -persistence], shocks_RD, axis=1)[:, _BURN_IN:])


def _sums(values_RD: Floats, horizon: int) -> Floats:
    total_RD = np.cumsum(np.pad(values_RD, ((0, 0), (1, 0))), axis=1)
    return np.asarray(total_RD[:, horizon:] - total_RD[:, :-horizon])
