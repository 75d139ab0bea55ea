"""What we write into Optuna's tables ourselves: the same as Optuna would have written."""

import threading
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from atft_hpo.config.settings import Settings
from atft_hpo.search.samplers import make_sampler
from atft_hpo.search.space import suggest
from atft_hpo.service.database.connection import Database, attach_database
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.optuna_bridge.batched_storage import OneAsk
from atft_hpo.service.queue.leases import Claim, LeaseTimes, claim
from atft_hpo.service.studies.study import optuna_study
from atft_hpo.service.trial.assignment import read_assignment
from atft_hpo.service.trial.on_epoch import EpochReporter

pytestmark = pytest.mark.postgres
MakeStudy = Callable[..., Any]
Take = Callable[..., Claim]
Rows = Callable[[str], list[Any]]
SPACE = {
    "model.dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "optim.weight_decay": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "model.gat.heads": {"type": "categorical", "choices": [[4, 2], [2, 2]]},
    "model.fan.k": {"type": "int", "low": 1, "high": 5},
    "phases.gat.freeze": {"type": "categorical", "choices": ["none", "encoder"]},
}
SEARCH = {"space": SPACE, "sampler": {"kind": "tpe", "startup_trials": 2}}
VALUES = (0.25, -1.5, float("nan"), float("inf"), 1e-300)
PARAMS = (
    "SELECT t.number, p.param_name, p.param_value, p.distribution_json FROM trial_params p "
    "JOIN trials t USING (trial_id) JOIN studies s USING (study_id) "
    "WHERE study_name = '{}' ORDER BY p.param_id"
)
REPORTS = (
    "SELECT t.number, v.step, v.intermediate_value, v.intermediate_value_type "
    "FROM trial_intermediate_values v "
    "JOIN trials t USING (trial_id) JOIN studies s USING (study_id) "
    "WHERE study_name = '{}' ORDER BY t.number, v.step"
)


def plain_study(database: Database, config: Any) -> optuna.Study:
    """As somebody without this program would make it, but for the sampler's seed."""
    sampler = make_sampler(config.search.sampler, config.search.space)
    return optuna.create_study(
        storage=optuna.storages.RDBStorage(database.url, skip_table_creation=True),
        study_name="plain",
        direction="maximize",
        sampler=sampler,
    )


def seen(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
    """All that a sampler or a dashboard can know, but for times and our own marks."""
    return (
        trial.number, trial.state, trial.values, list(trial.params.items()),
        list(trial.distributions.items()), trial.intermediate_values, trial.system_attrs,
    )  # fmt: skip


def test_rows_are_those_of_plain_optuna(
    database: Database, make_study: MakeStudy, take: Take, quick: Any, rows: Rows
) -> None:
    study = make_study(search={**SEARCH, "enqueue_baseline": False}, budget={"trials": 6})
    asker, plain = Asker(database, study), plain_study(database, study.config)
    ours = optuna_study(database, "race")
    for number in range(6):
        found = take()
        asked = asker.ask(found)
        assignment = read_assignment(database, found.lease)
        assert assignment is not None
        told = EpochReporter(database, assignment)
        trial = plain.ask()
        assert suggest(trial, study.config) == asked.params
        for epoch, value in enumerate(VALUES):
            told.on_epoch(quick.fake_report(epoch, 9, value))
            if abs(value) < float("inf"):  # others are not reported
                trial.report(value, epoch)
        if number % 3 < 2:  # the others run on
            state = (TrialState.COMPLETE, TrialState.PRUNED)[number % 3]
            value = float(number) if state is TrialState.COMPLETE else None
            ours.tell(number, value, state)
            plain.tell(trial, value, state)
    for query in (PARAMS, REPORTS):
        assert rows(query.format("race")) == rows(query.format("plain"))
        assert rows(query.format("race"))
    reader = optuna.load_study(study_name="race", storage=database.url)
    assert [seen(t) for t in reader.trials] == [seen(t) for t in plain.trials]
    assert any("tpe:relative_params:0" in t.system_attrs for t in reader.trials)
    for one in (reader, plain):
        one._storage._backend.engine.dispose()


def test_an_ask_looks_once_and_writes_parameters_in_one_statement(
    database: Database, make_study: MakeStudy, take: Take
) -> None:
    """Guards the methods of Optuna's that are replaced: by other names they would not be called."""
    asker = Asker(database, make_study(search=SEARCH, budget={"trials": 9}))
    for number in range(4):
        asker.ask(take())
        optuna_study(database, "race").tell(number, 1.0)
    statements = list[str]()
    note = lambda *args: statements.append(args[2])  # noqa: E731
    for engine in (database.engine, database.single_engine, database.optuna_engine):
        event.listen(engine, "before_cursor_execute", note)
    asker.ask(take())
    assert sum("INTO trial_params" in statement for statement in statements) == 1
    assert sum("IN (SELECT trials" in s or "trials.trial_id >" in s for s in statements) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_ask_is_repeated_when_the_connection_breaks(
    database: Database, make_study: MakeStudy, take: Take, rows: Rows, moment: str
) -> None:
    """When the parameters are to be written, and when nobody hears that they are committed."""
    asker = Asker(database, make_study(search=SEARCH, budget={"trials": 2}))
    cut = list[str]()

    def breaking(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not cut and "INTO trial_params" in statement:
            cut.append(moment)
            if moment == "after":
                connection.connection.dbapi_connection.commit()
                raise OperationalError(statement, {}, Exception("connection lost"))
            pid = connection.connection.dbapi_connection.info.backend_pid
            assert rows(f"SELECT pg_terminate_backend({pid})") == [(True,)]

    hook = "after_cursor_execute" if moment == "after" else "before_cursor_execute"
    event.listen(database.engine, hook, breaking)
    asked = asker.ask(take())
    assert cut == [moment]
    assert asked.number == 0
    assert len(rows(PARAMS.format("race"))) == len(SPACE)
    (trial,) = optuna_study(database, "race").trials
    assert trial.params.keys() == asked.params.keys()
    assert rows("SELECT number, params FROM atft_trial") == [(0, asked.params)]


def test_an_ask_done_again_from_the_start_keeps_its_trial(
    database: Database, make_study: MakeStudy, take: Take
) -> None:
    """The connection that holds the lock broke after all was written."""
    asker = Asker(database, make_study(search=SEARCH, budget={"trials": 2}))
    found = take()
    assert asker.ask(found) == asker.ask(found)
    assert len(optuna_study(database, "race").trials) == 1


def test_agents_that_ask_at_once_get_trials_of_their_own(
    settings: Settings, make_study: MakeStudy, database: Database, rows: Rows
) -> None:
    study = make_study(search=SEARCH, budget={"trials": 12})
    asked = list[Any]()

    def agent(name: str) -> None:
        own = attach_database(settings)
        asker = Asker(own, study)
        for _ in range(4):
            found = claim(own, "race", f"{name}:1:a", LeaseTimes())
            assert isinstance(found, Claim)
            asked.append(asker.ask(found))
        own.close()

    agents = [threading.Thread(target=agent, args=(f"host{i}",)) for i in range(3)]
    for thread in agents:
        thread.start()
    for thread in agents:
        thread.join()
    assert sorted(a.number for a in asked) == list(range(12))
    assert len({str(a.params) for a in asked}) == 12
    trials = optuna_study(database, "race").trials
    assert all(trial.params.keys() == SPACE.keys() for trial in trials)
    assert len(rows(PARAMS.format("race"))) == 12 * len(SPACE)


def test_parameters_of_a_trial_that_has_ended_are_refused(
    database: Database, make_study: MakeStudy, take: Take, rows: Rows
) -> None:
    study = make_study(search=SEARCH, budget={"trials": 1})
    asker = Asker(database, study)
    found = take()
    trial = asker._attach(found)
    optuna_study(database, "race").tell(trial.number, state=TrialState.FAIL)
    suggest(trial, study.config)
    with pytest.raises(UpdateFinishedTrialError, match="has ended while it was asked for"):
        database.run(lambda c: asker._storage.write_params(c, trial._trial_id))
    assert rows(PARAMS.format("race")) == []


def test_one_look_sees_what_waits_and_is_taken_anew_with_the_next_ask(
    database: Database, make_study: MakeStudy
) -> None:
    make_study()
    storage: Any = OneAsk(database.optuna_storage)
    study = optuna_study(database, "race", storage=storage)
    other = optuna_study(database, "race")
    assert study.get_trials() == []
    other.ask()
    assert study.get_trials() == []
    study.enqueue_trial({"model.dropout": 0.3})
    assert [t.state for t in study.get_trials()] == [TrialState.RUNNING, TrialState.WAITING]
    assert study.ask().number == 1
    storage.begin()
    assert [t.state for t in study.get_trials()] == [TrialState.RUNNING] * 2
