"""How far luck alone would take the best trial of a study, by the objective that was maximised.

    found = best_by_luck(study)
    found.best, found.luck, found.probability

Two choices were made on the same days: the best trial, and in each trial the best epochs. They
amount to an effective number of independent choices, from correlations of daily series: (effective
trials) × (effective epochs of a trial's last phase). The product is exact where epochs are alike,
or trials are, and a little large between. Trials that were ended early count as trials;
correlations are those of trials that ran to the end, under the same losses.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.evaluation.luck import (
    deflated_sharpe,
    effective_trials,
    expected_maximum,
    luck_probability,
    moments_of,
    pbo_cscv,
)
from atft_hpo.evaluation.mean_error import mean_error
from atft_hpo.evaluation.metrics import TRADING_DAYS
from atft_hpo.results.run_epochs import by_phase
from atft_hpo.results.study_report.facts import best_epoch, finite, phase_epochs
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import EpochRecord, StudyRecord, TrialRecord
from atft_hpo.training.phases.objective import objective_series, overlap_of

LEAST_DAYS = 64
"""Days common to all trials below which the probability of overfitting is not given."""
CANDIDATES = (Outcome.COMPLETE, Outcome.PRUNED)
"""Outcomes of trials that could have been the best: those that a maximum was taken over."""
_LEAST_COMMON = 3

Days = NDArray[np.float64]


@dataclass(frozen=True)
class BestByLuck:
    """The best trial beside what luck alone gives the best of as many choices."""

    metric: str
    """The objective: `sharpe`, annual and net, or a correlation."""
    best: float
    """Of the days of the epoch that the best trial kept."""
    trials: int
    """Candidates, pruned ones included."""
    choices: float
    """Effective number of independent choices: trials and epochs."""
    luck: float | None
    """What is to be expected of the best of so many choices without any skill; None for one."""
    probability: float | None
    """That the best of so many choices without any skill does at least as well as `best`."""
    deflated: float | None
    """Deflated Sharpe ratio: how probable a lower Sharpe than `best` would be if the truth were
    `luck`; None for other objectives."""
    overfitting: float | None
    """Share of the splits of CSCV in which the best of one half is below the median in the other,
    over complete trials."""


def best_by_luck(study: StudyRecord) -> BestByLuck | None:
    """None without a best trial that has daily values, or when the objective is a weighted sum."""
    objective = study.config.objective
    best = study.best()
    kept = best_epoch(best, study.config) if best else None
    if kept is None or objective.metric == "weighted":
        return None
    name = objective_series(objective)
    values_D = _days(kept, name)
    found = mean_error(values_D, overlap_of(name, objective))
    if found is None or found.standard_error == 0.0:
        return None
    sharpe = objective.metric == "sharpe"
    scale = math.sqrt(TRADING_DAYS) / float(values_D.std(ddof=1)) if sharpe else 1.0
    trials = sum(t.outcome in CANDIDATES for t in study.trials)
    choices = effective_choices(study, trials)
    several = choices > 1.0
    variance = (found.standard_error * scale) ** 2
    deflated = deflated_sharpe(moments_of(values_D), choices, variance / TRADING_DAYS)
    return BestByLuck(
        metric=objective.metric,
        best=found.mean * scale,
        trials=trials,
        choices=choices,
        luck=expected_maximum(choices, variance) if several else None,
        probability=luck_probability(found.t, choices) if several else None,
        deflated=deflated if sharpe and several else None,
        overfitting=_overfitting(study, name),
    )


def effective_choices(study: StudyRecord, trials: int) -> float:
    """How many independent choices `trials` trials and their last phase's epochs amount to."""
    name = objective_series(study.config.objective)
    complete = [t for t in study.trials if t.outcome is Outcome.COMPLETE and t.epochs]
    ends = [k for t in complete if (k := best_epoch(t, study.config)) and _days(k, name).size]
    per_trial = _effective(_alike([[end] for end in ends], name), trials)
    epochs = [_effective(_alike(_windows(t, study.config), name)) for t in complete]
    return per_trial * (float(np.mean(epochs)) if epochs else 1.0)


def _windows(trial: TrialRecord, config: Config) -> list[list[EpochRecord]]:
    """The full windows of a trial's last phase: what its best was chosen from."""
    last = by_phase(trial.epochs)[-1]
    planned = phase_epochs(trial, config, last[0].phase_name)
    width = min(config.objective.smoothing_epochs, planned)
    return [last[end - width : end] for end in range(width, len(last) + 1)]


def _alike(windows: Sequence[Sequence[EpochRecord]], name: str) -> list[Days]:
    """[D] mean over each window, NaN kept; those that have the first one's days and vary."""
    known = [[epoch.daily for epoch in window if epoch.daily] for window in windows]
    complete = [
        rows for rows, window in zip(known, windows, strict=True) if len(rows) == len(window)
    ]
    found: list[Days] = []
    for rows in complete:
        same = all(np.array_equal(row.dates, complete[0][0].dates) for row in rows)
        mean_D: Days = np.asarray(np.mean([getattr(row, name) for row in rows], 0, np.float64))
        if same and finite(mean_D).size and np.ptp(finite(mean_D)) > 0.0:
            found.append(mean_D)
    return found


def _effective(series: Sequence[Days], count: int | None = None) -> float:
    """`effective_trials`; all count where no two can be compared."""
    fallback = float(len(series) if count is None else count)
    if len(series) < 2:
        return max(fallback, 1.0)
    series_DM = np.column_stack(series)
    common_DM = series_DM[np.isfinite(series_DM).all(axis=1)]
    if len(common_DM) < _LEAST_COMMON or np.any(np.ptp(common_DM, axis=0) == 0.0):
        return max(fallback, 1.0)
    return max(effective_trials(common_DM, count), 1.0)


def _days(epoch: EpochRecord, name: str) -> Days:
    return finite(getattr(epoch.daily, name)) if epoch.daily else np.empty(0)


def _overfitting(study: StudyRecord, name: str) -> float | None:
    """CSCV over complete trials that share their days; None with fewer than 2, or too few days."""
    complete = [t for t in study.trials if t.outcome is Outcome.COMPLETE]
    kept = [[epoch] for t in complete if (epoch := best_epoch(t, study.config))]
    series = _alike(kept, name)
    if len(series) < 2:
        return None
    series_DM = np.column_stack(series)
    common = int(np.isfinite(series_DM).all(axis=1).sum())
    return pbo_cscv(series_DM, ratio=name == "return_net") if common >= LEAST_DAYS else None
