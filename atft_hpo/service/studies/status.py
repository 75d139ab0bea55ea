"""How a study stands now: a few light queries, for the live view and `atft-hpo status`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from atft_hpo.errors import StudyError
from atft_hpo.search.records import EpochRecord
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.epoch_rows import decode_epoch
from atft_hpo.service.studies.holdout_looks import count_test_reads

OUTCOME_ORDER = ("COMPLETE", "PRUNED")
"""Outcomes that are no failures, as they are listed."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that runs now."""

    number: int | None
    """None until Optuna has been asked."""
    attempt: int
    host: str
    running_seconds: float
    """Of this attempt."""
    epoch: EpochRecord | None
    """The last epoch finished, without its daily series."""
    epoch_age_seconds: float
    """How long ago that was."""

    @property
    def eta_seconds(self) -> float | None:
        """Expected time to the end of the trial."""
        if self.epoch is None:
            return None
        return max(0.0, self.epoch.eta_seconds - self.epoch_age_seconds)


@dataclass(frozen=True)
class StudyStatus:
    """A study in numbers."""

    name: str
    target_trials: int
    waiting: int
    """Trials that were interrupted or failed an attempt and wait to be continued."""
    outcomes: dict[str, int]
    """Finished trials by outcome's name; those that are no failures come first."""
    running: tuple[RunningTrial, ...]
    best_number: int | None
    best_value: float | None
    stop_reason: str
    created_at: datetime
    device_hours: float
    test_reads: int = 0
    """How often the test range has been read."""

    @property
    def finished(self) -> int:
        """Finished trials, whatever their outcome."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """Finished trials that are neither complete nor pruned."""
        return sum(n for name, n in self.outcomes.items() if name not in OUTCOME_ORDER)


def read_status(database: Database, study: str) -> StudyStatus:
    """How `study` stands.

    Raises:
        StudyError: no such study; the text names those there are.
    """
    found = database.run(lambda connection: _read(connection, study))
    if found is None:
        names = ", ".join(s.name for s in read_all(database)) or "none yet"
        raise StudyError(f"no study named {study!r} in this database; known: {names}")
    return found


def read_all(database: Database) -> list[StudyStatus]:
    """Every study, the newest first."""

    def work(connection: Connection) -> list[StudyStatus]:
        names = connection.execute(text("SELECT name FROM atft_study ORDER BY created_at DESC"))
        found = [_read(connection, name) for name in names.scalars().all()]
        return [status for status in found if status is not None]

    return database.run(work)


def as_json(status: StudyStatus) -> dict[str, Any]:
    """JSON values of a status."""
    running = [
        {
            "number": trial.number,
            "attempt": trial.attempt,
            "host": trial.host,
            "running_seconds": round(trial.running_seconds, 1),
            "phase": trial.epoch.phase_name if trial.epoch else None,
            "epochs_done": trial.epoch.epochs_done if trial.epoch else 0,
            "epochs_total": trial.epoch.epochs_total if trial.epoch else None,
            "metrics": _finite(trial.epoch.metrics) if trial.epoch else {},
            "eta_seconds": None if trial.eta_seconds is None else round(trial.eta_seconds, 1),
        }
        for trial in status.running
    ]
    plain = {key: value for key, value in asdict(status).items() if key != "running"}
    return {
        **plain,
        "finished": status.finished,
        "failed": status.failed,
        "created_at": status.created_at.isoformat(),
        "device_hours": round(status.device_hours, 4),
        "running": running,
    }


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    return {key: value if value == value else None for key, value in metrics.items()}


_STUDY = """
SELECT s.name, s.target_trials, s.stop_reason, s.created_at,
       count(t.slot) FILTER (WHERE t.state = 'waiting') AS waiting,
       coalesce(sum(t.device_seconds), 0) / 3600 AS device_hours
FROM atft_study s LEFT JOIN atft_trial t ON t.study = s.name
WHERE s.name = :study GROUP BY s.name
"""
_OUTCOMES = """
SELECT outcome, count(*) AS count FROM atft_trial
WHERE study = :study AND state = 'finished' GROUP BY outcome
"""
_BEST = """
SELECT number, value FROM atft_trial WHERE study = :study AND outcome = 'COMPLETE'
ORDER BY value DESC, number LIMIT 1
"""
_RUNNING = """
SELECT t.number, t.attempt, a.host,
       extract(epoch FROM clock_timestamp() - a.started_at)::float AS running_seconds,
       e.step, e.attempt AS epoch_attempt, e.facts,
       coalesce(extract(epoch FROM clock_timestamp() - e.recorded_at), 0)::float AS age
FROM atft_trial t
JOIN atft_attempt a ON (a.study, a.slot, a.attempt) = (t.study, t.slot, t.attempt)
LEFT JOIN LATERAL (
    SELECT * FROM atft_epoch e WHERE e.study = t.study AND e.number = t.number
    ORDER BY e.step DESC LIMIT 1
) e ON true
WHERE t.study = :study AND t.state = 'running' ORDER BY t.slot
"""


def _read(connection: Connection, study: str) -> StudyStatus | None:
    def rows(query: str) -> Sequence[RowMapping]:
        return connection.execute(text(query), {"study": study}).mappings().all()

    found = rows(_STUDY)
    if not found:
        return None
    facts, best = found[0], rows(_BEST)
    return StudyStatus(
        name=study,
        target_trials=facts["target_trials"],
        waiting=facts["waiting"],
        outcomes=_ordered({row["outcome"]: row["count"] for row in rows(_OUTCOMES)}),
        running=tuple(_running(row) for row in rows(_RUNNING)),
        best_number=best[0]["number"] if best else None,
        best_value=best[0]["value"] if best else None,
        stop_reason=facts["stop_reason"],
        created_at=facts["created_at"],
        device_hours=float(facts["device_hours"]),
        test_reads=count_test_reads(connection, study),
    )


def _ordered(counts: dict[str, int]) -> dict[str, int]:
    names = [n for n in OUTCOME_ORDER if n in counts]
    return {n: counts[n] for n in [*names, *sorted(counts.keys() - set(names))]}


def _running(row: RowMapping) -> RunningTrial:
    return RunningTrial(
        number=row["number"],
        attempt=row["attempt"],
        host=row["host"],
        running_seconds=row["running_seconds"],
        epoch=decode_epoch(row) if row["facts"] is not None else None,
        epoch_age_seconds=row["age"],
    )
