"""Optuna is told here and nowhere else: once per finished trial, after its row says how it ended.

A row is finished first and told later; any agent tells what stands untold, so an agent that dies in
between leaves nothing undone. Telling twice does no harm. A failure is FAIL with words, never a
number; a value that is not finite is never told.
"""

import math

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import Connection, RowMapping, select, update

from atft_hpo.search.outcome import Outcome
from atft_hpo.service.storage import Database
from atft_hpo.service.study import optuna_study
from atft_hpo.service.tables import now, trial_table


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
    if row["trial_id"] is not None:
        _tell(database, view, row)
    return database.run(lambda connection: _note_told(connection, row))


def _tell(database: Database, study: optuna.Study, row: RowMapping) -> None:
    outcome, value = Outcome[row["outcome"]], row["value"]
    state = TrialState.PRUNED if outcome is Outcome.PRUNED else TrialState.FAIL
    if outcome is Outcome.COMPLETE and value is not None and math.isfinite(value):
        state = TrialState.COMPLETE
    values = value if state is TrialState.COMPLETE else None

    def write() -> None:
        if database.optuna_storage.get_trial(row["trial_id"]).state.is_finished():
            return
        attributes = {"outcome": outcome.name, "message": row["message"], "slot": row["slot"]}
        for key, content in attributes.items():
            database.optuna_storage.set_trial_user_attr(row["trial_id"], key, content)
        study.tell(row["number"], values, state=state)

    try:
        database.patiently(write)
    except (UpdateFinishedTrialError, ValueError):
        # Another agent, or a person in the dashboard, was faster.
        if not database.optuna_storage.get_trial(row["trial_id"]).state.is_finished():
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
