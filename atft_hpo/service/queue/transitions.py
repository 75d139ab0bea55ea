"""Changes of a slot's row: take, wait, finish, reap. Each runs inside its caller's transaction.

The callers (`leases`, `operator`) hold the row locks and decide which change is due.
"""

from typing import Any

from sqlalchemy import Connection, RowMapping, Update, and_, func, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from atft_hpo.config.search_schema import BudgetConfig
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.database.tables import attempt_table, now, study_table, trial_table
from atft_hpo.service.queue.budget import StudyStop

INTERRUPTED = "INTERRUPTED"
"""Ending of an attempt that was asked to stop; it does not count against budget.max_attempts."""


def take(
    connection: Connection, study: RowMapping, trial: RowMapping, owner: str, seconds: float
) -> None:
    """The slot runs: next token of the study, next attempt, a lease of `seconds`."""
    connection.execute(
        update(study_table)
        .where(study_table.c.name == study["name"])
        .values(last_token=study["last_token"] + 1)
    )
    connection.execute(
        update_trial(trial).values(
            state="running",
            owner=owner,
            token=study["last_token"] + 1,
            attempt=trial["attempt"] + 1,
            lease_expires_at=later(seconds),
            started_at=func.coalesce(trial_table.c.started_at, now()),
        )
    )
    connection.execute(
        attempt_table.insert().values(
            study=study["name"],
            slot=trial["slot"],
            attempt=trial["attempt"] + 1,
            host=owner.partition(":")[0],
        )
    )


def reap(connection: Connection, study: RowMapping) -> None:
    """End attempts whose agent no longer renews its lease."""
    expired = (
        select(trial_table)
        .where(trial_table.c.study == study["name"], trial_table.c.state == "running")
        .where(trial_table.c.lease_expires_at < now())
        .with_for_update(skip_locked=True)
    )
    for trial in connection.execute(expired).mappings().all():
        if _ending_of(connection, trial) == INTERRUPTED:
            end_attempt(connection, trial, INTERRUPTED, "stopped with its agent")
            wait(connection, trial)
        else:
            message = "its agent stopped renewing the lease (killed, or its machine is lost)"
            end_attempt(connection, trial, Outcome.CRASHED.name, message)
            retry_or_finish(connection, trial, Outcome.CRASHED, message)


def retry_or_finish(
    connection: Connection, trial: RowMapping, ending: Outcome, message: str
) -> None:
    """A failed attempt is counted; the trial waits for another while budget.max_attempts allows."""
    stored = select(study_table.c.budget).where(study_table.c.name == trial["study"])
    budget = BudgetConfig.model_validate(connection.execute(stored).scalar_one())
    failures = trial["failures"] + 1
    connection.execute(update_trial(trial).values(failures=failures))
    if trial["cancel_requested"]:
        finish(connection, trial, Outcome.CANCELLED, message, None)
    elif failures < budget.max_attempts:
        wait(connection, trial)
    else:
        finish(connection, trial, ending, f"{message}; attempt {failures} of {failures}", None)


def wait(connection: Connection, trial: RowMapping) -> None:
    """The slot waits to be claimed, unless a person wants it cancelled."""
    if trial["cancel_requested"]:
        finish(connection, trial, Outcome.CANCELLED, "cancelled while it ran", None)
        return
    connection.execute(update_trial(trial).values(state="waiting", lease_expires_at=None))


def finish(
    connection: Connection, trial: RowMapping, outcome: Outcome, message: str, value: float | None
) -> None:
    """The trial is over; `tell` tells Optuna."""
    connection.execute(
        update_trial(trial).values(
            state="finished",
            outcome=outcome.name,
            message=message,
            value=value,
            ended_at=now(),
            lease_expires_at=None,
        )
    )


def end_attempt(connection: Connection, trial: RowMapping, ending: str, message: str) -> None:
    """Close the attempt's row and count its time; a lost one counts until its lease expired."""
    until = func.least(now(), func.coalesce(trial_table.c.lease_expires_at, now()))
    seconds = func.extract("epoch", until - attempt_table.c.started_at)
    where = and_(
        attempt_table.c.study == trial_table.c.study,
        attempt_table.c.slot == trial_table.c.slot,
        attempt_table.c.attempt == trial_table.c.attempt,
    )
    connection.execute(
        update_trial(trial)
        .where(where)
        .values(device_seconds=trial_table.c.device_seconds + func.greatest(seconds, 0.0))
    )
    connection.execute(
        update_attempt(trial["study"], trial["slot"], trial["attempt"]).values(
            ended_at=now(), ending=ending, message=message
        )
    )


def _ending_of(connection: Connection, trial: RowMapping) -> str:
    row = attempt_table.c
    statement = select(row.ending).where(
        row.study == trial["study"], row.slot == trial["slot"], row.attempt == trial["attempt"]
    )
    return str(connection.execute(statement).scalar_one())


def next_waiting(connection: Connection, study: str) -> RowMapping | None:
    """The lowest slot that waits, locked."""
    statement = (
        select(trial_table)
        .where(trial_table.c.study == study, trial_table.c.state == "waiting")
        .order_by(trial_table.c.slot)
        .limit(1)
        .with_for_update()
    )
    return connection.execute(statement).mappings().one_or_none()


def new_slot(connection: Connection, study: str, slot: int) -> RowMapping:
    """A slot that did not exist; the study's row lock keeps the number unique."""
    statement = (
        trial_table.insert()
        .values(study=study, slot=slot, state="waiting", token=0, attempt=0)
        .returning(trial_table)
    )
    return connection.execute(statement).mappings().one()


def note_stop(connection: Connection, study: RowMapping, stop: StudyStop | None) -> None:
    """Keep the reason where status and reports find it."""
    reason = stop.reason if stop else ""
    if reason != study["stop_reason"]:
        connection.execute(
            update(study_table)
            .where(study_table.c.name == study["name"])
            .values(stop_reason=reason)
        )


def later(seconds: float) -> ColumnElement[Any]:
    """So many seconds from now, by the database's clock."""
    return now() + text(f"interval '{seconds:f} seconds'")


def update_trial(trial: RowMapping) -> Update:
    """An UPDATE of this slot's row."""
    row = trial_table.c
    return update(trial_table).where(row.study == trial["study"], row.slot == trial["slot"])


def update_attempt(study: str, slot: int, attempt: int) -> Update:
    """An UPDATE of an attempt that has not ended."""
    row = attempt_table.c
    return update(attempt_table).where(
        row.study == study, row.slot == slot, row.attempt == attempt, row.ended_at.is_(None)
    )
