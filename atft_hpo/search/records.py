"""A study as plain data, read by `service.studies.load`, used by reports and exports.

Nothing here touches a database, so that reports can be built from records made by a test.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from atft_hpo.config.schema import Config
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.search.outcome import Outcome

TrialState = Literal["waiting", "running", "finished"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch as it stands in the database (the row of its latest attempt)."""

    step: int
    phase: int
    phase_name: str
    epoch: int
    attempt: int
    value: float
    smoothed: float
    metrics: dict[str, float]
    train: dict[str, float]
    modules: tuple[str, ...]
    seconds: float
    samples_per_second: float
    eta_seconds: float
    epochs_done: int
    epochs_total: int
    shared: bool = False
    """Taken over from another run that had trained the same."""
    daily: DailySeries | None = field(default=None, repr=False)


@dataclass(frozen=True)
class EpochSeries:
    """What a pruner compares of a peer's epoch."""

    step: int
    daily: DailySeries = field(repr=False)


@dataclass(frozen=True)
class AttemptRecord:
    """One process of a trial."""

    attempt: int
    host: str
    pid: int
    started_at: datetime
    ended_at: datetime | None
    ending: str
    """An Outcome's or Ending's name, or "" while it runs."""
    message: str


@dataclass(frozen=True)
class TrialRecord:
    """One trial."""

    number: int
    """Optuna's number."""
    state: TrialState
    outcome: Outcome | None
    message: str
    """Why it ended so; empty while it runs."""
    params: dict[str, Any]
    """Searched configuration keys and their values."""
    value: float | None
    """The objective; None unless COMPLETE."""
    started_at: datetime | None
    ended_at: datetime | None
    device_seconds: float
    attempts: tuple[AttemptRecord, ...]
    epochs: tuple[EpochRecord, ...]
    """In order of step."""
    directory: str
    """The trial's directory in the volume."""


@dataclass(frozen=True)
class StudyRecord:
    """One study."""

    name: str
    config: Config
    panel: str
    """Path of the panel store."""
    target_trials: int
    created_at: datetime
    stop_reason: str
    """Why no new trial starts although the budget is not used up; empty otherwise."""
    trials: tuple[TrialRecord, ...]
    test_reads: int = 0
    """How often the test range has been read."""

    def best(self) -> TrialRecord | None:
        """The COMPLETE trial with the largest value."""
        done = [t for t in self.trials if t.outcome is Outcome.COMPLETE and t.value is not None]
        return max(done, key=lambda t: t.value or 0.0, default=None)
