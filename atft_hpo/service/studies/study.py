"""A study in the database: created once, continued ever after, refused when it has changed.

    study = create_or_continue(database, dated(config, panel), panel_path, fingerprint, record)
    study = open_study(database, "quickstart")

What makes trials comparable is fixed at creation: the space, the panel, the dates of the split, and
every setting outside `budget`. A budget may change with every start; the number of trials is only
ever raised.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import DuplicatedStudyError
from sqlalchemy import Connection, RowMapping, select, update

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import BudgetConfig
from atft_hpo.config.toml import dump_config, parse_config
from atft_hpo.errors import VolumeError
from atft_hpo.paths import Volume
from atft_hpo.search.space import space_sha256
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.tables import study_table
from atft_hpo.service.queue.operator import lock_study
from atft_hpo.service.studies.changes import refuse_changes

if TYPE_CHECKING:
    from atft_hpo.data.store.panel_record import PanelRecord  # it brings torch along


@dataclass(frozen=True)
class OpenStudy:
    """A study that exists."""

    name: str
    optuna_id: int
    config: Config
    """As created, with the current budget."""
    panel: Path
    panel_fingerprint: str
    target_trials: int
    stop_mode: str


def create_or_continue(
    database: Database, config: Config, panel: Path, fingerprint: str, record: "PanelRecord"
) -> OpenStudy:
    """The study named by `config.study.name`, made if it is new. Its file lands in the volume.

    `config` has its split as dates; these, and `record`, stay with the study when the data grow.
    A continued study gets the budget of `config` (the larger number of trials) and may start
    trials again if a person had stopped it.

    Raises:
        StudyError: a study of that name has another space, panel or setting.
    """
    name = config.study.name
    with database.ask_lock(name):
        optuna_id = database.patiently(lambda: _optuna_study(database, name))

        def work(connection: Connection) -> OpenStudy:
            row = _find(connection, name)
            if row is None:
                _insert(connection, database.volume, config, optuna_id, panel, fingerprint, record)
            else:
                refuse_changes(row, config, fingerprint, record)
                _continue(connection, row, config.budget)
            return _opened(lock_study(connection, name), database.volume)

        study = database.run(work)
    _write_config(database.volume, study)
    return study


def resume_study(database: Database, name: str, trials: int | None = None) -> OpenStudy:
    """The study called `name`, allowed to start trials again, up to `trials` in total if larger.

    Raises:
        StudyError: there is none; the text names those there are.
    """

    def work(connection: Connection) -> OpenStudy:
        row = lock_study(connection, name)
        budget = BudgetConfig.model_validate(row["budget"])
        _continue(connection, row, budget.model_copy(update={"trials": trials or budget.trials}))
        return _opened(lock_study(connection, name), database.volume)

    return database.run(work)


def open_study(database: Database, name: str) -> OpenStudy:
    """The study called `name`.

    Raises:
        StudyError: there is none; the text names those there are.
    """
    return database.run(lambda c: _opened(lock_study(c, name), database.volume))


def optuna_study(
    database: Database,
    name: str,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
    storage: optuna.storages.BaseStorage | None = None,
) -> optuna.Study:
    """Optuna's view of the study. Without a sampler it may be told and reported to, not asked."""
    return database.patiently(
        lambda: optuna.Study(
            name,
            storage or database.optuna_storage,
            sampler=sampler or optuna.samplers.RandomSampler(),
            pruner=pruner or optuna.pruners.NopPruner(),
        )
    )


def _optuna_study(database: Database, name: str) -> int:
    storage = database.optuna_storage
    try:
        return storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], name)
    except DuplicatedStudyError:
        return storage.get_study_id_from_name(name)


def _find(connection: Connection, name: str) -> RowMapping | None:
    statement = select(study_table).where(study_table.c.name == name).with_for_update()
    return connection.execute(statement).mappings().one_or_none()


def _insert(
    connection: Connection,
    volume: Volume,
    config: Config,
    optuna_id: int,
    panel: Path,
    fingerprint: str,
    record: "PanelRecord",
) -> None:
    inside = panel.is_relative_to(volume.root)
    connection.execute(
        study_table.insert().values(
            name=config.study.name,
            optuna_id=optuna_id,
            config=dump_config(config),
            budget=config.budget.model_dump(mode="json"),
            space_sha256=space_sha256(config),
            panel=str(panel.relative_to(volume.root) if inside else panel),
            panel_fingerprint=fingerprint,
            panel_record=record.model_dump(mode="json"),
            target_trials=config.budget.trials,
        )
    )


def _continue(connection: Connection, row: RowMapping, budget: BudgetConfig) -> None:
    target = max(row["target_trials"], budget.trials)
    values = budget.model_copy(update={"trials": target}).model_dump(mode="json")
    connection.execute(
        update(study_table)
        .where(study_table.c.name == row["name"])
        .values(target_trials=target, budget=values, stop_mode="", stop_reason="")
    )


def _opened(row: RowMapping, volume: Volume) -> OpenStudy:
    config = parse_config(row["config"], f"study {row['name']}")
    budget = BudgetConfig.model_validate(row["budget"])
    return OpenStudy(
        name=row["name"],
        optuna_id=row["optuna_id"],
        config=config.model_copy(update={"budget": budget}),
        panel=volume.root / row["panel"],
        panel_fingerprint=row["panel_fingerprint"],
        target_trials=row["target_trials"],
        stop_mode=row["stop_mode"],
    )


def _write_config(volume: Volume, study: OpenStudy) -> None:
    path = volume.study(study.name).config
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dump_config(study.config), encoding="utf-8")
    except OSError as error:
        raise VolumeError(
            f"{path}: cannot be written ({error.strerror}); free space or set ATFT_HPO_VOLUME"
        ) from error
