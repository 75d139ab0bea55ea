"""What a trial process is to do, read from the database by its lease."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from atft_hpo.config.schema import Config
from atft_hpo.errors import CheckpointError
from atft_hpo.paths import RunPaths, TrialPaths, Volume
from atft_hpo.search.space import apply
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.fencing import Lease
from atft_hpo.service.database.tables import trial_table
from atft_hpo.service.studies.study import OpenStudy, open_study
from atft_hpo.service.trial.training import Work


@dataclass(frozen=True)
class Assignment:
    """One attempt of one trial."""

    lease: Lease
    study: OpenStudy
    trial_id: int
    number: int
    attempt: int
    params: dict[str, Any]

    def config(self, threads: int) -> Config:
        """The base with the trial's values; the seed stays the study's, so that it reproduces.

        Raises:
            ConfigError: the values exclude each other.
        """
        config = apply(self.study.config, self.params)
        runtime = config.runtime.model_copy(update={"threads": threads})
        return config.model_copy(update={"runtime": runtime})

    def paths(self, volume: Volume) -> TrialPaths:
        """The trial's directory."""
        return volume.study(self.study.name).trial(self.number)


def read_assignment(database: Database, lease: Lease) -> Assignment | None:
    """The work that `lease` stands for; None when it is lost."""
    row = database.run(lambda connection: _read(connection, lease))
    if row is None or row["token"] != lease.token or row["state"] != "running":
        return None
    return Assignment(
        lease=lease,
        study=open_study(database, lease.study),
        trial_id=row["trial_id"],
        number=row["number"],
        attempt=row["attempt"],
        params=row["params"],
    )


def newest_checkpoint(trial: TrialPaths, attempt: int, work: Work) -> Path | None:
    """The newest readable last.pt of the attempts before `attempt`; damaged ones are told."""
    for earlier in range(attempt - 1, 0, -1):
        run: RunPaths = trial.attempt(earlier)
        if not run.last.exists():
            continue
        try:
            work.check(run.last)
        except CheckpointError as error:
            print(f"{error}; looking for an earlier one", flush=True)
        else:
            return run.last
    return None


def _read(connection: Connection, lease: Lease) -> RowMapping | None:
    statement = select(trial_table).where(
        trial_table.c.study == lease.study, trial_table.c.slot == lease.slot
    )
    return connection.execute(statement).mappings().one_or_none()
