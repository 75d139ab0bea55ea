"""What a study's records say in numbers: counts, the best trial's epoch, errors, epochs saved.

    facts = study_facts(study)

Records in, numbers out; nothing is drawn here. What the records do not allow is None, never 0. How
much of the best is luck is said by `best_by_luck`.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.evaluation.luck import serial_sharpe_error
from atft_hpo.evaluation.mean_error import mean_error
from atft_hpo.evaluation.metrics import TRADING_DAYS
from atft_hpo.results.run_epochs import kept_epoch
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import EpochRecord, StudyRecord, TrialRecord
from atft_hpo.training.phases.objective import objective_series, overlap_of

RUNNING = "RUNNING"
WAITING = "WAITING"


@dataclass(frozen=True)
class StudyFacts:
    """Numbers a report's head is made of."""

    counts: dict[str, int]
    """Trials by outcome's name, RUNNING or WAITING; most frequent first."""
    best: TrialRecord | None
    best_epoch: EpochRecord | None
    """The epoch whose weights the best trial kept."""
    standard_error: float | None
    """Of the best value."""
    epochs_run: int
    """Epochs of all trials, those taken over included."""
    epochs_shared: int
    """Epochs that a trial took over from another that had trained the same."""
    epochs_saved: int
    """Epochs that pruning spared."""
    seconds_saved: float
    """Estimate: each epoch saved costs the study's mean time of an epoch of its phase."""
    device_seconds: float


def study_facts(study: StudyRecord) -> StudyFacts:
    """The numbers of a study."""
    best = study.best()
    kept = best_epoch(best, study.config) if best else None
    return StudyFacts(
        counts=dict(Counter(status_of(t) for t in study.trials).most_common()),
        best=best,
        best_epoch=kept,
        standard_error=standard_error(kept, study.config) if kept else None,
        epochs_run=sum(len(t.epochs) for t in study.trials),
        epochs_shared=sum(e.shared for t in study.trials for e in t.epochs),
        epochs_saved=sum(epochs_saved(t, study.config) for t in study.trials),
        seconds_saved=_seconds_saved(study),
        device_seconds=sum(t.device_seconds for t in study.trials),
    )


def status_of(trial: TrialRecord) -> str:
    """An outcome's name, RUNNING or WAITING."""
    if trial.outcome is not None:
        return trial.outcome.name
    return WAITING if trial.state == "waiting" else RUNNING


def phase_epochs(trial: TrialRecord | None, config: Config, name: str) -> int:
    """Epochs phase `name` takes at most, in the study or under the trial's own parameters."""
    searched = trial.params.get(f"phases.{name}.epochs") if trial else None
    return int(getattr(config.phases, name).epochs if searched is None else searched)


def best_epoch(trial: TrialRecord, config: Config) -> EpochRecord | None:
    """The epoch that counts in the trial's last phase; None before its first epoch."""
    if not trial.epochs:
        return None
    last = trial.epochs[-1]
    own = [e for e in trial.epochs if e.phase == last.phase]
    return kept_epoch(own, phase_epochs(trial, config, last.phase_name), config.objective)


def standard_error(epoch: EpochRecord, config: Config) -> float | None:
    """Standard error of the objective of one epoch over its days, which may depend on each other.

    None for a weighted objective, without daily values, and where they do not vary.
    """
    objective = config.objective
    if objective.metric == "weighted" or epoch.daily is None:
        return None
    series = objective_series(objective)
    days = finite(getattr(epoch.daily, series))
    if days.size < 2 or np.ptp(days) == 0.0:
        return None
    if objective.metric == "sharpe":
        return math.sqrt(TRADING_DAYS) * serial_sharpe_error(days)
    found = mean_error(days, overlap_of(series, objective))
    return found.standard_error if found else None


def epochs_saved(trial: TrialRecord, config: Config) -> int:
    """Epochs that pruning spared this trial; 0 for any other outcome."""
    if trial.outcome is not Outcome.PRUNED:
        return 0
    if not trial.epochs:
        return len(_plan(trial, config))
    last = trial.epochs[-1]
    return max(last.epochs_total - last.epochs_done, 0)


def finite(series_D: NDArray[np.floating]) -> NDArray[np.float64]:
    """The days that are numbers."""
    days = np.asarray(series_D, dtype=np.float64)
    return days[np.isfinite(days)]


def _plan(trial: TrialRecord, config: Config) -> list[int]:
    """The phase number of each epoch the trial takes when nothing ends it early."""
    phases = enumerate(PHASE_NAMES)
    return [p for p, name in phases for _ in range(phase_epochs(trial, config, name))]


def _seconds_saved(study: StudyRecord) -> float:
    times: dict[int, list[float]] = {}
    for epoch in (e for t in study.trials for e in t.epochs):
        times.setdefault(epoch.phase, []).append(epoch.seconds)
    means = {phase: float(np.mean(seconds)) for phase, seconds in times.items()}
    overall = float(np.mean(list(means.values()))) if means else 0.0
    total = 0.0
    for trial in study.trials:
        saved = epochs_saved(trial, study.config)
        missing = _plan(trial, study.config)[-saved:] if saved else []
        total += sum(means.get(phase, overall) for phase in missing)
    return total
