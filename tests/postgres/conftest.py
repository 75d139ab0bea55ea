"""Fixtures for what talks to Postgres and, under it, Optuna."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.epoch_rows import epoch_row, write_epoch
from atft_hpo.service.database.fencing import Lease, TrialStop
from atft_hpo.service.queue.leases import Claim, LeaseTimes, claim
from atft_hpo.training.phases.epoch_report import EpochReport


@pytest.fixture
def rows(database: Database) -> Callable[[str], list[Any]]:
    """Rows of a query."""

    def read(query: str) -> list[Any]:
        return list(database.run(lambda connection: connection.execute(text(query)).all()))

    return read


@pytest.fixture
def take(database: Database) -> Callable[..., Claim]:
    """Claims a slot of the study `race`; with `seconds` below 0 the lease is expired at once."""

    def take_one(seconds: float = 30.0) -> Claim:
        found = claim(database, "race", "host:1:a", LeaseTimes(lease=seconds))
        assert isinstance(found, Claim)
        return found

    return take_one


@pytest.fixture
def record(database: Database) -> Callable[..., TrialStop | None]:
    """Writes an epoch as a trial process does, without reporting or judging it."""

    def record_one(
        lease: Lease, number: int, attempt: int, report: EpochReport
    ) -> TrialStop | None:
        row = epoch_row(lease, number, attempt, report)
        return database.run_single(lambda connection: write_epoch(connection, row))

    return record_one


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """Outside of pytest's directory, which every pytest run closes to the server's user."""
    path = Path(tempfile.mkdtemp(prefix="atft-pg-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process runs."""

    def is_alive(pid: int) -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().split()[2] != "Z"

    return is_alive
