from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from atft_hpo.errors import StudyError
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.database.connection import Database
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.optuna_bridge.tell import tell_finished
from atft_hpo.service.queue.leases import Claim, conclude, requeue
from atft_hpo.service.studies.study import optuna_study

pytestmark = pytest.mark.postgres
MakeStudy = Callable[..., Any]
Take = Callable[..., Claim]
Rows = Callable[[str], list[Any]]
TRIALS = "SELECT * FROM atft_trial ORDER BY slot"


def trials(database: Database) -> list[optuna.trial.FrozenTrial]:
    return optuna_study(database, "race").get_trials(deepcopy=False)


def test_baseline_first_and_once(
    database: Database, make_study: MakeStudy, take: Take, rows: Rows
) -> None:
    study = make_study(budget={"trials": 3})
    one, other = Asker(database, study), Asker(database, study)
    asked = [one.ask(take()), other.ask(take()), one.ask(take())]
    assert [a.number for a in asked] == [0, 1, 2]
    assert asked[0].params == {"model.dropout": 0.1}
    assert len({a.params["model.dropout"] for a in asked}) == 3
    assert [t.state for t in trials(database)] == [TrialState.RUNNING] * 3
    assert [t.user_attrs["slot"] for t in trials(database)] == [0, 1, 2]
    assert [(r.number, r.params) for r in rows(TRIALS)] == [(a.number, a.params) for a in asked]


def test_slot_claimed_again_keeps_its_trial(
    database: Database, make_study: MakeStudy, take: Take
) -> None:
    asker = Asker(database, make_study(budget={"trials": 2}))
    found = take()
    first = asker.ask(found)
    requeue(database, found.lease, "interrupted")
    assert asker.ask(take()) == first
    assert len(trials(database)) == 1


def test_trial_asked_but_not_recorded_is_adopted(
    database: Database, make_study: MakeStudy, take: Take
) -> None:
    """An agent died between asking Optuna and its own row, with or without the slot's mark."""
    study = make_study(budget={"trials": 2})
    view = optuna_study(database, "race")
    unmarked, marked = view.ask(), view.ask()
    marked.set_user_attr("slot", 0)
    asker = Asker(database, study)
    assert asker.ask(take()).trial_id == marked._trial_id
    assert asker.ask(take()).trial_id == unmarked._trial_id
    assert len(trials(database)) == 2


def test_agent_dead_between_recording_and_suggesting(
    database: Database, make_study: MakeStudy, take: Take, rows: Rows
) -> None:
    study = make_study(budget={"trials": 1})
    asker = Asker(database, study)
    asker._attach(take(-1.0))
    assert rows(TRIALS)[0].params is None
    assert asker.ask(take()).number == 0
    assert rows(TRIALS)[0].params == {"model.dropout": 0.1}


def test_lost_lease_records_nothing(
    database: Database, make_study: MakeStudy, take: Take, rows: Rows
) -> None:
    asker = Asker(database, make_study(budget={"trials": 1}))
    late, current = take(-1.0), take()
    with pytest.raises(StudyError, match="lease on slot 0 was lost"):
        asker.ask(late)
    assert rows(TRIALS)[0].number is None
    assert asker.ask(current).number == 0
    assert len(trials(database)) == 1, "the late one's trial is adopted"


def test_no_baseline_where_it_is_not_wanted(
    database: Database, make_study: MakeStudy, take: Take
) -> None:
    space = {"model.dropout": {"type": "float", "low": 0.3, "high": 0.5}}
    study = make_study(search={"space": space, "enqueue_baseline": False})
    Asker(database, study).ask(take())
    assert "baseline" not in trials(database)[0].user_attrs


def test_tells_once_whoever_does_it(
    database: Database, make_study: MakeStudy, take: Take, rows: Rows
) -> None:
    asker = Asker(database, make_study(budget={"trials": 3}))
    endings = [(Outcome.COMPLETE, 1.5), (Outcome.PRUNED, None), (Outcome.ERROR, None)]
    for ending, value in endings:
        found = take()
        asker.ask(found)
        conclude(database, found.lease, ending, "why", value)
    told = tell_finished(database, "race")
    assert [row["number"] for row in told] == [0, 1, 2]
    assert tell_finished(database, "race") == []
    states = [(t.state.name, t.value, t.user_attrs["outcome"]) for t in trials(database)]
    assert states == [
        ("COMPLETE", 1.5, "COMPLETE"),
        ("PRUNED", None, "PRUNED"),
        ("FAIL", None, "ERROR"),
    ]
    assert all(row.told_at is not None for row in rows(TRIALS))


def test_trial_that_optuna_holds_finished_is_as_good_as_told(
    database: Database, make_study: MakeStudy, take: Take
) -> None:
    asker = Asker(database, make_study(budget={"trials": 1}))
    found = take()
    asker.ask(found)
    optuna_study(database, "race").tell(0, state=TrialState.FAIL)
    conclude(database, found.lease, Outcome.COMPLETE, "", 1.0)
    assert len(tell_finished(database, "race")) == 1
    assert trials(database)[0].state is TrialState.FAIL


def test_slot_that_was_never_asked_has_nothing_to_tell(
    database: Database, make_study: MakeStudy, take: Take
) -> None:
    make_study(budget={"trials": 1})
    conclude(database, take().lease, Outcome.ERROR, "no parameters could be suggested")
    assert len(tell_finished(database, "race")) == 1
    assert trials(database) == []
