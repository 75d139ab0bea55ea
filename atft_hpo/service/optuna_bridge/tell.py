"""Optuna is told here and nowhere else: once per finished trial, after its row says how it ended.

A row is finished first and told later; any agent tells what stands untold, so an agent that dies in
between leaves nothing undone. The row is locked while Optuna is told, and marked as told in the
same transaction. A failure is FAIL with words, never a number; a value that is not finite is never
told.
"""

import math

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from sqlalchemy import Connection, RowMapping, select, update

from atft_hpo.search.outcome import Outcome
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.tables import now, trial_table
from atft_hpo.service.studies.study import optuna_study


def tell_finished(database: Database, study: str) -> list[RowMapping]:
    """Tell Optuna of every finished trial of `study` it does not know of.

    Returns the rows of those that this call, and no other agent's, has told.
    """
    rows = database.run(lambda connection: _untold(connection, study))
    if not rows:
        return []
    view = optuna_study(database, study)
    return [row for row in rows if _tell_once(database, view, row)]


def _tell_once(database: Database, view: optuna.Study, row: RowMapping) -> bool:
    def work(connection: Connection) -> bool:
        first = _note_told(connection, row)
        if first and row["trial_id"] is not None:
            _tell(database.optuna_storage, view, row)
        return first

    return database.run(work)


def _tell(storage: BaseStorage, study: optuna.Study, row: RowMapping) -> None:
    outcome, value = Outcome[row["outcome"]], row["value"]
    state = TrialState.PRUNED if outcome is Outcome.PRUNED else TrialState.FAIL
    if outcome is Outcome.COMPLETE and value is not None and math.isfinite(value):
        state = TrialState.COMPLETE
    try:
        for key, content in {"outcome": outcome.name, "message": row["message"]}.items():
            storage.set_trial_user_attr(row["trial_id"], key, content)
        study.tell(row["number"], value if state is TrialState.COMPLETE else None, state=state)
    except (UpdateFinishedTrialError, ValueError):
        # A person in the dashboard was faster, or this is the second time.
        if not storage.get_trial(row["trial_id"]).state.is_finished():
            raise


def _untold(connection: Connection, study: str) -> list[RowMapping]:
    row = trial_table.c
    statement = (
        select(trial_table)
        .where(row.study == study, row.state == "finished", row.told_at.is_(None))
        .order_by(row.ended_at)
    )
    return list(connection.execute(statement).mappings().all())


def _note_told(connection: Connection, row: RowMapping) -> bool:
    trial = trial_table.c
    statement = (
        update(trial_table)
        .where(trial.study == row["study"], trial.slot == row["slot"], trial.told_at.is_(None))
        .values(told_at=now())
    )
    return connection.execute(statement).rowcount == 1
