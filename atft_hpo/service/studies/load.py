"""From the database to `search.records`: a study as plain data, for reports and exports."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from sqlalchemy import Connection, RowMapping, Table, select

from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import (
    AttemptRecord,
    EpochRecord,
    StudyRecord,
    TrialRecord,
    TrialState,
)
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.epoch_rows import read_epochs
from atft_hpo.service.database.tables import attempt_table, study_table, trial_table
from atft_hpo.service.studies.holdout_looks import count_test_reads
from atft_hpo.service.studies.study import open_study


def load_study(database: Database, name: str, daily: bool = True) -> StudyRecord:
    """The study with all its trials that Optuna was asked for, in order of number.

    Args:
        database: where it is.
        name: of the study.
        daily: whether daily series are read too; they are most of the data.

    Raises:
        StudyError: no such study.
    """
    study = open_study(database, name)

    def work(connection: Connection) -> StudyRecord:
        row = connection.execute(select(study_table).where(study_table.c.name == name))
        facts = row.mappings().one()
        attempts = _by_slot(_rows(connection, attempt_table, name))
        epochs = read_epochs(connection, name, daily=daily)
        trials = [row for row in _rows(connection, trial_table, name) if row["number"] is not None]
        return StudyRecord(
            name=name,
            config=study.config,
            panel=str(study.panel),
            target_trials=facts["target_trials"],
            created_at=facts["created_at"],
            stop_reason=facts["stop_reason"],
            test_reads=count_test_reads(connection, name),
            trials=tuple(
                _trial(
                    row,
                    attempts.get(row["slot"], ()),
                    epochs.get(row["number"], ()),
                    str(database.volume.study(name).trial(row["number"]).root),
                )
                for row in sorted(trials, key=lambda row: int(row["number"]))
            ),
        )

    return database.run(work)


def _rows(connection: Connection, table: Table, study: str) -> Sequence[RowMapping]:
    statement = select(table).where(table.c.study == study).order_by(*table.primary_key)
    return connection.execute(statement).mappings().all()


def _by_slot(rows: Iterable[RowMapping]) -> Mapping[int, tuple[AttemptRecord, ...]]:
    found: dict[int, tuple[AttemptRecord, ...]] = {}
    for row in rows:
        record = AttemptRecord(
            attempt=row["attempt"],
            host=row["host"],
            pid=row["pid"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            ending=row["ending"],
            message=row["message"],
        )
        found[row["slot"]] = (*found.get(row["slot"], ()), record)
    return found


def _trial(
    row: RowMapping,
    attempts: tuple[AttemptRecord, ...],
    epochs: tuple[EpochRecord, ...],
    directory: str,
) -> TrialRecord:
    return TrialRecord(
        number=row["number"],
        state=cast(TrialState, row["state"]),
        outcome=Outcome[row["outcome"]] if row["outcome"] else None,
        message=row["message"],
        params=row["params"] or {},
        value=row["value"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        device_seconds=row["device_seconds"],
        attempts=attempts,
        epochs=epochs,
        directory=directory,
    )
