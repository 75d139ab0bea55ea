"""Work that runs have in common is done once, and what comes of it is the same."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.data.store.panel import Panel
from atft_hpo.paths import RunPaths
from atft_hpo.training import fit_trees
from atft_hpo.training.phases.epoch_report import Decision, Ending, EpochReport, TrainingResult
from atft_hpo.training.run.loop import run_phases
from atft_hpo.training.state import run_state
from atft_hpo.training.state.checkpoint import load_checkpoint, save_checkpoint
from atft_hpo.training.state.reuse import TREES, SharedStates

ConfigOf = Callable[..., Config]
CPU = torch.device("cpu")
EARLY = ("baseline", "adaptive_norm")
OTHER_END = {"phases.gat.lr": 2e-3, "augment.feature_noise": 0.2}
"""What a search over the later phases changes."""


@pytest.fixture(scope="module")
def config(config_of: ConfigOf) -> Config:
    """With all that has a state: dropout, EMA, SWA, augmentation, subsets of stocks, trees."""
    return config_of(
        model={"trees": {"rounds": 4, "leaves": 4, "blocks": 2, "bags": 2}},
        optim={"ema_decay": 0.9, "swa_epochs": 2},
        slices={"stocks": 20},
        phases={"gat": {"reload_best": True}},
    )


class Heard:
    """An `on_epoch` that remembers, and gives one answer from the epoch number `since` on."""

    def __init__(self, answer: Decision = Decision.CONTINUE, since: int = 0) -> None:
        self.reports: list[EpochReport] = []
        self._answer, self._since = answer, since

    def __call__(self, report: EpochReport) -> Decision:
        self.reports.append(report)
        return self._answer if report.epochs_done >= self._since else Decision.CONTINUE

    @property
    def shared(self) -> list[str]:
        return [report.phase_name for report in self.reports if report.shared]


def train(
    config: Config, panel: Panel, root: Path, store: SharedStates | None = None,
    heard: Callable[[EpochReport], Decision] | None = None, **more: Any,
) -> TrainingResult:  # fmt: skip
    """A run in `root`."""
    on_epoch = heard or Heard()
    return run_phases(config, panel, RunPaths(root), CPU, on_epoch, shared=store, **more)


def same_files(first: Path, second: Path) -> bool:
    """Whether two finished runs came to the same weights, bit by bit."""
    for name in ("final", "swa", "best"):
        found, wanted = (
            load_checkpoint(getattr(RunPaths(root), name))["model"] for root in (first, second)
        )
        if not all(torch.equal(found[key], wanted[key]) for key in wanted):
            return False
    return True


@pytest.fixture(scope="module")
def first(config: Config, panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume in which one run has shared its trees and its first two phases."""
    volume = tmp_path_factory.mktemp("first")
    train(config, panel, volume / "run", SharedStates(volume / "kept", {TREES, *EARLY}))
    return volume


def test_what_is_taken_over_gives_bitwise_the_same_run(
    config: Config, panel: Panel, first: Path, tmp_path: Path
) -> None:
    other, heard = with_values(config, OTHER_END), Heard()
    result = train(other, panel, tmp_path / "second", SharedStates(first / "kept", EARLY), heard)
    train(other, panel, tmp_path / "alone")
    assert result.ending is Ending.COMPLETE
    assert heard.shared == ["baseline", "baseline", "adaptive_norm", "adaptive_norm"]
    assert [report.epochs_done for report in heard.reports] == list(range(1, 9))
    assert same_files(tmp_path / "second", tmp_path / "alone")
    assert not same_files(tmp_path / "second", first / "run")


def test_sharing_changes_nothing_of_the_run_that_does_the_work(
    config: Config, panel: Panel, first: Path, tmp_path: Path
) -> None:
    train(config, panel, tmp_path)
    assert same_files(tmp_path, first / "run")


def test_only_the_beginning_that_is_the_same_is_taken_over(
    config: Config, panel: Panel, first: Path, tmp_path: Path
) -> None:
    heard = Heard()
    other = with_values(config, {"model.fan.k": 1})
    train(other, panel, tmp_path / "run", SharedStates(first / "kept", EARLY), heard)
    assert heard.shared == ["baseline", "baseline"]
    heard = Heard()
    other = with_values(config, {"phases.baseline.lr": 1e-4})
    train(other, panel, tmp_path / "other", SharedStates(tmp_path / "kept", EARLY), heard)
    assert heard.shared == []


def test_trees_are_fitted_once(
    config: Config, panel: Panel, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = with_values(config, {"phases.baseline.lr": 1e-4})
    train(other, panel, tmp_path / "alone")

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("trees were fitted again")

    monkeypatch.setattr(run_state, "fit_stack", refuse)
    train(other, panel, tmp_path / "second", SharedStates(first / "kept", {TREES}))
    assert same_files(tmp_path / "second", tmp_path / "alone")


def test_other_trees_are_fitted_anew(
    config: Config, panel: Panel, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        fits.append(kwargs)
        return fit_trees.fit_stack(*args, **kwargs)

    monkeypatch.setattr(run_state, "fit_stack", counted)
    for key, value in (("model.trees.leaves", 5), ("loss.half_life_days", 30)):
        other = with_values(config, {key: value})
        stop = Heard(Decision.INTERRUPT)
        train(other, panel, tmp_path / key, SharedStates(first / "kept", {TREES}), stop)
    assert len(fits) == 2


def test_a_damaged_state_is_made_again(config: Config, panel: Panel, tmp_path: Path) -> None:
    store, heard = SharedStates(tmp_path / "kept", EARLY), Heard()
    train(config, panel, tmp_path / "one", store)
    for kept in (tmp_path / "kept").glob("*.pt"):
        kept.write_bytes(kept.read_bytes()[:-100])
    train(config, panel, tmp_path / "two", store, heard)
    assert heard.shared == []
    assert same_files(tmp_path / "one", tmp_path / "two")
    train(config, panel, tmp_path / "three", store, again := Heard())
    assert again.shared == ["baseline", "baseline", "adaptive_norm", "adaptive_norm"]


def test_a_prune_counts_after_the_last_epoch_taken_over(
    config: Config, panel: Panel, first: Path, tmp_path: Path
) -> None:
    store = SharedStates(first / "kept", EARLY)
    early = Heard(Decision.PRUNE)
    result = train(config, panel, tmp_path / "pruned", store, early)
    assert (result.ending, result.epochs_done) == (Ending.PRUNED, 4)
    assert len(early.reports) == 4
    cancelled = Heard(Decision.CANCEL)
    result = train(config, panel, tmp_path / "cancelled", store, cancelled)
    assert result.ending is Ending.CANCELLED
    assert len(cancelled.reports) == 1


def test_an_attempt_after_one_that_took_over_continues(
    config: Config, panel: Panel, first: Path, tmp_path: Path
) -> None:
    store = SharedStates(first / "kept", EARLY)
    train(config, panel, tmp_path / "one", store, Heard(Decision.INTERRUPT, since=5))
    heard, last = Heard(), RunPaths(tmp_path / "one").last
    train(config, panel, tmp_path / "two", store, heard, resume_from=last)
    assert [report.epochs_done for report in heard.reports] == [5, 6, 7, 8]
    assert same_files(tmp_path / "two", first / "run")


def test_the_second_waits_for_what_the_first_is_making(tmp_path: Path) -> None:
    maker, waiter = (SharedStates(tmp_path, EARLY) for _ in range(2))
    go_on = lambda: Decision.CONTINUE  # noqa: E731
    assert maker.take("key", go_on) is None
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(waiter.take("key", go_on)))
    thread.start()
    time.sleep(0.5)
    assert not found
    maker.keep("key", {"a": torch.ones(1)})
    thread.join(timeout=10)
    assert isinstance(found[0], Path)
    assert load_checkpoint(found[0])["a"] == 1


def test_who_waits_can_be_stopped_and_takes_the_place_of_one_that_gave_up(tmp_path: Path) -> None:
    maker, waiter = (SharedStates(tmp_path, EARLY) for _ in range(2))
    assert maker.take("key", lambda: Decision.CONTINUE) is None
    assert waiter.take("key", lambda: Decision.INTERRUPT) is Decision.INTERRUPT
    maker.release()
    assert waiter.take("key", lambda: Decision.INTERRUPT) is None


def test_no_lock_is_left_behind(config: Config, panel: Panel, tmp_path: Path) -> None:
    train(
        config,
        panel,
        tmp_path / "run",
        SharedStates(tmp_path / "kept", EARLY),
        Heard(Decision.PRUNE),
    )
    locks = list((tmp_path / "kept").glob("*.lock"))
    assert locks
    for path in locks:
        with FileLock(path, blocking=False):
            pass


def test_what_is_kept_stays(tmp_path: Path) -> None:
    store = SharedStates(tmp_path, EARLY)
    store.keep("key", {"a": 1})
    store.keep("key", {"a": 2})
    kept = store.take("key", lambda: Decision.CONTINUE)
    assert isinstance(kept, Path)
    assert load_checkpoint(kept) == {"a": 1}
    save_checkpoint(tmp_path / "other.pt", {})
    assert not store.has("other key")
