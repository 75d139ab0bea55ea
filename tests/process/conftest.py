"""Agents whose trial processes run `quick_trial.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import quick_trial
from sqlalchemy import RowMapping, text

from atft_hpo.config.settings import Settings
from atft_hpo.service.agent.agent import Agent
from atft_hpo.service.database.connection import Database
from atft_hpo.service.process.launchers import LocalLauncher, Place
from atft_hpo.service.queue.leases import LeaseTimes

TIMES = LeaseTimes(lease=3.0, renew=0.3, poll=0.02, idle=0.1, grace=1.0)


class Quiet:
    """A view that remembers, and calls back at every turn."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ended_trials: list[int] = []
        self.at_turn: Callable[[], None] = lambda: None

    def refresh(self) -> None:
        self.at_turn()

    def ended(self, trial: RowMapping) -> None:
        self.ended_trials.append(trial["number"])

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def view() -> Quiet:
    return Quiet()


@pytest.fixture
def make_agent(database: Database, settings: Settings, view: Quiet) -> Callable[..., Agent]:
    def make(study: Any, workers: int = 1, times: LeaseTimes = TIMES) -> Agent:
        url = settings.storage_url or ""
        launcher = LocalLauncher(url, settings, quick_trial.main, preload=())
        places = [Place(i, None, 1) for i in range(workers)]
        return Agent(database, study, launcher, places, view, times)

    return make


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process runs."""

    def is_alive(pid: int) -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().split()[2] != "Z"

    return is_alive


@pytest.fixture
def rows(database: Database) -> Callable[[str], list[Any]]:
    def read(query: str) -> list[Any]:
        return list(database.run(lambda connection: connection.execute(text(query)).all()))

    return read
