"""The number a run is judged by: one value per epoch, smoothed within a phase.

    value = epoch_value(evaluation.metrics, config.objective)
    smooth(values_of_this_phase, config.objective)
    best_epoch(values_of_this_phase, phase.epochs, config.objective)

The smoothed value of an epoch is the mean over the last `smoothing_epochs` epochs of its phase,
itself included. A phase is summed up by its best *full window*: `best_epoch` is where that window
ends, the window's mean is the result, the weights of that epoch are the ones kept. Short windows at
the start of a phase do not compete, since a mean over fewer epochs is noisier and wins by luck.
What optimism remains (the best of several overlapping means, in the best of many trials) is for
`evaluation.luck` to deflate, which counts both choices. Each metric has
a t-statistic beside it (`sharpe_t`, `rank_ic_t`): what its days alone say of it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from atft_hpo.config.search_schema import ObjectiveConfig
from atft_hpo.errors import NonFiniteError

_IC_SERIES: tuple[Literal["ic", "rank_ic", "pure_rank_ic"], ...] = (
    "ic",
    "rank_ic",
    "pure_rank_ic",
)


def epoch_value(metrics: Mapping[str, float], config: ObjectiveConfig) -> float:
    """The objective of one epoch, from its validation metrics.

    Raises:
        NonFiniteError: a metric it needs is undefined, as with constant forecasts.
    """
    if config.metric == "weighted":
        return sum(weight * _metric(metrics, name) for name, weight in config.weights.items())
    return _metric(metrics, config.metric)


def smooth(values: Sequence[float], config: ObjectiveConfig) -> float:
    """Mean of the last `smoothing_epochs` of `values`, which are those of one phase so far."""
    window = values[-config.smoothing_epochs :]
    return math.fsum(window) / len(window)


def best_epoch(values: Sequence[float], epochs: int, config: ObjectiveConfig) -> int | None:
    """Epoch with the best full window among `values`; None while no window is full.

    `epochs` is what the phase takes at most: a phase shorter than the window has one candidate,
    its last epoch. The earliest of equals wins.
    """
    first = min(config.smoothing_epochs, epochs) - 1
    candidates = range(first, len(values))
    return max(candidates, key=lambda e: smooth(values[: e + 1], config), default=None)


def ic_series(config: ObjectiveConfig) -> str:
    """The daily series that stands for IC: the objective's own, or the heaviest in a weighted one.

    A Sharpe objective is guarded by plain IC, a weighted one without any IC by rank IC.
    """
    if config.metric == "weighted":
        weights = {name: abs(config.weights.get(name, 0.0)) for name in _IC_SERIES}
        heaviest = max(weights, key=lambda name: weights[name])
        return heaviest if weights[heaviest] else "rank_ic"
    return config.metric if config.metric in _IC_SERIES else "ic"


def objective_series(config: ObjectiveConfig) -> str:
    """The daily series whose mean the objective stands for, by its name in `DailySeries`."""
    return "return_net" if config.metric == "sharpe" else ic_series(config)


def overlap_of(series: str, config: ObjectiveConfig) -> int:
    """Days that a value of a daily series spans: an IC's label its horizon, a return its day."""
    return config.horizon_days if series in _IC_SERIES else 1


def _metric(metrics: Mapping[str, float], name: str) -> float:
    value = metrics.get(name, math.nan)
    if math.isfinite(value):
        return value
    raise NonFiniteError(f"validation {name} is undefined: {_reason(metrics, name)}")


def _reason(metrics: Mapping[str, float], name: str) -> str:
    def count(key: str) -> int:
        return round(metrics.get(key, 0.0))

    if name == "pure_rank_ic" and count("days"):
        return (
            f"{count('pure_days')} of {count('days')} days scored, {count('pure_days_constant')} "
            "with forecasts of nothing but sectors and styles; a day needs 20 stocks more than "
            "sectors and styles: choose another objective.metric for a smaller universe"
        )
    return (
        f"{count('days')} days scored, {count('days_skipped')} skipped, {count('days_constant')} "
        "of them with constant forecasts; lower the rates, or give a longer validation range"
    )
