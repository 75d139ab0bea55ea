"""Who works on what: numbered slots, leases and fencing tokens.

A study of N trials has slots 0 … N−1. `claim` gives an agent one of them, in one transaction under
the study's row lock, so N trials asked for are N trials run whoever races. A claim comes with a
lease, which its agent renews, and a token, which grows with every claim: all later writes name the
token, and one that is no longer current changes nothing. Whoever claims next reaps what expired.

    waiting ──claim──▶ running ──conclude──▶ finished
       ▲                  │
       └──requeue, reap───┘

Not here: Optuna. It is asked after the claim (`ask`) and told after the conclusion (`tell`).
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select, text

from atft_hpo.search.outcome import Outcome
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.fencing import Lease, held
from atft_hpo.service.database.tables import trial_table
from atft_hpo.service.queue import transitions
from atft_hpo.service.queue.budget import StudyStop, budget_stop
from atft_hpo.service.queue.operator import lock_study
from atft_hpo.service.queue.transitions import INTERRUPTED


@dataclass(frozen=True)
class LeaseTimes:
    """Rhythm of the service, in seconds."""

    lease: float = 30.0
    """A lease not renewed for so long is anybody's."""
    renew: float = 5.0
    poll: float = 0.25
    """An agent looks at its processes so often."""
    idle: float = 1.0
    """An agent with room but nothing to claim asks again so often."""
    grace: float = 60.0
    """From SIGTERM to SIGKILL."""


@dataclass(frozen=True)
class Claim:
    """A slot to work on."""

    lease: Lease
    attempt: int
    """Number of the process to start, from 1."""
    trial_id: int | None
    """Optuna's; None when the slot has not been asked yet."""
    number: int | None
    spent_seconds: float
    """What earlier attempts took."""


@dataclass(frozen=True)
class Idle:
    """Nothing to claim now."""

    over: bool
    """Nothing runs anywhere either: the agents may go home."""
    stop: StudyStop | None
    """Why no new trial starts; None when all have been started."""


@dataclass(frozen=True)
class Renewal:
    """What a renewal found."""

    held: frozenset[Lease]
    cancelled: frozenset[Lease]
    """Held, but a person wants the trial cancelled."""
    stop_mode: str
    """`now` asks agents to interrupt what they run."""


_RENEW = text("""
    WITH hurried AS (
        SELECT set_config('synchronous_commit', 'off', true)
    ), renewed AS (
        UPDATE atft_trial t
        SET lease_expires_at = clock_timestamp() + make_interval(secs => :seconds)
        FROM unnest(CAST(:slots AS integer[]), CAST(:tokens AS bigint[])) AS held (slot, token)
        WHERE t.study = :study AND t.slot = held.slot AND t.token = held.token
          AND t.state = 'running'
        RETURNING t.slot, t.token, t.cancel_requested
    )
    SELECT stop_mode, slot, token, cancel_requested
    FROM hurried CROSS JOIN atft_study LEFT JOIN renewed ON true WHERE name = :study
""")
"""A row without a slot when none is held; it tells the stop mode.

Its commit does not wait for the disk: a server that falls down forgets less than a second of
renewals, and what they had extended runs on from the one before.
"""


def claim(database: Database, study: str, owner: str, times: LeaseTimes) -> Claim | Idle:
    """A slot for agent `owner`: one that waits to be continued, else a new one within the budget.

    `owner` is unique over all agents that ever lived and begins with its host and a colon.

    Raises:
        StudyError: no such study.
    """
    return database.run(lambda connection: _claim(connection, study, owner, times))


def renew(database: Database, leases: Collection[Lease], times: LeaseTimes) -> Renewal:
    """Extend `leases` (all of one study)."""
    study = next(iter(leases)).study
    values = {
        "study": study,
        "slots": [lease.slot for lease in leases],
        "tokens": [lease.token for lease in leases],
        "seconds": times.lease,
    }
    rows = database.run_single(lambda connection: connection.execute(_RENEW, values).all())
    flags = {
        Lease(study, row.slot, row.token): row.cancel_requested
        for row in rows
        if row.slot is not None
    }
    cancelled = frozenset(lease for lease, flag in flags.items() if flag)
    return Renewal(frozenset(flags), cancelled, rows[0].stop_mode)


def conclude(
    database: Database, lease: Lease, ending: Outcome, message: str, value: float | None = None
) -> bool:
    """End the attempt; the trial is finished, or waits for another attempt if that may help.

    Returns False, and changes nothing, when the lease is lost.
    """

    def work(connection: Connection) -> bool:
        trial = _locked(connection, lease)
        if trial is None:
            return False
        transitions.end_attempt(connection, trial, ending.name, message)
        if ending.retryable:
            transitions.retry_or_finish(connection, trial, ending, message)
        else:
            transitions.finish(connection, trial, ending, message, value)
        return True

    return database.run(work)


def requeue(database: Database, lease: Lease, message: str) -> bool:
    """Give the slot back, to be continued by anyone; does not count as a failed attempt."""

    def work(connection: Connection) -> bool:
        trial = _locked(connection, lease)
        if trial is None:
            return False
        transitions.end_attempt(connection, trial, INTERRUPTED, message)
        transitions.wait(connection, trial)
        return True

    return database.run(work)


def note_started(database: Database, lease: Lease, attempt: int, pid: int) -> None:
    """Record the trial process of an attempt."""
    statement = transitions.update_attempt(lease.study, lease.slot, attempt).values(pid=pid)
    database.run(lambda connection: connection.execute(statement))


def note_interrupted(database: Database, lease: Lease, attempt: int, message: str) -> None:
    """A trial process says that it stopped because it was asked to.

    Its agent requeues the slot; if that is dead, the reaper sees that nothing failed.
    """
    statement = transitions.update_attempt(lease.study, lease.slot, attempt).values(
        ending=INTERRUPTED, message=message
    )
    database.run(lambda connection: connection.execute(statement))


def _claim(connection: Connection, study: str, owner: str, times: LeaseTimes) -> Claim | Idle:
    row = lock_study(connection, study)
    transitions.reap(connection, row)
    if row["stop_mode"]:
        return _idle(connection, study, StudyStop(row["stop_reason"]))
    trial = transitions.next_waiting(connection, study)
    if trial is None:
        count = _count(connection, study)
        all_started = count >= row["target_trials"]
        stop = None if all_started else budget_stop(connection, row)
        transitions.note_stop(connection, row, stop)
        if all_started or stop:
            return _idle(connection, study, stop)
        trial = transitions.new_slot(connection, study, count)
    transitions.take(connection, row, trial, owner, times.lease)
    lease = Lease(study, trial["slot"], row["last_token"] + 1)
    return Claim(
        lease=lease,
        attempt=trial["attempt"] + 1,
        trial_id=trial["trial_id"],
        number=trial["number"],
        spent_seconds=trial["device_seconds"],
    )


def _count(connection: Connection, study: str, *conditions: ColumnElement[bool]) -> int:
    statement = select(func.count()).where(trial_table.c.study == study, *conditions)
    return connection.execute(statement).scalar_one()


def _idle(connection: Connection, study: str, stop: StudyStop | None) -> Idle:
    running = _count(connection, study, trial_table.c.state == "running")
    return Idle(over=running == 0, stop=stop)


def _locked(connection: Connection, lease: Lease) -> RowMapping | None:
    """The slot's row, locked; None when the lease is lost."""
    statement = select(trial_table).where(*held(lease)).with_for_update()
    return connection.execute(statement).mappings().one_or_none()
