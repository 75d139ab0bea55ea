"""A trial's process, run inside the test's own."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atft_hpo.config.settings import Settings
from atft_hpo.config.toml import load_config
from atft_hpo.service.database.connection import Database
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.process.exit_codes import Exit
from atft_hpo.service.queue.leases import Claim, requeue
from atft_hpo.service.queue.operator import request_cancel
from atft_hpo.service.trial import trial_process
from atft_hpo.training.phases.epoch_report import Decision

pytestmark = pytest.mark.postgres
MakeStudy = Callable[..., Any]
Rows = Callable[[str], list[Any]]
Start = Callable[..., int]
TRIALS = "SELECT * FROM atft_trial"
ATTEMPTS = "SELECT * FROM atft_attempt ORDER BY attempt"


@pytest.fixture
def start(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, quick: Any
) -> Start:
    """Runs the attempt of a claim, with the quick work or another."""
    monkeypatch.setenv("ATFT_HPO_STORAGE", settings.storage_url or "")
    monkeypatch.setenv("ATFT_HPO_VOLUME", str(settings.volume.root))

    def run(found: Claim, work: Any = None) -> int:
        lease = found.lease
        arguments = f"--study race --slot {lease.slot} --token {lease.token} --threads 3"
        return trial_process.main(arguments.split(), lambda _: work or quick.QuickWork())

    return run


@pytest.fixture
def begin(database: Database, make_study: MakeStudy, take: Callable[..., Claim]) -> Any:
    """Makes a study with `script` and asks for its first trial."""

    def make(script: str = "", **budget: Any) -> Claim:
        study = make_study(script=script, budget={"trials": 1, **budget})
        found = take()
        Asker(database, study).ask(found)
        return found

    return make


def test_completes(start: Start, begin: Any, rows: Rows, database: Database) -> None:
    assert start(begin("value = 1.25")) == Exit.CONCLUDED
    (row,) = rows(TRIALS)
    assert (row.state, row.outcome, row.value) == ("finished", "COMPLETE", 1.25)
    trial = database.volume.study("race").trial(0)
    config = load_config(trial.config)
    assert config.model.dropout == row.params["model.dropout"]
    assert (config.runtime.threads, config.seed) == (3, 0)
    assert trial.attempt(1).summary.read_text() == "# Trial 0 of race: COMPLETE\n"


@pytest.mark.parametrize(
    ("error", "outcome", "words"),
    [
        ("health", "UNHEALTHY", "'returns' does not move"),
        ("non_finite", "NON_FINITE", "loss is nan in phase gat"),
        ("defect", "ERROR", "KeyError: 'a defect'"),
    ],
)
def test_errors_become_outcomes_with_a_traceback(
    start: Start, begin: Any, rows: Rows, capsys: pytest.CaptureFixture[str],
    error: str, outcome: str, words: str,
) -> None:  # fmt: skip
    assert start(begin(f"error = '{error}'", max_attempts=1)) == Exit.CONCLUDED
    (row,) = rows(TRIALS)
    assert (row.outcome, row.value) == (outcome, None)
    assert words in row.message
    assert "Traceback" in capsys.readouterr().err


def test_out_of_memory_leaves_the_trial_to_its_agent(
    start: Start, begin: Any, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(begin("error = 'memory'")) == Exit.OUT_OF_MEMORY
    assert rows(TRIALS)[0].state == "running"
    printed = capsys.readouterr()
    assert "Traceback" in printed.err
    assert printed.out.endswith("\ntoo large\n"), "the agent reads the last line"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_value_that_is_not_finite_is_a_failure(
    start: Start, begin: Any, rows: Rows, value: str
) -> None:
    start(begin(f"value = {value}"))
    (row,) = rows(TRIALS)
    assert (row.outcome, row.value) == ("NON_FINITE", None)
    assert value in row.message


def test_full_volume_leaves_the_trial_to_its_agent(start: Start, begin: Any, rows: Rows) -> None:
    assert start(begin("error = 'full'")) == Exit.VOLUME
    assert rows(TRIALS)[0].state == "running"


def test_stops_when_its_agent_is_gone(
    start: Start, begin: Any, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = SimpleNamespace(is_alive=lambda: False)
    monkeypatch.setattr("multiprocessing.parent_process", lambda: agent)
    assert start(begin()) == Exit.INTERRUPTED
    assert rows(TRIALS)[0].state == "running"
    assert rows(ATTEMPTS)[0].ending == "INTERRUPTED"


def test_does_nothing_without_its_lease(
    start: Start, begin: Any, rows: Rows, database: Database
) -> None:
    found = begin()
    requeue(database, found.lease, "taken away")
    assert start(found) == Exit.LEASE_LOST
    assert rows("SELECT 1 FROM atft_epoch") == []


class Reacts:
    """Work that does something in the middle of training."""

    def __init__(self, quick: Any, action: Callable[[], object]) -> None:
        self._quick, self._action = quick.QuickWork(), action

    def __getattr__(self, name: str) -> Any:
        return getattr(self._quick, name)

    def train(self, config: Any, panel: Any, run: Any, on_epoch: Any, *rest: Any) -> Any:
        def then_act(report: Any) -> Decision:
            decision: Decision = on_epoch(report)
            self._action()
            return decision

        return self._quick.train(config, panel, run, then_act, *rest)


def test_lease_lost_on_the_way(
    start: Start, begin: Any, rows: Rows, database: Database, quick: Any
) -> None:
    found = begin()
    work = Reacts(quick, lambda: requeue(database, found.lease, "taken away"))
    assert start(found, work) == Exit.LEASE_LOST
    assert len(rows("SELECT 1 FROM atft_epoch")) == 1
    assert rows(TRIALS)[0].state == "waiting"


def test_lease_lost_after_the_last_epoch(
    start: Start, begin: Any, rows: Rows, database: Database, quick: Any
) -> None:
    found = begin("epochs = 1")
    work = Reacts(quick, lambda: requeue(database, found.lease, "taken away"))
    assert start(found, work) == Exit.LEASE_LOST
    assert rows(TRIALS)[0].state == "waiting"


def test_cancelled_on_the_way(
    start: Start, begin: Any, rows: Rows, database: Database, quick: Any
) -> None:
    requests: list[str] = []

    def once() -> None:
        if not requests:
            requests.append(request_cancel(database, "race", 0))

    assert start(begin(), Reacts(quick, once)) == Exit.CONCLUDED
    assert rows(TRIALS)[0].outcome == "CANCELLED"
    assert requests == ["running"]


def test_summary_that_fails_does_not_cost_the_result(
    start: Start, begin: Any, rows: Rows, quick: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    work = quick.QuickWork()

    def fail(*_: Any) -> None:
        raise KeyError("phase")

    work.summarise = fail
    start(begin("value = 2.0"), work)
    (row,) = rows(TRIALS)
    assert (row.outcome, row.value) == ("COMPLETE", 2.0)
    assert "summary.md was not written" in row.message
    assert "Traceback" in capsys.readouterr().err


def test_newest_readable_checkpoint(
    start: Start, begin: Any, database: Database, take: Callable[..., Claim],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = begin()
    trial = database.volume.study("race").trial(0)
    for attempt, content in ((1, "2"), (2, "damaged")):
        trial.attempt(attempt).root.mkdir(parents=True)
        trial.attempt(attempt).last.write_text(content)
    for _ in range(2):
        requeue(database, found.lease, "interrupted")
        found = take()
    assert start(found) == Exit.CONCLUDED
    assert (trial.attempt(3).root / "started_at").read_text() == "2"
    out = capsys.readouterr().out
    assert "damaged; looking for an earlier one" in out
    assert f"trial 0, attempt 3: from {trial.attempt(1).last}" in out


def test_two_values_that_exclude_each_other_fail_the_trial(
    database: Database, make_study: MakeStudy, take: Callable[..., Claim], start: Start, rows: Rows
) -> None:
    space = {"model.lookback_days": {"type": "int", "low": 21, "high": 40}}
    search = {"space": space, "enqueue_baseline": False, "sampler": {"kind": "random", "seed": 1}}
    study = make_study(search=search, slices={"context_days": 20}, budget={"trials": 1})
    found = take()
    Asker(database, study).ask(found)
    start(found)
    (row,) = rows(TRIALS)
    assert row.outcome == "ERROR"
    assert "slices.context_days is 20" in row.message


def test_directory_is_the_number_s_not_the_slot_s(start: Start, begin: Any, rows: Rows) -> None:
    start(begin())
    (row,) = rows(TRIALS)
    volume = Path(os.environ["ATFT_HPO_VOLUME"])
    assert (volume / "studies" / "race" / "trials" / str(row.number)).is_dir()
