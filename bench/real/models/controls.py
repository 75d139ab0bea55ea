"""A random signal: what no forecast scores."""

from typing import Final

import numpy as np

from bench.real.samples import Scores, Task

PERSISTENCE: Final = 0.9
"""Correlation of the signal with itself a day earlier: about that of a learned forecast."""


def random_signal(task: Task) -> Scores:
    """AR(1) noise [D, N, Q], independent between stocks and horizons; NaN where dead."""
    rng = np.random.default_rng([task.seed, task.fold.number])
    stocks = task.panel.alive.shape[1]
    noise_DNQ = rng.standard_normal((len(task.fold.days), stocks, task.horizons))
    for day in range(1, len(noise_DNQ)):
        noise_DNQ[day] *= np.sqrt(1 - PERSISTENCE**2)
        noise_DNQ[day] += PERSISTENCE * noise_DNQ[day - 1]
    alive_DN = task.panel.alive[task.fold.days.start : task.fold.days.stop]
    return np.where(alive_DN[..., None], noise_DNQ, np.nan).astype(np.float32)
