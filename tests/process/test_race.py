import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from atft_hpo.config.settings import Settings
from atft_hpo.service.database.connection import Database
from atft_hpo.service.studies.study import optuna_study

pytestmark = pytest.mark.postgres
QUICK_AGENT = Path(__file__).with_name("stand_ins") / "quick_agent.py"
MakeStudy = Callable[..., Any]
Rows = Callable[[str], list[Any]]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Starts agents; those that a failed test leaves behind are killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(workers: int = 1, lease: float = 8.0) -> subprocess.Popen[str]:
        environment = os.environ | {
            "ATFT_HPO_STORAGE": settings.storage_url or "",
            "ATFT_HPO_VOLUME": str(settings.volume.root),
        }
        arguments = [sys.executable, str(QUICK_AGENT), "race", str(workers), str(lease)]
        agent = subprocess.Popen(
            arguments, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        started.append(agent)
        return agent

    yield begin
    for agent in started:
        if agent.poll() is None:
            agent.kill()
        if agent.stdout and not agent.stdout.closed:
            agent.communicate()


def until(rows: Rows, query: str) -> None:
    deadline = time.monotonic() + 60
    while not rows(query):
        assert time.monotonic() < deadline, f"never: {query}"
        time.sleep(0.05)


def test_three_agents_racing_run_exactly_the_trials_asked_for(
    database: Database, make_study: MakeStudy, start: Start, rows: Rows
) -> None:
    make_study(budget={"trials": 7})
    agents = [start(), start(), start()]
    outputs = [agent.communicate(timeout=120) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0, 0], outputs
    trials = optuna_study(database, "race").get_trials(deepcopy=False)
    assert sorted(trial.number for trial in trials) == list(range(7))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    found = rows("SELECT slot, number, attempt, owner FROM atft_trial")
    assert len({row.number for row in found}) == len(found) == 7
    assert {row.attempt for row in found} == {1}
    assert sum(output.count("COMPLETE") for output, _ in outputs) == 7, "told once each"
    text = "".join(output for output, _ in outputs)
    assert "trial 0 · baseline 3 · epoch 3/3 · IC +0.010" in text


def test_killed_agent_is_reaped_and_its_trial_goes_on_under_its_number(
    database: Database, make_study: MakeStudy, start: Start, rows: Rows, alive: Any
) -> None:
    make_study(script="epoch_seconds = 0.25\nepochs = 12", budget={"trials": 1, "max_attempts": 1})
    first = start(lease=4.0)
    until(rows, "SELECT 1 FROM atft_epoch WHERE step >= 1")
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    pid = rows("SELECT pid FROM atft_attempt")[0].pid
    second = start(lease=4.0)
    output = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert not alive(pid), "a trial process ends with its agent"
    (row,) = rows("SELECT * FROM atft_trial")
    assert (row.number, row.outcome, row.attempt, row.failures) == (0, "COMPLETE", 2, 0)
    assert len(optuna_study(database, "race").trials) == 1
    steps = [e.step for e in rows("SELECT step FROM atft_epoch ORDER BY step")]
    assert steps == list(range(12))


def test_sigterm_saves_and_another_agent_completes(
    database: Database, make_study: MakeStudy, start: Start, rows: Rows
) -> None:
    make_study(script="epoch_seconds = 0.25\nepochs = 8", budget={"trials": 1, "max_attempts": 1})
    first = start()
    until(rows, "SELECT 1 FROM atft_epoch WHERE step >= 1")
    first.terminate()
    first.communicate(timeout=60)
    assert first.returncode == 130
    (row,) = rows("SELECT * FROM atft_trial")
    assert (row.state, row.failures) == ("waiting", 0)
    second = start()
    second.communicate(timeout=120)
    (row,) = rows("SELECT * FROM atft_trial")
    assert (row.outcome, row.attempt) == ("COMPLETE", 2)
    started_at = database.volume.study("race").trial(0).attempt(2).root / "started_at"
    assert int(started_at.read_text()) >= 2


def test_frozen_agent_is_fenced_off(
    database: Database, make_study: MakeStudy, start: Start, rows: Rows
) -> None:
    """It wakes up after its lease was reaped: nothing it or its trial does counts any more."""
    make_study(script="epoch_seconds = 0.2\nepochs = 30", budget={"trials": 1})
    first = start(lease=3.0)
    until(rows, "SELECT 1 FROM atft_epoch")
    pid = rows("SELECT pid FROM atft_attempt")[0].pid
    os.kill(first.pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)
    second = start(lease=3.0)
    until(rows, "SELECT 1 FROM atft_epoch WHERE attempt = 2")
    os.kill(pid, signal.SIGCONT)
    os.kill(first.pid, signal.SIGCONT)
    outputs = [second.communicate(timeout=120), first.communicate(timeout=120)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    (row,) = rows("SELECT * FROM atft_trial")
    assert (row.outcome, row.attempt, row.failures) == ("COMPLETE", 2, 1)
    epochs = rows("SELECT step, attempt FROM atft_epoch ORDER BY step")
    assert [e.step for e in epochs] == list(range(30))
    assert epochs[-1].attempt == 2
    owners = {e.attempt for e in epochs}
    assert owners == {1, 2}
