"""Trials that run out of memory, alone and beside others."""

from collections.abc import Callable
from typing import Any

import pytest

from atft_hpo.service.agent.agent import Agent
from atft_hpo.service.database.connection import Database

pytestmark = pytest.mark.postgres
TRIALS = "SELECT * FROM atft_trial ORDER BY slot"
ATTEMPTS = "SELECT * FROM atft_attempt ORDER BY slot, attempt"
MakeStudy = Callable[..., Any]
MakeAgent = Callable[..., Agent]
Rows = Callable[[str], list[Any]]


def test_beside_others_it_is_not_the_trials_fault_and_fewer_run_from_then_on(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows, view: Any
) -> None:
    script = "room = 1\nepoch_seconds = 0.2\nepochs = 10"
    study = make_study(script=script, budget={"trials": 3, "max_attempts": 1})
    agent = make_agent(study, workers=2)
    running: list[int] = []
    view.at_turn = lambda: running.append(len(agent._running))
    agent.run()
    assert {(t.outcome, t.failures) for t in rows(TRIALS)} == {("COMPLETE", 0)}
    crowded = [a for a in rows(ATTEMPTS) if "out of memory beside others" in a.message]
    assert crowded
    assert {a.ending for a in crowded} == {"INTERRUPTED"}
    assert "the trials do not fit" in crowded[0].message
    changes = [n for n, before in zip(running, [0, *running], strict=False) if n != before]
    assert changes.count(2) == 1, "two were tried, once"
    assert agent._places.count(None) == 1
    assert any("it waits, 1 at a time on the CPU from now on" in line for line in view.lines)


def test_as_many_as_fit_go_on(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows
) -> None:
    script = "room = 2\nepoch_seconds = 0.2\nepochs = 15"
    study = make_study(script=script, budget={"trials": 4, "max_attempts": 1})
    agent = make_agent(study, workers=3)
    agent.run()
    assert {(t.outcome, t.failures) for t in rows(TRIALS)} == {("COMPLETE", 0)}
    assert agent._places.count(None) == 2


def test_alone_it_is_the_trials_own(
    database: Database, make_study: MakeStudy, make_agent: MakeAgent, rows: Rows
) -> None:
    study = make_study(script="error = 'memory'", budget={"trials": 1, "max_attempts": 2})
    agent = make_agent(study, workers=2)
    agent.run()
    (trial,) = rows(TRIALS)
    assert (trial.outcome, trial.failures) == ("OUT_OF_MEMORY", 2)
    assert trial.message == "too large; attempt 2 of 2"
    assert {a.ending for a in rows(ATTEMPTS)} == {"OUT_OF_MEMORY"}
    assert agent._places.count(None) == 2
