"""What a run records, and which last.pt it accepts."""

import dataclasses
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import parse_config, with_values
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import CheckpointError
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.training.phases.epoch_report import EpochReport
from atft_hpo.training.state.checkpoint import load_checkpoint, save_checkpoint
from atft_hpo.training.state.run_state import RunState

ConfigOf = Callable[..., Config]
CPU = torch.device("cpu")


def report_of(run: RunState, phase: int, epoch: int, value: float) -> EpochReport:
    """A report with this value; `smoothed` is the same."""
    days = np.datetime64("2021-01-01", "D") + np.arange(2)
    series = np.zeros(2, dtype=np.float32)
    return EpochReport(
        phase=phase, phase_name=run.phases[phase].name, epoch=epoch,
        epochs_done=len(run.history) + 1, epochs_total=run.epochs_total, metrics={"ic": value},
        value=value, smoothed=value, train={}, modules=(), seconds=1.0, validation_seconds=0.1,
        samples_per_second=1.0, eta_seconds=1.0,
        daily=DailySeries(days, *[series] * 6, days),
    )  # fmt: skip


def record(run: RunState, phase: int, *values: float) -> None:
    """Record epochs of `phase`; the head's bias holds the value as a mark on the weights."""
    for value in values:
        with torch.no_grad():
            run.model.heads.point.bias.fill_(value)
        epoch = len(run.reports_of(run.phases[phase]))
        run.record(run.phases[phase], report_of(run, phase, epoch, value))


def begin(config: Config, panel: Panel) -> RunState:
    """A new run."""
    return RunState.begin(config, panel, CPU)


@pytest.fixture
def single(config_of: ConfigOf) -> Config:
    """Two phases of 3 and 4 epochs, no smoothing; the second has patience 2."""
    none = {"epochs": 0}
    return config_of(
        objective={"smoothing_epochs": 1},
        phases={
            "baseline": {"epochs": 3},
            "adaptive_norm": {"epochs": 4, "patience": 2},
            "gat": none, "fine_tuning": none, "augmentation": none,
        },
    )  # fmt: skip


def test_best_changes_only_when_a_phase_is_reached_in_full(single: Config, panel: Panel) -> None:
    run = begin(single, panel)
    record(run, 0, 1.0, 3.0)
    assert run.best is None
    assert run.candidate is not None
    record(run, 0, 2.0)
    assert run.best is not None
    assert (run.best.step, run.best.value, run.candidate) == (1, 3.0, None)
    assert (run.best.weights["heads.point.bias"] == 3.0).all()
    record(run, 1, 9.0)
    assert run.best.step == 1
    record(run, 1, 4.0, 5.0)
    assert run.is_complete
    assert (run.best.step, run.best.value) == (1000, 9.0)


def test_epochs_total_shrinks_when_patience_ends_a_phase(single: Config, panel: Panel) -> None:
    run = begin(single, panel)
    assert run.epochs_total == 7
    record(run, 0, 1.0, 1.0, 1.0)
    record(run, 1, 3.0, 2.0, 1.0)
    assert run.epochs_total == 6


def test_the_seed_decides_weights_and_streams(config_of: ConfigOf, panel: Panel) -> None:
    one, same, other = (begin(config_of(seed=seed), panel) for seed in (1, 1, 2))
    draws = [torch.rand(3, generator=run.plan_generator) for run in (one, same, other)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], torch.rand(3, generator=one.augment_generator))
    weights = [run.model.heads.point.weight for run in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_restoring_gives_the_state_that_was_saved(
    single: Config, panel: Panel, tmp_path: Path
) -> None:
    run = begin(single, panel)
    record(run, 0, 1.0, 3.0, 2.0)
    record(run, 1, 5.0)
    torch.rand(5)
    save_checkpoint(tmp_path / "last.pt", run.content())
    expected = torch.rand(3), torch.rand(3, generator=run.plan_generator)
    other = begin(single, panel)
    other.restore(tmp_path / "last.pt")
    found = torch.rand(3), torch.rand(3, generator=other.plan_generator)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert [r.value for r in other.history] == [1.0, 3.0, 2.0, 5.0]
    assert other.best is not None
    assert other.candidate is not None
    assert (other.best.step, other.candidate.step) == (1, 1000)
    assert (other.best.weights["heads.point.bias"] == 3.0).all()
    assert other.seconds >= run.content()["seconds"] - 1.0


@pytest.mark.parametrize(
    "key", ["model.dropout", "phases.baseline.lr", "seed", "portfolio.cost_bps"]
)
def test_another_configuration_is_refused(
    key: str, single: Config, panel: Panel, tmp_path: Path
) -> None:
    run = begin(single, panel)
    record(run, 0, 1.0)
    save_checkpoint(tmp_path / "last.pt", run.content())
    changed = begin(with_values(single, {key: 3 if key == "seed" else 0.25}), panel)
    with pytest.raises(CheckpointError, match="another configuration"):
        changed.restore(tmp_path / "last.pt")


def test_what_does_not_shape_training_may_change(
    single: Config, panel: Panel, tmp_path: Path
) -> None:
    run = begin(single, panel)
    record(run, 0, 1.0)
    save_checkpoint(tmp_path / "last.pt", run.content())
    values = {
        "budget.trials": 99,
        "study.name": "other",
        "runtime.threads": 1,
        "data.path": "moved",
    }
    other = begin(with_values(single, values), panel)
    other.restore(tmp_path / "last.pt")
    assert len(other.history) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"panel": "0" * 64}, "written on panel 000"), ({"version": 99}, "not a last.pt")],
)
def test_another_panel_or_version_is_refused(
    changes: dict[str, Any], words: str, single: Config, panel: Panel, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "last.pt", begin(single, panel).content() | changes)
    with pytest.raises(CheckpointError, match=words):
        begin(single, panel).restore(tmp_path / "last.pt")


def test_a_model_file_says_what_it_is(single: Config, panel: Panel, tmp_path: Path) -> None:
    run = begin(single, panel)
    record(run, 0, 1.0, 3.0, 2.0)
    best = run.best
    assert best is not None
    content = run.model_content(best.weights, best.modules, best.metrics, best.step)
    save_checkpoint(tmp_path / "best_main.pt", content)
    found = load_checkpoint(tmp_path / "best_main.pt")
    assert (found["phase"], found["epoch"], found["step"]) == ("baseline", 1, 1)
    assert found["metrics"] == {"ic": 3.0}
    assert found["panel_record"]["codes"] == list(panel.manifest.codes)
    assert found["panel_record"]["sectors"] == ["unknown", "sector 0", "sector 1", "sector 2"]
    dates = parse_config(found["config"]).split.dates
    assert dates is not None
    assert (dates.train_first, dates.test_last) == (date(2020, 1, 1), date(2020, 6, 18))
    assert found["panel"] == panel.fingerprint
    assert dataclasses.is_dataclass(best)
