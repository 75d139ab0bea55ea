"""Each rule speaks when it should, with its number, and is silent otherwise."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from atft_hpo.config.schema import Config
from atft_hpo.results.run_summary.hardware import HardwareUsage
from atft_hpo.results.run_summary.issues import find_issues
from atft_hpo.training.phases.epoch_report import EpochReport, TrainingResult

Remade = Callable[..., Any]


@pytest.fixture
def quiet(result: TrainingResult, remade: Remade) -> TrainingResult:
    """A run that gives no rule a reason."""
    rows = []
    for k, report in enumerate(result.history):
        calm = {"sharpe": 1.0, "ic": 0.03, "rank_ic": 0.03, "rank_ic_t": 3.0, "hit_rate": 0.52,
                "days_skipped": 0.0, "ic_zero_share": 0.0, "days": 100.0}  # fmt: skip
        rows.append(remade(report, metrics=calm, value=1.0 + 0.01 * k, smoothed=1.0 + 0.01 * k))
    return dataclasses.replace(result, metrics=rows[-1].metrics, history=tuple(rows))


def changed(
    run: TrainingResult, remade: Remade, which: Callable[[EpochReport], bool], **metrics: float
) -> TrainingResult:
    """`run` with metrics replaced in some epochs."""
    rows = tuple(remade(r, metrics=r.metrics | metrics) if which(r) else r for r in run.history)
    return dataclasses.replace(run, history=rows)


def findings(run: TrainingResult, config: Config, usage: HardwareUsage) -> list[str]:
    return [issue.finding for issue in find_issues(config, run, usage)]


def test_a_calm_run_has_no_issues(quiet: Any, config: Config, usage: HardwareUsage) -> None:
    assert findings(quiet, config, usage) == []


def test_negative_sharpe(quiet: Any, remade: Any, config: Config, usage: HardwareUsage) -> None:
    two = changed(quiet, remade, lambda r: r.phase in (0, 1), sharpe=-0.5)
    assert findings(two, config, usage) == [], "two of five are not most"
    three = changed(two, remade, lambda r: r.phase == 2, sharpe=-0.75)
    (found,) = findings(three, config, usage)
    assert "3 of 5 phases" in found
    assert "-0.75" in found


def test_restless_ic(quiet: Any, remade: Any, config: Config, usage: HardwareUsage) -> None:
    run = changed(quiet, remade, lambda r: r.phase == 1 and r.epoch == 0, ic=0.10)
    (found,) = findings(run, config, usage)
    assert f"{np.std([0.10, 0.03, 0.03, 0.03], ddof=1):.4f}" in found
    assert "4 epochs of Adaptive Norm" in found


def test_hit_rate(quiet: Any, remade: Any, config: Config, usage: HardwareUsage) -> None:
    run = changed(quiet, remade, lambda r: r.phase == 0, hit_rate=0.43)
    assert findings(run, config, usage) == ["The hit rate moves between 43.0 % and 52.0 %."]


def test_no_spread(quiet: Any, remade: Any, config: Config, usage: HardwareUsage) -> None:
    run = changed(quiet, remade, lambda r: r.phase == 3 and r.epoch == 1, ic_zero_share=0.25)
    (found,) = findings(run, config, usage)
    assert "25.00 %" in found
    run = changed(quiet, remade, lambda r: r.phase == 3 and r.epoch == 1, days_constant=7.0)
    (found,) = findings(run, config, usage)
    assert "7 days" in found
    assert "epoch 2 of Fine-tuning" in found


def test_skipped_days(quiet: Any, remade: Any, config: Config, usage: HardwareUsage) -> None:
    run = changed(quiet, remade, lambda r: r.phase == 0, days_skipped=3.0)
    (found,) = findings(run, config, usage)
    assert found.startswith("3 validation days")
    assert "100" in found


def test_lost_between_phases(
    quiet: TrainingResult, remade: Remade, config: Config, usage: HardwareUsage
) -> None:
    def worse(report: EpochReport) -> EpochReport:
        daily = dataclasses.replace(report.daily, ic=report.daily.ic - np.float32(0.05))
        return remade(report, value=0.2, smoothed=0.2, daily=daily)  # type: ignore[no-any-return]

    rows = tuple(worse(r) if r.phase == 4 else r for r in quiet.history)
    (found,) = findings(dataclasses.replace(quiet, history=rows), config, usage)
    assert found.startswith("Augmentation lost what Fine-tuning had: objective 1.13")
    assert "0.2000" in found


def test_a_loss_within_noise_is_no_issue(
    quiet: TrainingResult, remade: Remade, config: Config, usage: HardwareUsage
) -> None:
    same = quiet.history[0].daily
    rows = tuple(
        remade(r, daily=same, value=0.9, smoothed=0.9) if r.phase == 4 else remade(r, daily=same)
        for r in quiet.history
    )
    assert findings(dataclasses.replace(quiet, history=rows), config, usage) == []


def test_graph_without_edges(
    quiet: TrainingResult, remade: Remade, config: Config, usage: HardwareUsage
) -> None:
    rows = tuple(
        remade(r, train=r.train | {"edges": 0.0}) if r.phase == 2 else r for r in quiet.history
    )
    (found,) = findings(dataclasses.replace(quiet, history=rows), config, usage)
    assert "on in GAT, but all 4 epochs had 0 edges" in found


def test_quiet_term(
    quiet: TrainingResult, remade: Remade, config: Config, usage: HardwareUsage
) -> None:
    rows = tuple(
        remade(r, train=r.train | {"grad_norm_sharpe": 1e-4}) if r.phase == 2 else r
        for r in quiet.history
    )
    (issue,) = find_issues(config, dataclasses.replace(quiet, history=rows), usage)
    assert issue.finding.startswith("The sharpe term has 0.01 %")
    assert "phases.gat.weights.sharpe" in issue.remedy


def test_the_value_itself_may_be_indistinct_although_rank_ic_is_not(
    quiet: Any, config: Config, usage: HardwareUsage
) -> None:
    run = dataclasses.replace(quiet, metrics=quiet.metrics | {"sharpe": 0.9, "sharpe_t": 1.4})
    found = [issue.finding for issue in find_issues(config, run, usage)]
    assert config.objective.metric == "sharpe"
    assert [text for text in found if "t = 1.40" in text and "Sharpe" in text]


def test_indistinct_from_zero(quiet: Any, config: Config, usage: HardwareUsage) -> None:
    run = dataclasses.replace(quiet, metrics=quiet.metrics | {"rank_ic_t": 1.2})
    (found,) = findings(run, config, usage)
    assert "t = 1.20" in found


def test_leak_alarm_is_for_real_prices(
    quiet: TrainingResult, study_config: Any, usage: HardwareUsage
) -> None:
    run = dataclasses.replace(quiet, metrics=quiet.metrics | {"rank_ic": 0.09, "sharpe": 1.9})
    assert findings(run, study_config(), usage) == []
    (found,) = findings(run, study_config(**{"data.source": "ohlcv"}), usage)
    assert found.startswith("rank_ic = 0.090")


def test_idle_gpu(quiet: TrainingResult, config: Config, usage: HardwareUsage) -> None:
    busy = dataclasses.replace(usage, gpu_name="GPU", gpu_percent_mean=80.0)
    assert findings(quiet, config, busy) == []
    idle = dataclasses.replace(busy, gpu_percent_mean=12.0)
    assert findings(quiet, config, idle) == ["The GPU was busy 12 % of the time."]
