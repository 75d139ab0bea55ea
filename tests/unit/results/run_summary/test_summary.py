"""The summary repeats the records: every number is looked up again here."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atft_hpo.config.schema import Config
from atft_hpo.paths import RunPaths
from atft_hpo.results.run_summary.hardware import HardwareUsage
from atft_hpo.results.run_summary.summary import parameter_count, write_summary
from atft_hpo.training.phases.epoch_report import Ending, TrainingResult
from atft_hpo.training.state.checkpoint import load_checkpoint

SECTIONS = [
    "Executive Summary", "Training Configuration", "Phase-by-Phase Results", "Key Metrics Summary",
    "Saved Models", "System Performance", "Loss Terms' Gradient Norms",
    "Detected Issues & Recommendations",
]  # fmt: skip


@pytest.fixture
def summarised(trained: Any, config: Config, usage: HardwareUsage, run_paths: RunPaths) -> Any:
    """summarised(result, **usage changes) → the summary's text."""

    def run(result: TrainingResult, outcome: str = "COMPLETE", **changes: Any) -> str:
        hardware = dataclasses.replace(usage, **changes)
        write_summary(
            run_paths.summary, config, result, hardware, run_paths, trained.panel,
            "Trial 7 of quick", outcome,
        )  # fmt: skip
        return run_paths.summary.read_text(encoding="utf-8")

    return run


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n", 1)[1].split("\n---\n", 1)[0]


def test_sections_stand_in_order(summarised: Any, result: TrainingResult) -> None:
    text = summarised(result)
    assert text.startswith("# Training Summary: Trial 7 of quick\n")
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == SECTIONS


def test_executive_summary(summarised: Any, result: TrainingResult, run_paths: RunPaths) -> None:
    text = section(summarised(result), "Executive Summary")
    best = next(r for r in result.history if r.step == result.best_step)
    assert "COMPLETE: ran through all its phases" in text
    assert f"({result.seconds:.2f} seconds)" in text
    assert f"`{run_paths.best}`" in text
    assert f"**{result.value:.4f}** (Phase 4, Augmentation, Epoch {best.epoch + 1})" in text


def test_configuration(summarised: Any, result: TrainingResult, trained: Any) -> None:
    text = section(summarised(result), "Training Configuration")
    manifest = trained.panel.manifest
    assert f"{manifest.rows:,} samples × 2 features (170 days × 30 stocks)" in text
    assert "validated on 2024-01-01 … 2024-04-29 (120 days)" in text
    assert "Test CPU, 2 cores, no GPU" in text
    assert "bf16 autocast" in text
    assert "18 of 18 epochs across 5 phases" in text


def test_parameters_are_counted_as_trained(trained: Any) -> None:
    weights = load_checkpoint(trained.paths.best)["model"]
    assert parameter_count(trained.config, trained.panel) == sum(
        w.numel() for w in weights.values()
    )


def test_phases(summarised: Any, result: TrainingResult) -> None:
    text = section(summarised(result), "Phase-by-Phase Results")
    assert re.findall(r"^### Phase (\d): (.*)$", text, flags=re.MULTILINE) == [
        ("0", "Baseline (3 of 3 epochs)"),
        ("1", "Adaptive Norm (4 of 4 epochs)"),
        ("2", "GAT (4 of 4 epochs)"),
        ("3", "Fine-tuning (3 of 3 epochs)"),
        ("4", "Augmentation (4 of 4 epochs) (best overall)"),
    ]
    gat = [r for r in result.history if r.phase == 2]
    ics = [r.metrics["ic"] for r in gat]
    part = text.split("### Phase 2", 1)[1].split("### Phase 3", 1)[0]
    assert f"{np.mean(ics):.4f} ± {np.std(ics, ddof=1):.4f} |" in part
    assert "tft, fan, san, graph" in part
    assert "16,000 samples/s" in part


def test_key_metrics_and_shares_of_targets(summarised: Any, result: TrainingResult) -> None:
    text = section(summarised(result), "Key Metrics Summary")
    ic, rank_ic = result.metrics["ic"], result.metrics["rank_ic"]
    assert f"| IC | {ic:.4f} | 0.04 | {100 * ic / 0.04:.1f} % |" in text
    assert f"| RankIC | {rank_ic:.4f} | 0.05 | {100 * rank_ic / 0.05:.1f} % |" in text
    largest = max(r.metrics["sharpe"] for r in result.history)
    mean = np.mean([r.metrics["sharpe"] for r in result.history])
    assert f"| {mean:.4f} | {largest:.4f} |" in text
    assert "**IC=0 incidence**: 0.00 %" in text


def test_only_models_that_exist_are_listed(summarised: Any, result: TrainingResult) -> None:
    text = section(summarised(result), "Saved Models")
    assert "| `best_main.pt` | best weights by the smoothed objective | 2.9 MiB |" in text
    assert "| `final.pt` | weights after the last epoch | 2.4 KiB |" in text
    assert "swa_main.pt" not in text


def test_hardware_without_gpu(summarised: Any, result: TrainingResult) -> None:
    text = section(summarised(result), "System Performance")
    assert "- **GPU**: no GPU\n" in text
    assert "188 % (100 % = one core)" in text
    assert "1.25 GiB" in text
    assert "3 min 00 s" in text


def test_hardware_with_gpu(summarised: Any, result: TrainingResult) -> None:
    text = summarised(
        result, gpu_name="Big GPU", gpu_percent_mean=61.6, gpu_percent_max=97.0,
        gpu_memory_gib=20.0, gpu_memory_total_gib=80.0, gpu_temperature_max=None,
    )  # fmt: skip
    part = section(text, "System Performance")
    assert "62 % on average, 97 % at most" in part
    assert "20.0 / 80.0 GiB at most (25 %)" in part
    assert "**GPU Temperature**: – °C" in part
    assert "- **Hardware**: Big GPU\n" in text


def test_gradient_norms(summarised: Any, result: TrainingResult) -> None:
    text = section(summarised(result), "Loss Terms' Gradient Norms")
    assert "| Phase | pinball | point |" in text
    assert "| GAT | 0.2 | 0.7 |" in text


def test_issues_are_numbered(summarised: Any, result: TrainingResult) -> None:
    text = section(summarised(result), "Detected Issues & Recommendations")
    assert text.strip().startswith("1. ")
    assert "*Try*:" in text


def test_a_run_that_was_pruned_early(summarised: Any, result: TrainingResult) -> None:
    early = dataclasses.replace(
        result, ending=Ending.PRUNED, value=None, best_step=None, metrics={}, epochs_done=2,
        history=result.history[:2],
    )  # fmt: skip
    text = summarised(early, outcome="PRUNED")
    assert "PRUNED: ended early, behind its peers" in text
    assert "– (no phase was reached in full)" in text
    assert "2 of 18 epochs across 1 phase\n" in text
    assert "### Phase 0: Baseline (2 of 3 epochs)\n" in text


def test_a_run_without_an_epoch(
    summarised: Any, result: TrainingResult, run_paths: RunPaths
) -> None:
    run_paths.best.unlink()
    run_paths.final.unlink()
    nothing = dataclasses.replace(
        result, ending=Ending.INTERRUPTED, value=None, best_step=None, metrics={}, history=(),
        epochs_done=0,
    )  # fmt: skip
    text = summarised(nothing, outcome="interrupted")
    assert "- **Training Status**: interrupted\n" in text
    assert "none: no epoch was finished" in text
    assert "No epoch was finished." in text
    assert section(text, "Saved Models").strip() == "None."
    assert "None were recorded." in text
    assert "nan" not in text.lower().replace("nanmean", "")


def test_of_a_real_run(trained: Any, usage: HardwareUsage, tmp_path: Path) -> None:
    out = tmp_path / "summary.md"
    write_summary(
        out, trained.config, trained.result, usage, trained.paths, trained.panel, "Run", "complete"
    )
    text = out.read_text(encoding="utf-8")
    assert f"{trained.result.value:.4f}" in text
    assert "best_main.pt" in section(text, "Saved Models")
    assert re.search(r"\| Phase \|.*point.*\|", section(text, "Loss Terms' Gradient Norms"))


def test_styles_of_the_forecast_largest_first(summarised: Any, result: TrainingResult) -> None:
    text = section(summarised(result), "Key Metrics Summary")
    assert f"| Pure RankIC | {result.metrics['pure_rank_ic']:.4f} |" in text
    assert "**Style exposures** of the forecast: –" in text
    found = {"beta_120d": 0.1, "reversal_5d": -0.4, "beta_120d_5d": 0.9}
    more = {f"style_exposure_{name}": value for name, value in found.items()}
    changed = dataclasses.replace(result, metrics=result.metrics | more)
    text = section(summarised(changed), "Key Metrics Summary")
    assert "of the forecast: reversal_5d -0.40, beta_120d +0.10\n" in text
