"""Which configurations have done the same up to a phase, and that such runs are the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.data.sampling.splits import dated
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import CheckpointError
from atft_hpo.paths import RunPaths
from atft_hpo.training.phases.epoch_report import Decision
from atft_hpo.training.run.loop import run_phases
from atft_hpo.training.state.checkpoint import load_checkpoint
from atft_hpo.training.state.identity import phase_key, shaping, trees_key

ConfigOf = Callable[..., Config]
CPU = torch.device("cpu")
BASELINE = ("baseline",)


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("phases.gat.lr", 0.25, True),
        ("phases.fine_tuning.epochs", 7, True),
        ("model.fan.k", 1, True),
        ("graph.neighbours", 2, True),
        ("model.gat.heads", [1], False),  # shapes parameters, which are drawn at the start
        ("augment.feature_noise", 0.5, True),
        ("search.sampler.seed", 3, True),
        ("phases.baseline.lr", 0.25, False),
        ("phases.baseline.epochs", 9, False),
        ("model.san.spans", [1], False),  # shapes parameters, which are drawn at the start
        ("loss.point", "huber", False),
        ("objective.smoothing_epochs", 3, False),
        ("seed", 3, False),
    ],
)
def test_what_shapes_the_first_phase(
    key: str, value: Any, same: bool, config_of: ConfigOf, panel: Panel
) -> None:
    config, other = config_of(), with_values(config_of(), {key: value})
    assert (shaping(config, BASELINE) == shaping(other, BASELINE)) is same
    assert (phase_key(config, panel, BASELINE) == phase_key(other, panel, BASELINE)) is same


def test_runs_on_other_days_are_others_however_they_came_to_them(
    config_of: ConfigOf, panel: Panel
) -> None:
    config = dated(config_of(), panel)
    again = dated(config_of(split={"scheme": "expanding"}), panel)
    other = dated(config_of(split={"train_share": 0.58}), panel)
    assert phase_key(config, panel, BASELINE) == phase_key(again, panel, BASELINE)
    assert phase_key(config, panel, BASELINE) != phase_key(other, panel, BASELINE)
    assert trees_key(config, panel) == trees_key(again, panel)
    assert trees_key(config, panel) != trees_key(other, panel)


def test_settings_count_once_a_phase_reads_them(config_of: ConfigOf) -> None:
    config = config_of()
    for key, begun in (("model.fan.k", "adaptive_norm"), ("augment.mixup", "augmentation")):
        other = with_values(config, {key: 1 if key == "model.fan.k" else 0.3})
        assert shaping(config, BASELINE) == shaping(other, BASELINE)
        assert shaping(config, [*BASELINE, begun]) != shaping(other, [*BASELINE, begun])


def test_a_graph_counts_from_the_first_phase_on_where_it_smooths_the_trees(
    config_of: ConfigOf,
) -> None:
    for rounds, same in ((0, True), (5, False)):
        config = with_values(config_of(), {"model.trees.rounds": rounds})
        other = with_values(config, {"graph.neighbours": config.graph.neighbours + 1})
        assert (shaping(config, BASELINE) == shaping(other, BASELINE)) is same


def test_how_trees_are_smoothed_shapes_a_run_but_not_the_trees(
    config_of: ConfigOf, panel: Panel
) -> None:
    config = dated(with_values(config_of(), {"model.trees.rounds": 5}), panel)
    other = with_values(config, {"model.trees.smoothing": 0.3})
    assert trees_key(config, panel) == trees_key(other, panel)
    assert phase_key(config, panel, BASELINE) != phase_key(other, panel, BASELINE)


def test_the_last_phase_is_another_one_than_the_same_phase_before_others(
    config_of: ConfigOf,
) -> None:
    """Its epochs are averaged."""
    config = config_of()
    later = ("adaptive_norm", "gat", "fine_tuning", "augmentation")
    alone = with_values(config, {f"phases.{name}.epochs": 0 for name in later})
    assert shaping(config, BASELINE) != shaping(alone, BASELINE)


def test_going_on_from_another_runs_phases_gives_the_same_run(
    config_of: ConfigOf, panel: Panel, tmp_path: Path
) -> None:
    config = config_of()
    other = with_values(config, {"phases.gat.lr": 1e-3, "augment.feature_noise": 0.2})
    ends = config.phases.baseline.epochs
    first, second, alone = (RunPaths(tmp_path / name) for name in ("first", "second", "alone"))
    run_phases(
        config, panel, first, CPU,
        lambda r: Decision.INTERRUPT if r.epochs_done == ends else Decision.CONTINUE,
    )  # fmt: skip
    run_phases(other, panel, second, CPU, lambda _: Decision.CONTINUE, first.last)
    run_phases(other, panel, alone, CPU, lambda _: Decision.CONTINUE)
    found, expected = (load_checkpoint(paths.final)["model"] for paths in (second, alone))
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_phase_that_has_begun_is_held_to(
    config_of: ConfigOf, panel: Panel, tmp_path: Path
) -> None:
    config, paths = config_of(), RunPaths(tmp_path)
    run_phases(config, panel, paths, CPU, lambda _: Decision.INTERRUPT)
    changed = with_values(config, {"phases.baseline.lr": 1e-4})
    with pytest.raises(CheckpointError, match="phases that have begun"):
        run_phases(changed, panel, paths, CPU, lambda _: Decision.CONTINUE, paths.last)
