import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.epoch_rows import (
    read_epochs,
)
from atft_hpo.service.database.fencing import Lease, TrialStop
from atft_hpo.service.database.peer_series import Peers
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.queue.leases import Claim, requeue
from atft_hpo.service.queue.operator import request_cancel
from atft_hpo.service.studies.load import load_study
from atft_hpo.service.studies.status import as_json, read_all, read_status
from atft_hpo.service.studies.study import optuna_study
from atft_hpo.service.trial.assignment import read_assignment
from atft_hpo.service.trial.on_epoch import EpochReporter
from atft_hpo.training.phases.epoch_report import Decision

pytestmark = pytest.mark.postgres
MakeStudy = Callable[..., Any]
Record = Callable[..., TrialStop | None]
Take = Callable[..., Claim]
Rows = Callable[[str], list[Any]]
EPOCHS = "SELECT number, step, attempt FROM atft_epoch ORDER BY number, step"


def begin(database: Database, study: Any, take: Take) -> Claim:
    found = take()
    Asker(database, study).ask(found)
    return found


def reporter(database: Database, lease: Lease) -> EpochReporter:
    assignment = read_assignment(database, lease)
    assert assignment is not None
    return EpochReporter(database, assignment)


def test_recorded_epoch_reads_back(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, record: Record
) -> None:
    lease = begin(database, make_study(), take).lease
    report = quick.fake_report(2, 5, 1.5, phase=1)
    assert record(lease, 0, 1, report) is None
    (record,) = database.run(lambda c: read_epochs(c, "race"))[0]
    assert (record.step, record.attempt, record.value) == (1002, 1, 1.5)
    assert record.daily is not None
    assert np.array_equal(record.daily.ic, report.daily.ic)


def test_repeated_step_is_the_latest_attempt_s(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, record: Record, rows: Rows
) -> None:
    found = begin(database, make_study(budget={"trials": 1}), take)
    record(found.lease, 0, 1, quick.fake_report(0, 3, 1.0))
    requeue(database, found.lease, "interrupted")
    record(take().lease, 0, 2, quick.fake_report(0, 3, 2.0))
    assert [tuple(row) for row in rows(EPOCHS)] == [(0, 0, 2)]
    assert database.run(lambda c: read_epochs(c, "race"))[0][0].value == 2.0


def test_expired_token_writes_nothing(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, record: Record, rows: Rows
) -> None:
    study = make_study(budget={"trials": 1})
    late = take(-1.0)
    Asker(database, study).ask(late)
    take()
    assert record(late.lease, 0, 1, quick.fake_report(0, 3, 1.0)) is TrialStop.LEASE_LOST
    assert rows(EPOCHS) == []
    assert read_assignment(database, late.lease) is None


def test_cancelled_trial_learns_it_with_its_epoch(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, record: Record, rows: Rows
) -> None:
    lease = begin(database, make_study(), take).lease
    request_cancel(database, "race", 0)
    report = quick.fake_report(0, 3, 1.0)
    assert record(lease, 0, 1, report) is TrialStop.CANCELLED
    assert len(rows(EPOCHS)) == 1


def test_peers_are_the_others_at_these_steps(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, record: Record
) -> None:
    study = make_study(budget={"trials": 3})
    for number in range(3):
        lease = begin(database, study, take).lease
        for epoch in range(4):
            record(lease, number, 1, quick.fake_report(epoch, 4, 1.0, phase=1))
    peers, steps = Peers("race", 1, most=5, series=("return_net", "ic")), [1001, 1002]
    days = quick.fake_report(0, 4, 1.0).daily.dates
    for _ in range(2):  # from the database, and from what was read before
        found = database.run(lambda c: peers.read(c, steps, days))
        assert {n: [e.step for e in epochs] for n, epochs in found.items()} == {
            0: steps,
            2: steps,
        }
    daily = database.run(lambda c: read_epochs(c, "race", 2))[2][1].daily
    for name in ("dates", "return_net", "ic"):
        np.testing.assert_array_equal(getattr(found[2][0].daily, name), getattr(daily, name))
    assert np.isnan(found[2][0].daily.rank_ic).all()  # not read: nobody compares it


def test_a_peer_of_other_days_is_read_whole(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, record: Record
) -> None:
    lease = begin(database, make_study(), take).lease
    report = quick.fake_report(0, 4, 1.0)
    record(lease, 0, 1, report)
    peers = Peers("race", 9, most=5, series=("return_net", "ic"))
    other = report.daily.dates + 1
    read = database.run(lambda c: peers.read(c, [0], other))[0][0].daily
    np.testing.assert_array_equal(read.dates, report.daily.dates)
    np.testing.assert_array_equal(read.turnover, report.daily.turnover)


def test_only_the_newest_peers_are_read_and_each_series_once(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, record: Record
) -> None:
    study = make_study(budget={"trials": 4})
    for number in range(4):
        lease = begin(database, study, take).lease
        for epoch in range(3 if number == 2 else 4):
            record(lease, number, 1, quick.fake_report(epoch, 4, 1.0, phase=1))
    peers, read = Peers("race", 9, most=2, series=("return_net", "ic")), []
    days = quick.fake_report(0, 4, 1.0).daily.dates
    statements = lambda *args: read.append(args[3])  # noqa: E731
    event.listen(database.engine, "before_cursor_execute", statements)
    assert list(database.run(lambda c: peers.read(c, [1001, 1002], days))) == [3, 2]
    assert list(database.run(lambda c: peers.read(c, [1001, 1002, 1003], days))) == [3, 1]
    event.remove(database.engine, "before_cursor_execute", statements)
    series = [(values["step"], values["given"] or "newest") for values in read]
    assert series[:2] == [(1002, "newest"), (1001, [3, 2])]
    assert series[2:] == [(1003, "newest"), (1001, [1]), (1002, [1])]


def test_step_reported_before_is_not_reported_again(
    database: Database, make_study: MakeStudy, take: Take, quick: Any
) -> None:
    found = begin(database, make_study(budget={"trials": 1}), take)
    reporter(database, found.lease).on_epoch(quick.fake_report(0, 3, 1.0))
    requeue(database, found.lease, "interrupted")
    again = reporter(database, take().lease)
    assert again.on_epoch(quick.fake_report(0, 3, 5.0)) is Decision.CONTINUE
    assert again.on_epoch(quick.fake_report(1, 3, 2.0)) is Decision.CONTINUE
    assert again.on_epoch(quick.fake_report(2, 3, float("nan"))) is Decision.CONTINUE
    trial = optuna_study(database, "race").trials[0]
    assert trial.intermediate_values == {0: 1.0, 1: 2.0}


def test_lost_lease_cancels(
    database: Database, make_study: MakeStudy, take: Take, quick: Any
) -> None:
    found = begin(database, make_study(budget={"trials": 1}), take)
    told = reporter(database, found.lease)
    requeue(database, found.lease, "taken away")
    assert told.on_epoch(quick.fake_report(0, 3, 1.0)) is Decision.CANCEL
    assert told.lease_lost


def test_trial_failed_in_the_dashboard_is_cancelled(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, rows: Rows
) -> None:
    told = reporter(database, begin(database, make_study(), take).lease)
    optuna_study(database, "race").tell(0, state=optuna.trial.TrialState.FAIL)
    assert told.on_epoch(quick.fake_report(0, 3, 1.0)) is Decision.CANCEL
    assert "dashboard" in told.reason
    assert not told.lease_lost
    assert len(rows(EPOCHS)) == 1


@pytest.mark.parametrize("moment", ["before", "in", "after"])
def test_record_and_report_are_repeated_together_when_the_connection_breaks(
    database: Database,
    make_study: MakeStudy,
    take: Take,
    quick: Any,
    rows: Rows,
    moment: str,
) -> None:
    """Before the statement runs, while it waits for a lock, or when its answer does not arrive."""
    told = reporter(database, begin(database, make_study(), take).lease)
    lock = database.engine.connect()
    cut = list[str]()

    def kill(where: str) -> None:
        cut.append(moment)
        answer = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
        assert rows(f"{answer}datname = current_database() AND {where}") == [(True,)]

    def kill_the_waiting_one() -> None:
        while not rows("SELECT FROM pg_locks WHERE NOT granted"):
            time.sleep(0.01)
        kill("wait_event_type = 'Lock'")
        lock.rollback()

    def breaking(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if cut or "INTO atft_epoch" not in statement:
            return
        if moment == "in":
            lock.execute(text("SELECT FROM atft_trial FOR UPDATE"))
            threading.Thread(target=kill_the_waiting_one).start()
            return
        kill(f"pid = {connection.connection.dbapi_connection.info.backend_pid}")
        if moment == "after":
            raise OperationalError(statement, {}, Exception("connection lost"))

    hook = "after_cursor_execute" if moment == "after" else "before_cursor_execute"
    event.listen(database.single_engine, hook, breaking)
    assert told.on_epoch(quick.fake_report(0, 3, 1.0)) is Decision.CONTINUE
    assert told.on_epoch(quick.fake_report(1, 3, 2.0)) is Decision.CONTINUE
    event.remove(database.single_engine, hook, breaking)
    lock.close()
    assert cut == [moment]
    assert [tuple(row) for row in rows(EPOCHS)] == [(0, 0, 1), (0, 1, 1)]
    assert optuna_study(database, "race").trials[0].intermediate_values == {0: 1.0, 1: 2.0}


@pytest.mark.parametrize("kind", ["phase_aware", "median"])
def test_trial_behind_its_peers_is_pruned(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, kind: str
) -> None:
    space = {"model.dropout": {"type": "float", "low": 0.0, "high": 0.5}}
    pruner = {"kind": kind, "min_peers": 2, "warmup_epochs": 1, "skip_phases": 1}
    study = make_study(search={"space": space, "pruner": pruner}, budget={"trials": 4})
    decisions = {}
    for number, value in enumerate((1.0, 1.2, 1.1, -1.0)):
        told = reporter(database, begin(database, study, take).lease)
        answers = [
            told.on_epoch(quick.fake_report(epoch, 9, value, phase, seed=number))
            for phase in (0, 1)
            for epoch in range(3)
        ]
        decisions[number] = answers
        if Decision.PRUNE not in answers:
            optuna_study(database, "race").tell(number, value)
    assert Decision.PRUNE not in decisions[0] + decisions[1] + decisions[2]
    assert decisions[3][:4] == [Decision.CONTINUE] * (4 if kind == "phase_aware" else 3) + (
        [] if kind == "phase_aware" else [Decision.PRUNE]
    )
    assert Decision.PRUNE in decisions[3]
    assert told.reason


def test_records_and_status_tell_the_same_story(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, record: Record
) -> None:
    study = make_study(budget={"trials": 3})
    lease = begin(database, study, take).lease
    record(lease, 0, 1, quick.fake_report(0, 3, 1.0))
    begin(database, study, take)
    record = load_study(database, "race")
    assert (record.name, record.target_trials, len(record.trials)) == ("race", 3, 2)
    first = record.trials[0]
    assert (first.number, first.state, first.outcome) == (0, "running", None)
    assert first.params == {"model.dropout": 0.1}
    assert [e.step for e in first.epochs] == [0]
    assert first.epochs[0].daily is not None
    assert load_study(database, "race", daily=False).trials[0].epochs[0].daily is None
    assert first.directory.endswith("studies/race/trials/0")
    assert [(a.attempt, a.host, a.ending) for a in first.attempts] == [(1, "host", "")]
    status = read_status(database, "race")
    assert [t.number for t in status.running] == [0, 1]
    assert status.running[0].epoch is not None
    assert status.running[0].epoch.metrics["sharpe"] == 1.0
    assert status.running[1].epoch is None
    assert read_all(database)[0].name == "race"
    content = as_json(status)
    assert content["running"][0]["metrics"]["icir"] is None
    assert content["finished"] == 0
