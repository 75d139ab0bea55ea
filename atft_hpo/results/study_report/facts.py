"""What a study's records say in numbers: counts, the best trial's epoch, errors, epochs saved.

    facts = study_facts(study)
    selection = honest_selection(study)

Records in, numbers out; nothing is drawn here. Formulas of selection are those of
`evaluation.luck`; what the records do not allow is None, never 0.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.evaluation.luck import (
    Moments,
    deflated_sharpe,
    expected_max_sharpe,
    moments_of,
    pbo_cscv,
    sharpe_standard_error,
)
from atft_hpo.evaluation.metrics import TRADING_DAYS
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.results.run_epochs import kept_epoch
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import EpochRecord, StudyRecord, TrialRecord

RUNNING = "RUNNING"
WAITING = "WAITING"
LEAST_DAYS = 64
"""Days common to all trials below which the probability of overfitting is not given."""
CANDIDATES = (Outcome.COMPLETE, Outcome.PRUNED)
"""Outcomes of trials that could have been the best: those that a maximum was taken over."""


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


@dataclass(frozen=True)
class Selection:
    """How much of the best Sharpe is luck."""

    sharpe: float
    """Annual net Sharpe of the best trial's daily returns."""
    trials: int
    """Candidates with daily returns, pruned ones included."""
    luck: float | None
    """Annual Sharpe to expect of the best of so many trials without any skill."""
    deflated: float | None
    """Probability that the true Sharpe exceeds `luck` (deflated Sharpe ratio)."""
    overfitting: float | None
    """Probability of backtest overfitting (CSCV) over complete trials."""


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
    """Standard error of the objective of one epoch over days; None for a weighted objective.

    Sharpe: Mertens' formula, annualised. IC and RankIC: mean over its Newey–West t-statistic.
    """
    metric = config.objective.metric
    if metric == "sharpe":
        moments = _moments(epoch.daily)
        return math.sqrt(TRADING_DAYS) * sharpe_standard_error(moments) if moments else None
    mean, t = epoch.metrics.get(metric), epoch.metrics.get(f"{metric}_t")
    return abs(mean / t) if mean is not None and t else None


def honest_selection(study: StudyRecord) -> Selection | None:
    """Deflated Sharpe and overfitting; None without a best trial that has daily returns."""
    best = study.best()
    kept = best_epoch(best, study.config) if best else None
    moments = _moments(kept.daily) if kept else None
    if moments is None:
        return None
    candidates = [t for t in study.trials if t.outcome in CANDIDATES]
    sharpes = [m.sharpe for t in candidates if (m := _moments(_daily(t, study.config)))]
    annual = math.sqrt(TRADING_DAYS)
    luck = deflated = None
    if len(sharpes) > 1:
        variance = float(np.var(sharpes, ddof=1))
        luck = annual * expected_max_sharpe(len(sharpes), variance)
        deflated = deflated_sharpe(moments, len(sharpes), variance)
    return Selection(annual * moments.sharpe, len(sharpes), luck, deflated, _overfitting(study))


def epochs_saved(trial: TrialRecord, config: Config) -> int:
    """Epochs that pruning spared this trial; 0 for any other outcome."""
    if trial.outcome is not Outcome.PRUNED:
        return 0
    if not trial.epochs:
        return len(_plan(trial, config))
    last = trial.epochs[-1]
    return max(last.epochs_total - last.epochs_done, 0)


def finite(series_D: NDArray[np.float32]) -> NDArray[np.float64]:
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


def _daily(trial: TrialRecord, config: Config) -> DailySeries | None:
    epoch = best_epoch(trial, config)
    return epoch.daily if epoch else None


def _moments(daily: DailySeries | None) -> Moments | None:
    days = finite(daily.return_net) if daily else np.empty(0)
    return moments_of(days) if days.size > 1 and np.ptp(days) > 0.0 else None


def _overfitting(study: StudyRecord) -> float | None:
    """CSCV over complete trials that share their days; None with fewer than 2, or too few days."""
    complete = [t for t in study.trials if t.outcome is Outcome.COMPLETE]
    series = [d for t in complete if (d := _daily(t, study.config)) and _moments(d)]
    same = [d for d in series if np.array_equal(d.dates, series[0].dates)]
    if len(same) < 2:
        return None
    returns_DM = np.column_stack([d.return_net for d in same])
    common = int(np.isfinite(returns_DM).all(axis=1).sum())
    return pbo_cscv(returns_DM) if common >= LEAST_DAYS else None
