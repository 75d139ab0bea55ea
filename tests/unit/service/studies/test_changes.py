from collections.abc import Callable

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.service.studies.changes import changed_keys


def test_nothing_changed(make_config: Callable[..., Config]) -> None:
    assert changed_keys(make_config(), make_config()) == []


def test_budget_question_and_path_are_free(make_config: Callable[..., Config]) -> None:
    changes = {"budget.trials": 99, "study.question": "why?", "data.path": "/elsewhere"}
    assert changed_keys(make_config(), with_values(make_config(), changes)) == []


def test_names_each_key_with_both_values(make_config: Callable[..., Config]) -> None:
    changed = with_values(make_config(), {"model.hidden": 32, "phases.gat.lr": 0.5, "seed": 3})
    assert changed_keys(make_config(), changed) == [
        "model.hidden: 64 → 32",
        "phases.gat.lr: 0.0001 → 0.5",
        "seed: 0 → 3",
    ]


def test_key_that_came_or_went(make_config: Callable[..., Config]) -> None:
    free = make_config(runtime={})
    threaded = with_values(free, {"runtime.threads": 2})
    assert changed_keys(free, threaded) == ["runtime.threads: absent → 2"]
    assert changed_keys(threaded, free) == ["runtime.threads: 2 → absent"]
