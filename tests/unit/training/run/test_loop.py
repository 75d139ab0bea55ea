"""The whole run: order, files, endings, phases that switch what they say, and bitwise resume."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import HealthGateError, NonFiniteError, VolumeError
from atft_hpo.paths import RunPaths
from atft_hpo.training.fit_trees import KINDS
from atft_hpo.training.forecasting.forecast import evaluate_panel
from atft_hpo.training.phases.epoch_report import Decision, Ending, EpochReport, TrainingResult
from atft_hpo.training.run import loop
from atft_hpo.training.run.loop import run_phases
from atft_hpo.training.state import run_state
from atft_hpo.training.state.checkpoint import load_checkpoint
from atft_hpo.training.state.open_model import load_model

ConfigOf = Callable[..., Config]
CPU = torch.device("cpu")
TIMES = ("seconds", "validation_seconds", "samples_per_second", "eta_seconds")
STEPS = [0, 1, 1000, 1001, 2000, 3000, 4000, 4001]
OFF = {"epochs": 0}


class ProcessDiedError(Exception):
    """Stands for a process that died."""


def go_on(_: EpochReport) -> Decision:
    """Continue whatever is reported."""
    return Decision.CONTINUE


def after(epochs: int, decision: Decision) -> Callable[[EpochReport], Decision]:
    """Answer `decision` once so many epochs are done."""
    return lambda r: decision if r.epochs_done >= epochs else Decision.CONTINUE


@pytest.fixture(scope="module")
def whole_config(config_of: ConfigOf) -> Config:
    """All phases with all that has a state: dropout, EMA, SWA, augmentation, subsets, trees."""
    return config_of(
        model={"trees": {"rounds": 4, "leaves": 4, "blocks": 2, "bags": 2}},
        optim={"ema_decay": 0.9, "swa_epochs": 2},
        slices={"stocks": 20},
        phases={"gat": {"reload_best": True}},
    )


@pytest.fixture(scope="module")
def whole(
    whole_config: Config, panel: Panel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainingResult, RunPaths, list[EpochReport]]:
    """One uninterrupted run."""
    paths = RunPaths(tmp_path_factory.mktemp("whole"))
    reports: list[EpochReport] = []

    def listen(report: EpochReport) -> Decision:
        reports.append(report)
        return Decision.CONTINUE

    return run_phases(whole_config, panel, paths, CPU, listen), paths, reports


Whole = tuple[TrainingResult, RunPaths, list[EpochReport]]


def flat(content: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested content with their place; wall times left out."""
    if isinstance(content, dict | list | tuple):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in pairs:
            if key not in TIMES:
                yield from flat(value, f"{at}.{key}")
    else:
        yield at, content


def assert_same_content(a: Path, b: Path) -> None:
    """Two checkpoints hold the same, bit by bit."""
    left, right = dict(flat(load_checkpoint(a))), dict(flat(load_checkpoint(b)))
    assert left.keys() == right.keys()
    for place, value in left.items():
        if isinstance(value, torch.Tensor):
            same = torch.equal(value.nan_to_num(7.5), right[place].nan_to_num(7.5))
            assert same, place
        else:
            assert value == right[place], place


def assert_same_run(a: RunPaths, b: RunPaths) -> None:
    """All files of two runs are equal, wall times aside."""
    for name in ("last", "best", "final", "swa"):
        assert_same_content(getattr(a, name), getattr(b, name))
    left, right = (pl.read_parquet(p.metrics).drop(TIMES) for p in (a, b))
    assert left.equals(right)
    assert pl.read_parquet(a.daily).equals(pl.read_parquet(b.daily))


def test_every_epoch_of_every_phase_is_reported_in_order(whole: Whole) -> None:
    result, _, reports = whole
    assert result.ending is Ending.COMPLETE
    assert [r.step for r in reports] == STEPS
    assert [r.step for r in result.history] == STEPS
    assert [r.epochs_done for r in reports] == list(range(1, 9))
    assert {r.epochs_total for r in reports} == {8}
    assert reports[-1].eta_seconds == 0.0
    assert result.seconds > 0


def test_phases_switch_what_they_say(whole: Whole, whole_config: Config) -> None:
    _, _, reports = whole
    by_step = {r.step: r for r in reports}
    assert by_step[1].modules == ()
    assert by_step[1000].modules == ("fan", "san")
    assert by_step[2000].modules == ("fan", "graph", "san")
    assert by_step[1000].train["edges"] == 0.0 < by_step[2000].train["edges"]
    assert "loss_sharpe" not in by_step[0].train
    assert "loss_sharpe" in by_step[1000].train
    share = whole_config.optim.final_lr_share
    assert by_step[1].train["lr"] == pytest.approx(whole_config.phases.baseline.lr * share)
    assert by_step[2000].train["lr"] == pytest.approx(whole_config.phases.gat.lr * share)


def test_values_are_the_objective_and_its_mean_within_the_phase(whole: Whole) -> None:
    _, _, reports = whole
    assert all(r.value == r.metrics["rank_ic"] for r in reports)
    assert reports[2].smoothed == reports[2].value
    assert reports[3].smoothed == pytest.approx((reports[2].value + reports[3].value) / 2)


@pytest.mark.parametrize(
    "without",
    [("lstm",), ("attention",), ("static",), ("lstm", "attention"), ("attention", "static")],
)
def test_a_model_without_parts_of_its_trunk_trains(
    without: tuple[str, ...], config_of: ConfigOf, panel: Panel, tmp_path: Path
) -> None:
    config = config_of(
        model={"without": list(without)},
        phases={name: {"epochs": 1} for name in ("baseline", "adaptive_norm", "augmentation")},
    )
    result = run_phases(config, panel, RunPaths(tmp_path), CPU, go_on)
    assert result.ending is Ending.COMPLETE
    model, _ = load_model(RunPaths(tmp_path).best, panel)
    left_out = {"lstm": model.recurrence, "attention": model.attention}
    assert all(left_out[name] is None for name in without if name in left_out)
    assert model.enrichment.static == ("static" not in without)


def test_the_planted_signal_is_found(whole: Whole) -> None:
    result, _, reports = whole
    assert result.value is not None
    assert result.value > 0.3
    assert reports[-1].metrics["sharpe"] > 5
    assert reports[-1].metrics["hit_rate"] > 0.7


def test_nothing_is_found_where_there_is_nothing(
    config_of: ConfigOf, barren_panel: Panel, tmp_path: Path
) -> None:
    result = run_phases(config_of(), barren_panel, RunPaths(tmp_path), CPU, go_on)
    for report in result.history:
        assert abs(report.metrics["rank_ic_t"]) < 3
        assert abs(report.metrics["ic"]) < 3 / (28 * 30) ** 0.5


def test_the_result_is_of_the_last_phase_and_its_window(whole: Whole) -> None:
    result, paths, reports = whole
    assert result.best_step == 4001
    assert result.value == reports[-1].smoothed
    assert result.metrics == reports[-1].metrics
    best = load_checkpoint(paths.best)
    assert (best["step"], best["metrics"]) == (4001, result.metrics)


@pytest.mark.parametrize("name", ["best", "final", "swa"])
def test_checkpoints_reproduce_their_metrics(name: str, whole: Whole, panel: Panel) -> None:
    _, paths, _ = whole
    path = getattr(paths, name)
    model, config = load_model(path, panel)
    source = run_state.SliceSource(panel, config, CPU)
    found = evaluate_panel(model, source, panel, source.split.validation, config)
    assert found.metrics == load_checkpoint(path)["metrics"]


def test_ema_weights_are_the_ones_judged_and_kept(whole: Whole) -> None:
    _, paths, _ = whole
    best, final, swa = (load_checkpoint(p)["model"] for p in (paths.best, paths.final, paths.swa))
    name = "heads.point.weight"
    assert not torch.equal(best[name], final[name])
    assert not torch.equal(swa[name], final[name])


def test_tables_hold_every_epoch_and_day(whole: Whole, panel: Panel) -> None:
    _, paths, reports = whole
    table = pl.read_parquet(paths.metrics)
    assert table["step"].to_list() == STEPS
    assert table["rank_ic"].to_list() == [r.metrics["rank_ic"] for r in reports]
    days = pl.read_parquet(paths.daily)
    assert len(days) == len(STEPS) * len(reports[0].daily.dates)
    validation = panel.dates[np.isin(panel.dates, reports[0].daily.dates)]
    assert len(validation) == len(reports[0].daily.dates)


def test_the_same_configuration_gives_the_same_run(
    whole: Whole, whole_config: Config, panel: Panel, tmp_path: Path
) -> None:
    run_phases(whole_config, panel, RunPaths(tmp_path), CPU, go_on)
    assert_same_run(whole[1], RunPaths(tmp_path))


def test_interrupted_at_every_boundary_and_inside_every_epoch_it_ends_bitwise_the_same(
    whole: Whole, whole_config: Config, panel: Panel, tmp_path: Path
) -> None:
    """Attempt k finishes one more epoch, begins the next, is stopped after two of its steps."""
    last, attempt, result = None, 0, None
    while result is None or result.ending is Ending.INTERRUPTED:
        attempt += 1
        asked = iter([Decision.CONTINUE] * steps_until(panel, whole_config, last, 2))
        result = run_phases(
            whole_config, panel, RunPaths(tmp_path / str(attempt)), CPU, go_on, last,
            should_stop=lambda asked=asked: next(asked, Decision.INTERRUPT),
        )  # fmt: skip
        last = RunPaths(tmp_path / str(attempt)).last
        assert len(result.history) == attempt
    assert attempt == len(STEPS)
    assert_same_run(whole[1], RunPaths(tmp_path / str(attempt)))
    assert result.value == whole[0].value
    assert result.best_step == whole[0].best_step


def steps_until(panel: Panel, config: Config, last: Path | None, extra: int) -> int:
    """Questions until a run from `last` has done an epoch and `extra` steps of the one after."""
    run = run_state.RunState.begin(config, panel, CPU)
    trees = 0
    if last is not None:
        run.restore(last)
    elif config.model.trees.rounds:
        settings = config.model.trees
        boosters = settings.bags + min(KINDS, settings.bags) * settings.blocks
        trees = settings.rounds * boosters * len(config.data.horizons_days)
    return trees + len(run.source.training_plan(run.plan_generator)) + extra


def test_stopped_while_its_trees_grow_a_run_ends_without_an_epoch(
    whole_config: Config, panel: Panel, tmp_path: Path
) -> None:
    asked = iter([Decision.CONTINUE] * 7)
    result = run_phases(
        whole_config, panel, RunPaths(tmp_path), CPU, go_on,
        should_stop=lambda: next(asked, Decision.INTERRUPT),
    )  # fmt: skip
    assert result.ending is Ending.INTERRUPTED
    assert result.history == ()
    assert list(tmp_path.iterdir()) == []


def test_the_net_corrects_trees_that_have_not_seen_the_day(
    whole: Whole, whole_config: Config, panel: Panel
) -> None:
    """Training batches bring cross-fitted forecasts, validation those of all trees."""
    run = run_state.RunState.begin(whole_config, panel, CPU)
    run.restore(whole[1].last)
    assert run.stack is not None
    batch = run.source.batch(run.source.training_plan(run.plan_generator)[0])
    days = range(batch.first_day, batch.first_day + len(batch.neighbours_SNK))
    inside = run.stack.forest.forecast(panel, days)[:, batch.stocks]
    assert batch.base_NSQ is not None
    assert batch.base_NSQ.any()
    assert not np.allclose(batch.base_NSQ.transpose(0, 1), inside)
    later = run.source.split.validation
    evaluate_panel(run.model, run.source, panel, later, whole_config)
    after = run.source.batch(run.source.evaluation_plan(later)[0])
    table = run.stack.forest.forecast(panel, later)
    assert after.base_NSQ is not None
    expected = table[: after.base_NSQ.shape[1], after.stocks]
    assert np.array_equal(after.base_NSQ.transpose(0, 1), expected)


def test_killed_before_its_report_a_run_reports_that_epoch_again(
    whole: Whole, whole_config: Config, panel: Panel, tmp_path: Path
) -> None:
    def die(report: EpochReport) -> Decision:
        if report.step == 1001:
            raise ProcessDiedError
        return Decision.CONTINUE

    first, second = RunPaths(tmp_path / "1"), RunPaths(tmp_path / "2")
    with pytest.raises(ProcessDiedError):
        run_phases(whole_config, panel, first, CPU, die)
    heard: list[int] = []

    def listen(report: EpochReport) -> Decision:
        heard.append(report.step)
        return Decision.CONTINUE

    run_phases(whole_config, panel, second, CPU, listen, resume_from=first.last)
    assert heard == STEPS[3:]
    assert_same_run(whole[1], second)


def test_a_resumed_attempt_has_all_files_at_once(
    whole_config: Config, panel: Panel, tmp_path: Path
) -> None:
    first, second = RunPaths(tmp_path / "1"), RunPaths(tmp_path / "2")
    run_phases(whole_config, panel, first, CPU, after(3, Decision.INTERRUPT))
    result = run_phases(whole_config, panel, second, CPU, after(3, Decision.INTERRUPT), first.last)
    assert result.ending is Ending.INTERRUPTED
    assert len(result.history) == 3
    for name in ("last", "best"):
        assert_same_content(getattr(first, name), getattr(second, name))
    assert pl.read_parquet(second.metrics).equals(pl.read_parquet(first.metrics))
    assert second.daily.exists()


@pytest.mark.parametrize(
    ("decision", "ending"),
    [(Decision.PRUNE, Ending.PRUNED), (Decision.CANCEL, Ending.CANCELLED)],
)
def test_a_decision_ends_the_run_with_what_was_reached(
    decision: Decision, ending: Ending, config_of: ConfigOf, panel: Panel, tmp_path: Path
) -> None:
    paths = RunPaths(tmp_path)
    result = run_phases(config_of(), panel, paths, CPU, after(3, decision))
    assert result.ending is ending
    assert result.best_step == 1  # phase 0 was reached in full, phase 1 was not
    assert result.value == result.history[1].smoothed
    assert load_checkpoint(paths.best)["phase"] == "baseline"
    assert paths.last.exists()
    assert not paths.final.exists()


def test_pruned_in_its_first_phase_a_run_has_no_value(
    config_of: ConfigOf, panel: Panel, tmp_path: Path
) -> None:
    result = run_phases(config_of(), panel, RunPaths(tmp_path), CPU, after(1, Decision.PRUNE))
    assert (result.ending, result.value, result.best_step) == (Ending.PRUNED, None, None)
    assert not RunPaths(tmp_path).best.exists()


def test_pruned_after_its_last_epoch_a_run_is_complete(
    config_of: ConfigOf, panel: Panel, tmp_path: Path
) -> None:
    config = config_of(
        phases={"adaptive_norm": OFF, "gat": OFF, "fine_tuning": OFF, "augmentation": OFF}
    )
    for decision, ending in (
        (Decision.PRUNE, Ending.COMPLETE),
        (Decision.CANCEL, Ending.CANCELLED),
    ):
        paths = RunPaths(tmp_path / decision.value)
        result = run_phases(config, panel, paths, CPU, after(2, decision))
        assert result.ending is ending
        assert paths.final.exists() is (ending is Ending.COMPLETE)


def test_patience_ends_a_phase_early_and_counts_it_as_reached(
    config_of: ConfigOf, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.5, 0.9, 0.1, 0.1, 0.7, 0.7])
    monkeypatch.setattr(loop, "epoch_value", lambda _metrics, _config: next(values))
    config = config_of(
        objective={"smoothing_epochs": 1},
        phases={
            "baseline": {"epochs": 6, "patience": 2}, "adaptive_norm": {"epochs": 2},
            "gat": OFF, "fine_tuning": OFF, "augmentation": OFF,
        },
    )  # fmt: skip
    reports: list[EpochReport] = []

    def listen(report: EpochReport) -> Decision:
        reports.append(report)
        return Decision.PRUNE if report.step == 1000 else Decision.CONTINUE

    result = run_phases(config, panel, RunPaths(tmp_path), CPU, listen)
    assert [r.step for r in reports] == [0, 1, 2, 3, 1000]
    assert [r.epochs_total for r in reports] == [8, 8, 8, 8, 6]
    assert (result.best_step, result.value) == (1, 0.9)
    assert result.epochs_total == 6


def test_reload_best_starts_from_the_best_weights(
    config_of: ConfigOf, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.9, 0.1, 0.5])
    monkeypatch.setattr(loop, "epoch_value", lambda _metrics, _config: next(values))
    phases = {"gat": OFF, "fine_tuning": OFF, "augmentation": OFF}
    changed = {"epochs": 1, "reload_best": True, "lr": 1e-12, "modules": []}
    config = config_of(
        objective={"smoothing_epochs": 1}, phases=phases | {"adaptive_norm": changed}
    )
    paths = RunPaths(tmp_path)
    saved: dict[str, Any] = {}

    def listen(report: EpochReport) -> Decision:
        saved[str(report.step)] = load_checkpoint(paths.last)["model"]["heads.point.weight"]
        return Decision.CONTINUE

    run_phases(config, panel, paths, CPU, listen)
    torch.testing.assert_close(saved["1000"], saved["0"])
    assert not torch.allclose(saved["1000"], saved["1"])


def test_frozen_layers_stand_still_in_their_phase(
    config_of: ConfigOf, panel: Panel, tmp_path: Path
) -> None:
    frozen = {"freeze": "encoder", "weights": {"sharpe": 0.0}}
    rest = {"gat": OFF, "fine_tuning": OFF, "augmentation": OFF}
    config = config_of(phases={"adaptive_norm": frozen, **rest})
    paths = RunPaths(tmp_path)
    saved: dict[int, dict[str, torch.Tensor]] = {}

    def listen(report: EpochReport) -> Decision:
        saved[report.step] = load_checkpoint(paths.last)["model"]
        return Decision.CONTINUE

    run_phases(config, panel, paths, CPU, listen)
    for name, before in saved[1].items():
        encoder = name.startswith(("selection.", "recurrence."))
        assert torch.equal(saved[1001][name], before) or not encoder, name
        assert not torch.equal(saved[1][name], saved[0][name]) or not encoder or "added" in name
    name = "heads.point.weight"
    assert not torch.equal(saved[1001][name], saved[1][name])


def test_a_dead_network_never_reaches_epoch_one(
    config_of: ConfigOf, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = run_state.model_to_train

    def dead(config: Config, panel: Panel, device: torch.device) -> Any:
        model = real(config, panel, device)
        torch.nn.init.zeros_(model.heads.point.weight)
        return model

    monkeypatch.setattr(run_state, "model_to_train", dead)
    with pytest.raises(HealthGateError, match="between stocks"):
        run_phases(config_of(), panel, RunPaths(tmp_path), CPU, go_on)
    assert not list(tmp_path.iterdir())


def test_a_graph_phase_without_edges_fails_by_name(
    config_of: ConfigOf, panel: Panel, tmp_path: Path
) -> None:
    config = config_of(
        graph={"min_correlation": 1.0},
        phases={"baseline": OFF, "adaptive_norm": OFF, "fine_tuning": OFF, "augmentation": OFF},
    )
    with pytest.raises(HealthGateError, match=r"graph\.strength.*edges in the slice: 0"):
        run_phases(config, panel, RunPaths(tmp_path), CPU, go_on)


def test_a_rate_that_blows_up_ends_as_non_finite(
    config_of: ConfigOf, panel: Panel, tmp_path: Path
) -> None:
    config = config_of(phases={"baseline": {"lr": 1e30}})
    with pytest.raises(NonFiniteError, match=r"baseline|undefined"):
        run_phases(config, panel, RunPaths(tmp_path), CPU, go_on)


def test_a_full_disk_loses_nothing(
    whole: Whole,
    whole_config: Config,
    panel: Panel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, first, second = loop.save_checkpoint, RunPaths(tmp_path / "1"), RunPaths(tmp_path / "2")

    def fill_up(path: Path, content: dict[str, Any]) -> None:
        if len(content.get("history", [])) == 3:
            raise VolumeError(f"{path}: no space left on the volume")
        real(path, content)

    monkeypatch.setattr(loop, "save_checkpoint", fill_up)
    with pytest.raises(VolumeError, match="no space"):
        run_phases(whole_config, panel, first, CPU, go_on)
    monkeypatch.undo()
    run_phases(whole_config, panel, second, CPU, go_on, resume_from=first.last)
    assert_same_run(whole[1], second)
