"""What people ask of a study: cancel a trial, stop, go on. Agents find it in the rows."""

from sqlalchemy import Connection, RowMapping, and_, select, update

from atft_hpo.config.shell import shell_command
from atft_hpo.errors import StudyError
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.tables import study_table, trial_table
from atft_hpo.service.queue.transitions import finish

STOPPED = "stopped by a person"
"""Why a study stops when someone says so, as its row begins; resuming it continues it."""


def request_cancel(database: Database, study: str, number: int) -> str:
    """Cancel trial `number`: at once when it waits, else at its next epoch.

    Returns its state before.

    Raises:
        StudyError: no such trial, or it is finished.
    """

    def work(connection: Connection) -> str:
        where = and_(trial_table.c.study == study, trial_table.c.number == number)
        trial = (
            connection.execute(select(trial_table).where(where).with_for_update())
            .mappings()
            .one_or_none()
        )
        if trial is None:
            status = shell_command("status", study)
            raise StudyError(f"study {study!r} has no trial {number}; see {status}")
        if trial["state"] == "finished":
            raise StudyError(f"trial {number} of {study!r} is finished: {trial['outcome']}")
        connection.execute(update(trial_table).where(where).values(cancel_requested=True))
        if trial["state"] == "waiting":
            finish(connection, trial, Outcome.CANCELLED, "cancelled while it waited", None)
        return str(trial["state"])

    return database.run(work)


def request_stop(database: Database, study: str, mode: str) -> None:
    """Start no new trial (`drain`), interrupt the running ones too (`now`), or go on again ('')."""
    reason = STOPPED if mode else ""

    def work(connection: Connection) -> None:
        lock_study(connection, study)
        connection.execute(
            update(study_table)
            .where(study_table.c.name == study)
            .values(stop_mode=mode, stop_reason=reason)
        )

    database.run(work)


def lock_study(connection: Connection, study: str) -> RowMapping:
    """The row of `study` in `atft_study`, locked until the transaction ends.

    Raises:
        StudyError: no such study; the text names those there are.
    """
    statement = select(study_table).where(study_table.c.name == study).with_for_update()
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        names = connection.execute(select(study_table.c.name).order_by("name")).scalars().all()
        start = shell_command("run", "STUDY.toml")
        known = f"known: {', '.join(names)}" if names else f"{start} starts one"
        raise StudyError(f"no study named {study!r} in this database; {known}")
    return row
