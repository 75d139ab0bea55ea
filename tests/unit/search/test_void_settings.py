"""A study that can never prune, and averages over nothing, are named with what to change."""

from pathlib import Path
from typing import Any

import pytest

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config, with_values
from atft_hpo.search.void_settings import most_epochs, void_settings

STUDIES = sorted((Path(__file__).parents[3] / "studies").glob("*.toml"))
ONE_EACH = {f"phases.{name}.epochs": 1 for name in
            ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")}  # fmt: skip


def notes(**values: Any) -> str:
    keys = {name.replace("__", "."): value for name, value in values.items()}
    return "\n".join(void_settings(with_values(Config(), {"budget.trials": 20} | keys)))


def one_each(**values: Any) -> str:
    return notes(**ONE_EACH, objective__smoothing_epochs=1, **values)


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_project_does_what_it_says(study: Path) -> None:
    assert void_settings(load_config(study)) == ()


def test_the_defaults_do_what_they_say() -> None:
    assert notes() == ""


def test_one_epoch_a_phase_after_a_warm_up_of_one_leaves_none_to_judge() -> None:
    found = one_each()
    assert "search.pruner (phase_aware) can never prune" in found
    assert "warmup_epochs = 1" in found
    assert one_each(search__pruner__warmup_epochs=0) == ""


def test_an_ending_after_the_last_epoch_spares_nothing() -> None:
    alone = {name: 0 for name in ONE_EACH} | {"phases.gat.epochs": 3}
    common = {"objective__smoothing_epochs": 1, "search__pruner__skip_phases": 2}
    assert notes(**alone, **common, search__pruner__warmup_epochs=1) == ""
    assert "can never prune" in notes(**alone, **common, search__pruner__warmup_epochs=2)
    assert "can never prune" in notes(**alone, **common | {"search__pruner__skip_phases": 3})


def test_searched_lengths_count_with_their_longest() -> None:
    longer = {"phases.gat.epochs": {"type": "int", "low": 1, "high": 3}}
    assert one_each(search__space=longer) == ""
    config = with_values(Config(), {"search.space": longer})
    assert most_epochs(config, "gat") == 3
    chosen = {"phases.gat.epochs": {"type": "categorical", "choices": [2, 11]}}
    assert most_epochs(with_values(Config(), {"search.space": chosen}), "gat") == 11


@pytest.mark.parametrize("kind", ["phase_aware", "median", "percentile"])
def test_too_few_trials_have_too_few_peers(kind: str) -> None:
    few = {"search__pruner__kind": kind, "budget__trials": 5, "search__pruner__min_peers": 5}
    assert "min_peers = 5 of budget.trials = 5" in notes(**few)
    assert notes(**few | {"budget__trials": 6}) == ""


def test_a_better_share_of_all_ends_nobody() -> None:
    assert "keep_share = 1 keeps all" in notes(search__pruner__keep_share=1.0)
    assert "keeps all of the 20" in notes(search__pruner__keep_share=0.96)
    assert notes(search__pruner__keep_share=0.95) == ""


@pytest.mark.parametrize("kind", ["none", "halving", "hyperband"])
def test_pruners_without_phases_are_judged_by_what_they_look_at(kind: str) -> None:
    assert one_each(search__pruner__kind=kind) == ""


def test_smoothing_beyond_the_last_phase_is_named() -> None:
    assert "objective.smoothing_epochs = 2 is void" in notes(
        phases__augmentation__epochs=1, objective__smoothing_epochs=2
    )
    found = notes(phases__augmentation__epochs=2, objective__smoothing_epochs=3)
    assert "smoothing_epochs = 3 averages 2" in found
    assert notes(phases__augmentation__epochs=3, objective__smoothing_epochs=3) == ""


def test_patience_that_cannot_end_a_phase_is_named() -> None:
    common = {"phases__gat__epochs": 4, "objective__smoothing_epochs": 2}
    assert notes(**common, phases__gat__patience=1) == ""
    assert "phases.gat.patience = 2 is void" in notes(**common, phases__gat__patience=2)
