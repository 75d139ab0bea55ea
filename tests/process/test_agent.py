import os
import signal
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from sqlalchemy import text

from atft_hpo.errors import VolumeError
from atft_hpo.service.agent.agent import Agent, Farewell
from atft_hpo.service.database.connection import Database
from atft_hpo.service.queue.leases import LeaseTimes
from atft_hpo.service.queue.operator import request_cancel, request_stop
from atft_hpo.service.studies.study import optuna_study

pytestmark = pytest.mark.postgres
TRIALS = "SELECT * FROM atft_trial ORDER BY slot"
ATTEMPTS = "SELECT * FROM atft_attempt ORDER BY slot, attempt"
EPOCHS = "SELECT number, step, attempt FROM atft_epoch ORDER BY number, step"

MakeStudy = Callable[..., Any]
MakeAgent = Callable[..., Agent]
Rows = Callable[[str], list[Any]]


def told(database: Database) -> list[tuple[int, str]]:
    trials = optuna_study(database, "race").get_trials(deepcopy=False)
    return [(trial.number, trial.state.name) for trial in trials]


def test_runs_exactly_the_trials_asked_for(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows, view: Any
) -> None:
    study = make_study(script="value = 1.25", budget={"trials": 3})
    assert make_agent(study, workers=2).run() == Farewell(interrupted=False, stop=None)
    assert told(database) == [(0, "COMPLETE"), (1, "COMPLETE"), (2, "COMPLETE")]
    assert [(t.outcome, t.value, t.attempt) for t in rows(TRIALS)] == [("COMPLETE", 1.25, 1)] * 3
    assert [tuple(e) for e in rows(EPOCHS)] == [(n, s, 1) for n in range(3) for s in range(3)]
    assert sorted(view.ended_trials) == [0, 1, 2]
    trial = optuna_study(database, "race").trials[0]
    assert trial.intermediate_values == {0: 1.25, 1: 1.25, 2: 1.25}
    assert trial.params == rows(TRIALS)[0].params == {"model.dropout": 0.1}  # the baseline's
    assert trial.user_attrs["outcome"] == "COMPLETE"
    directory = database.volume.study("race").trial(0)
    assert directory.config.is_file()
    assert directory.attempt(1).summary.is_file()
    assert "trial 0" in directory.attempt(1).log.read_text()


def test_killed_trial_process_costs_one_attempt_and_goes_on_where_it_was(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows, view: Any
) -> None:
    study = make_study(script="die_at = 1", budget={"trials": 1})
    make_agent(study).run()
    assert told(database) == [(0, "COMPLETE")]
    assert [(a.attempt, a.ending) for a in rows(ATTEMPTS)] == [(1, "CRASHED"), (2, "COMPLETE")]
    assert "killed by SIGKILL" in rows(ATTEMPTS)[0].message
    second = database.volume.study("race").trial(0).attempt(2)
    assert (second.root / "started_at").read_text() == "1"
    assert [tuple(e) for e in rows(EPOCHS)] == [(0, 0, 1), (0, 1, 2), (0, 2, 2)]
    assert any("SIGKILL" in line for line in view.lines)


def test_damaged_checkpoint_falls_back_to_the_one_before(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows
) -> None:
    script = "damaged = true\ndie_at = 1\nhang_at = 2\nhanging_attempt = 2\nepochs = 4"
    study = make_study(script=script, budget={"trials": 1})
    agent = make_agent(study)
    view = agent._view

    def kill_second() -> None:
        running = list(agent._running.values())
        paths = database.volume.study("race").trial(0).attempt(2)
        if running and running[0].claim.attempt == 2 and paths.last.exists():
            running[0].handle.kill()

    view.at_turn = kill_second  # type: ignore[attr-defined]
    agent.run()
    third = database.volume.study("race").trial(0).attempt(3)
    assert (third.root / "started_at").read_text() == "1"
    assert "damaged; looking for an earlier one" in third.log.read_text()
    assert rows(TRIALS)[0].outcome == "COMPLETE"


def test_attempts_end(database: Database, make_study: MakeStudy, make_agent: MakeAgent) -> None:
    study = make_study(script="always_die = true", budget={"trials": 1, "max_attempts": 2})
    make_agent(study).run()
    assert told(database) == [(0, "FAIL")]
    trial = optuna_study(database, "race").trials[0]
    assert trial.user_attrs["outcome"] == "CRASHED"
    assert trial.value is None


def test_defect_becomes_an_outcome_with_its_traceback_in_the_log(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows
) -> None:
    make_agent(make_study(script="error = 'defect'", budget={"trials": 1})).run()
    assert told(database) == [(0, "FAIL")]
    (row,) = rows(TRIALS)
    assert (row.outcome, row.message) == ("ERROR", "KeyError: 'a defect'")
    log = database.volume.study("race").trial(0).attempt(1).log.read_text()
    assert "Traceback" in log


def test_full_volume_stops_the_agent_and_loses_nothing(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows
) -> None:
    study = make_study(script="error = 'full'", budget={"trials": 2, "max_attempts": 1})
    with pytest.raises(VolumeError, match="No space left on device"):
        make_agent(study).run()
    (row,) = rows(TRIALS)
    assert (row.state, row.failures) == ("waiting", 0)
    assert told(database) == [(0, "RUNNING")]


def test_time_limit(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows
) -> None:
    budget = {"trials": 1, "trial_hours": 2.0 / 3600}
    make_agent(make_study(script="epoch_seconds = 60", budget=budget)).run()
    (row,) = rows(TRIALS)
    assert row.outcome == "TIMED_OUT"
    assert "budget.trial_hours" in row.message
    assert told(database) == [(0, "FAIL")]


def test_process_that_hangs_is_killed_after_the_grace(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows
) -> None:
    budget = {"trials": 1, "trial_hours": 2.0 / 3600}
    make_agent(make_study(script="hang_at = 0", budget=budget)).run()
    assert rows(TRIALS)[0].outcome == "TIMED_OUT"


def when(rows: Rows, query: str, action: Callable[[], object]) -> Callable[[], None]:
    """Runs `action` once, as soon as `query` finds something."""
    pending = [action]

    def at_turn() -> None:
        if pending and rows(query):
            pending.pop()()

    return at_turn


def test_cancelled_trial_ends_and_the_others_go_on(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows, view: Any
) -> None:
    study = make_study(script="epoch_seconds = 0.2\nepochs = 20", budget={"trials": 2})
    running = "SELECT 1 FROM atft_epoch WHERE number = 0"
    view.at_turn = when(rows, running, lambda: (request_cancel(database, "race", 0), quicken()))

    def quicken() -> None:
        """Trial 1 has less to do."""
        change = text("UPDATE atft_study SET config = replace(config, 'epochs = 20', 'epochs = 2')")
        database.run(lambda c: c.execute(change))

    make_agent(study).run()
    assert [row.outcome for row in rows(TRIALS)] == ["CANCELLED", "COMPLETE"]
    assert told(database) == [(0, "FAIL"), (1, "COMPLETE")]


def test_trial_failed_in_the_dashboard_is_cancelled(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows, view: Any
) -> None:
    study = make_study(script="epoch_seconds = 0.1\nepochs = 50", budget={"trials": 1})

    def fail() -> None:
        optuna_study(database, "race").tell(0, state=optuna.trial.TrialState.FAIL)

    view.at_turn = when(rows, "SELECT 1 FROM atft_epoch", fail)
    make_agent(study).run()
    (row,) = rows(TRIALS)
    assert row.outcome == "CANCELLED"
    assert "dashboard" in row.message


def test_stop_interrupts_and_resume_completes(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows, view: Any
) -> None:
    script = "epoch_seconds = 0.15\nepochs = 8"
    study = make_study(script=script, budget={"trials": 1, "max_attempts": 1})
    stop = lambda: request_stop(database, "race", "now")  # noqa: E731
    view.at_turn = when(rows, "SELECT 1 FROM atft_epoch", stop)
    farewell = make_agent(study).run()
    assert farewell.stop is not None
    assert rows(TRIALS)[0].state == "waiting"
    request_stop(database, "race", "")
    make_agent(study).run()
    (row,) = rows(TRIALS)
    assert (row.outcome, row.attempt, row.failures) == ("COMPLETE", 2, 0)


def test_sigint_requeues_and_a_second_agent_completes(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows, view: Any
) -> None:
    script = "epoch_seconds = 0.15\nepochs = 8"
    study = make_study(script=script, budget={"trials": 2, "max_attempts": 1})
    interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    view.at_turn = when(rows, "SELECT 1 FROM atft_epoch", interrupt)
    assert make_agent(study, workers=2).run().interrupted
    assert {row.state for row in rows(TRIALS)} == {"waiting"}
    assert {a.ending for a in rows(ATTEMPTS)} == {"INTERRUPTED"}
    assert not make_agent(study, workers=2).run().interrupted
    assert told(database) == [(0, "COMPLETE"), (1, "COMPLETE")]
    assert {(r.attempt, r.failures) for r in rows(TRIALS)} == {(2, 0)}


def test_connections_cut_in_the_middle_cost_nothing(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows, view: Any
) -> None:
    study = make_study(script="epoch_seconds = 0.1\nepochs = 8", budget={"trials": 2})
    cut = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    view.at_turn = when(rows, "SELECT 1 FROM atft_epoch WHERE step >= 2", lambda: rows(cut))
    patient = LeaseTimes(lease=30.0, renew=0.3, poll=0.02, idle=0.1, grace=1.0)
    make_agent(study, workers=2, times=patient).run()
    found = rows("SELECT outcome, message FROM atft_trial")
    assert told(database) == [(0, "COMPLETE"), (1, "COMPLETE")], found
    endings = [(a.attempt, a.ending, a.message) for a in rows(ATTEMPTS)]
    assert {(r.attempt, r.failures) for r in rows(TRIALS)} == {(1, 0)}, endings


def test_second_sigint_kills_at_once(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows, view: Any
) -> None:
    study = make_study(script="hang_at = 0", budget={"trials": 1})

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    started = "SELECT 1 FROM atft_attempt WHERE pid > 0"
    view.at_turn = when(rows, started, twice)
    agent = make_agent(study, times=LeaseTimes(lease=30, renew=5, poll=0.02, idle=0.1, grace=600))
    assert agent.run().interrupted
    assert rows(TRIALS)[0].state == "waiting"
