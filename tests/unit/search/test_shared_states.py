"""Which states trials have in common, from what is searched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config, load_config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.search.shared_states import shared_states

STUDIES = Path(__file__).parents[3] / "studies"
FLOAT = {"type": "float", "low": 0.1, "high": 0.2}


def searching(space: dict[str, Any], trials: int = 20, **more: Any) -> Config:
    return build_config({"search": {"space": space}, "budget": {"trials": trials}, **more})


def through(name: str) -> frozenset[str]:
    """The phases up to `name`."""
    return frozenset(PHASE_NAMES[: PHASE_NAMES.index(name) + 1])


@pytest.mark.parametrize(
    ("space", "last"),
    [
        ({"phases.fine_tuning.lr": FLOAT}, "gat"),
        ({"phases.baseline.lr": FLOAT}, None),
        ({"augment.feature_noise": FLOAT}, "fine_tuning"),
        ({"model.dropout": FLOAT}, None),
        ({"model.fan.k": {"type": "int", "low": 1, "high": 4}}, "augmentation"),
        ({"model.fan.k": {"type": "int", "low": 0, "high": 10}}, "baseline"),
        (
            {
                "model.fan.k": {"type": "int", "low": 1, "high": 4},
                "graph.neighbours": {"type": "categorical", "choices": [4, 8, 16]},
            },
            "adaptive_norm",
        ),
        ({"phases.gat.lr": FLOAT | {"step": 0.1}}, "augmentation"),
        ({"phases.gat.lr": FLOAT | {"step": 0.005}}, "adaptive_norm"),
    ],
    ids=str,
)
def test_what_no_searched_value_or_few_have_shaped(space: dict[str, Any], last: str | None) -> None:
    assert shared_states(searching(space)) == (through(last) if last else frozenset())


def test_few_trials_meet_less_often() -> None:
    space = {"model.fan.k": {"type": "int", "low": 1, "high": 4}}
    assert shared_states(searching(space, trials=8)) == through("augmentation")
    assert shared_states(searching(space, trials=7)) == through("baseline")


def test_trees_are_shared_where_there_are_any() -> None:
    trees = {"model": {"trees": {"rounds": 20}}}
    assert shared_states(searching({"phases.baseline.lr": FLOAT}, **trees)) == {"trees"}
    searched = {"model.trees.l2": FLOAT}
    assert shared_states(searching(searched, **trees)) == frozenset()


def test_the_study_of_the_last_phases_shares_the_others(load: Callable[[str], Config]) -> None:
    assert shared_states(load("finetune")) == through("gat")
    assert shared_states(load("quickstart")) == frozenset()


@pytest.fixture
def load() -> Callable[[str], Config]:
    """A study of this project."""
    return lambda name: load_config(STUDIES / f"{name}.toml")
