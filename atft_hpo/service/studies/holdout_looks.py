"""The test range is looked at once; every look is recorded in the study it belongs to."""

import socket

from sqlalchemy import Connection, func, insert, select

from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.tables import study_table, test_read_table


def note_test_read(
    database: Database, study: str, command: str, checkpoint_sha256: str
) -> int | None:
    """Record that `command` is about to read the test range of `study` with a checkpoint.

    Returns how often it has been read, this time included; None when the database has no such
    study, and so nothing is recorded.
    """

    def work(connection: Connection) -> int | None:
        known = select(study_table.c.name).where(study_table.c.name == study)
        if connection.execute(known).scalar() is None:
            return None
        connection.execute(
            insert(test_read_table).values(
                study=study,
                host=socket.gethostname(),
                command=command,
                checkpoint_sha256=checkpoint_sha256,
            )
        )
        return count_test_reads(connection, study)

    return database.run(work)


def count_test_reads(connection: Connection, study: str) -> int:
    """How often the test range of `study` has been read."""
    counted = select(func.count()).where(test_read_table.c.study == study)
    return connection.execute(counted).scalar_one()
