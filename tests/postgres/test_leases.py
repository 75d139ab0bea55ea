from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from atft_hpo.errors import StudyError
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.database.connection import Database
from atft_hpo.service.queue.leases import (
    _RENEW,
    Claim,
    Idle,
    LeaseTimes,
    claim,
    conclude,
    note_interrupted,
    note_started,
    renew,
    requeue,
)
from atft_hpo.service.queue.operator import STOPPED, request_cancel, request_stop

pytestmark = pytest.mark.postgres
TIMES = LeaseTimes()
GONE = LeaseTimes(lease=-1.0)


def take(database: Database, times: LeaseTimes = TIMES, owner: str = "host:1:a") -> Claim:
    found = claim(database, "race", owner, times)
    assert isinstance(found, Claim)
    return found


def idle(database: Database) -> Idle:
    found = claim(database, "race", "host:1:a", TIMES)
    assert isinstance(found, Idle)
    return found


def trials(database: Database) -> list[Any]:
    query = text("SELECT * FROM atft_trial ORDER BY slot")
    return list(database.run(lambda c: c.execute(query).all()))


def attempts(database: Database) -> list[Any]:
    query = text("SELECT * FROM atft_attempt ORDER BY slot, attempt")
    return list(database.run(lambda c: c.execute(query).all()))


def number_them(database: Database) -> None:
    database.run(lambda c: c.execute(text("UPDATE atft_trial SET number = slot")))


def test_gives_each_slot_once_and_no_more_than_the_target(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 3})
    claims = [take(database) for _ in range(3)]
    assert [c.lease.slot for c in claims] == [0, 1, 2]
    assert [c.attempt for c in claims] == [1, 1, 1]
    assert len({c.lease.token for c in claims}) == 3
    assert idle(database) == Idle(over=False, stop=None)


def test_is_over_when_everything_is_finished(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 1})
    assert conclude(database, take(database).lease, Outcome.COMPLETE, "", 1.5)
    assert idle(database) == Idle(over=True, stop=None)
    (row,) = trials(database)
    assert (row.state, row.outcome, row.value) == ("finished", "COMPLETE", 1.5)
    assert row.ended_at is not None
    assert row.device_seconds > 0


def test_unknown_study_names_the_known(database: Database, make_study: Callable[..., Any]) -> None:
    make_study()
    with pytest.raises(StudyError, match=r"no study named 'other'.*known: race"):
        claim(database, "other", "host:1:a", TIMES)


def test_expired_lease_is_reaped_and_costs_an_attempt(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 1})
    lost = take(database, GONE)
    again = take(database, owner="other:2:b")
    assert again.lease.slot == lost.lease.slot
    assert again.attempt == 2
    assert again.lease.token > lost.lease.token
    assert trials(database)[0].failures == 1
    assert [a.ending for a in attempts(database)] == ["CRASHED", ""]
    assert attempts(database)[1].host == "other"


def test_live_lease_is_not_reaped(database: Database, make_study: Callable[..., Any]) -> None:
    make_study(budget={"trials": 1})
    take(database)
    assert not idle(database).over


def test_writes_with_an_old_token_change_nothing(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 1})
    old = take(database, GONE).lease
    take(database)
    before = trials(database)
    assert not conclude(database, old, Outcome.COMPLETE, "", 9.0)
    assert not requeue(database, old, "late")
    assert renew(database, [old], TIMES).held == frozenset()
    assert trials(database) == before


def test_attempts_are_limited_and_then_the_trial_has_crashed(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 1, "max_attempts": 2})
    take(database, GONE)
    take(database, GONE)
    assert idle(database).over
    (row,) = trials(database)
    assert (row.outcome, row.failures) == ("CRASHED", 2)
    assert "lease" in row.message
    assert "attempt 2 of 2" in row.message


def test_requeued_slot_comes_first_and_does_not_count(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 3, "max_attempts": 1})
    first, second = take(database), take(database)
    assert requeue(database, first.lease, "interrupted")
    again = take(database)
    assert (again.lease.slot, again.attempt) == (0, 2)
    assert trials(database)[0].failures == 0
    assert second.lease.slot == 1


def test_interrupted_process_of_a_dead_agent_does_not_count(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 1, "max_attempts": 1})
    found = take(database, GONE)
    note_interrupted(database, found.lease, found.attempt, "its agent is gone")
    assert take(database).attempt == 2
    assert trials(database)[0].failures == 0


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (Outcome.OUT_OF_MEMORY, "waiting"),
        (Outcome.CRASHED, "waiting"),
        (Outcome.NON_FINITE, "finished"),
        (Outcome.UNHEALTHY, "finished"),
        (Outcome.ERROR, "finished"),
        (Outcome.PRUNED, "finished"),
        (Outcome.TIMED_OUT, "finished"),
    ],
)
def test_only_what_may_end_differently_is_tried_again(
    database: Database, make_study: Callable[..., Any], ending: Outcome, state: str
) -> None:
    make_study(budget={"trials": 1})
    conclude(database, take(database).lease, ending, "why")
    assert trials(database)[0].state == state


def test_renewal_extends_the_lease(database: Database, make_study: Callable[..., Any]) -> None:
    make_study(budget={"trials": 1})
    lease = take(database, GONE).lease
    found = renew(database, [lease], TIMES)
    assert (found.held, found.cancelled, found.stop_mode) == ({lease}, frozenset(), "")
    assert not idle(database).over


def test_only_the_renewal_itself_does_not_wait_for_the_disk(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study()
    lease, answers = take(database).lease, list[str]()

    def ask(connection: Any, *_: Any) -> None:
        with connection.connection.dbapi_connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            answers.append(cursor.fetchone()[0])

    with database.single_engine.connect() as connection:
        values = {"study": "race", "slots": [0], "tokens": [lease.token], "seconds": 30.0}
        connection.execute(text("BEGIN"))
        connection.execute(_RENEW, values)
        ask(connection)
        connection.execute(text("COMMIT"))
        ask(connection)
    assert answers == ["off", "on"]


def test_started_process_is_noted(database: Database, make_study: Callable[..., Any]) -> None:
    make_study(budget={"trials": 1})
    found = take(database)
    note_started(database, found.lease, 1, 4242)
    assert attempts(database)[0].pid == 4242


def test_stop_starts_nothing_and_says_why(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 3})
    lease = take(database).lease
    request_stop(database, "race", "now")
    found = idle(database)
    assert found.stop is not None
    assert found.stop.reason == STOPPED
    assert not found.over
    assert renew(database, [lease], TIMES).stop_mode == "now"
    requeue(database, lease, "stopped")
    assert idle(database).over
    request_stop(database, "race", "")
    assert take(database).lease.slot == 0


def test_cancel_of_a_waiting_trial_is_immediate(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 1})
    requeue(database, take(database).lease, "interrupted")
    number_them(database)
    assert request_cancel(database, "race", 0) == "waiting"
    assert trials(database)[0].outcome == "CANCELLED"
    with pytest.raises(StudyError, match="trial 0 of 'race' is finished: CANCELLED"):
        request_cancel(database, "race", 0)
    with pytest.raises(StudyError, match="has no trial 7"):
        request_cancel(database, "race", 7)


def test_cancel_of_a_running_trial_reaches_its_agent(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 1})
    lease = take(database).lease
    number_them(database)
    assert request_cancel(database, "race", 0) == "running"
    assert renew(database, [lease], TIMES).cancelled == {lease}
    requeue(database, lease, "stopped")
    assert trials(database)[0].outcome == "CANCELLED"


def finish(database: Database, outcome: Outcome, value: float | None = None) -> None:
    conclude(database, take(database).lease, outcome, "the same reason", value)


def test_first_failures_alike_stop_the_study(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 9, "same_failures_stop": 2})
    finish(database, Outcome.UNHEALTHY)
    finish(database, Outcome.UNHEALTHY)
    stop = idle(database).stop
    assert stop is not None
    assert stop.is_error
    assert "first 2 trials all ended as UNHEALTHY (the same reason)" in stop.reason


@pytest.mark.parametrize("first", [Outcome.NON_FINITE, Outcome.COMPLETE])
def test_failures_that_differ_or_come_late_do_not_stop(
    database: Database, make_study: Callable[..., Any], first: Outcome
) -> None:
    make_study(budget={"trials": 9, "same_failures_stop": 2})
    finish(database, first, 1.0 if first is Outcome.COMPLETE else None)
    finish(database, Outcome.UNHEALTHY)
    finish(database, Outcome.UNHEALTHY)
    take(database)


def test_target_value_stops(database: Database, make_study: Callable[..., Any]) -> None:
    make_study(budget={"trials": 9, "target_value": 2.0})
    finish(database, Outcome.COMPLETE, 1.9)
    finish(database, Outcome.COMPLETE, 2.1)
    stop = idle(database).stop
    assert stop is not None
    assert not stop.is_error
    assert "target_value = 2 is reached" in stop.reason


def test_wall_clock_and_device_hours_stop_new_trials_only(
    database: Database, make_study: Callable[..., Any]
) -> None:
    make_study(budget={"trials": 9, "wall_clock_hours": 2.0, "device_hours": 1.0})
    requeue(database, take(database).lease, "interrupted")
    early = text("UPDATE atft_study SET created_at = created_at - interval '3 hours'")
    database.run(lambda c: c.execute(early))
    take(database)
    stop = idle(database).stop
    assert stop is not None
    assert "wall_clock_hours = 2 is used up" in stop.reason
    late = text("UPDATE atft_study SET created_at = clock_timestamp()")
    used = text("UPDATE atft_trial SET device_seconds = 3600")
    database.run(lambda c: (c.execute(late), c.execute(used)))
    stop = idle(database).stop
    assert stop is not None
    assert "device_hours = 1 is used up" in stop.reason
