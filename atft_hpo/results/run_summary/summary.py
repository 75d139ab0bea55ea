"""`summary.md` of one training run: configuration, phases, key metrics, models, hardware, issues.

    write_summary(run.summary, config, result, monitor.usage(), run, panel, "Trial 7", "COMPLETE")

Every number comes from the run's records, its panel or the size of a file; a number that nobody
recorded is an en dash. Epochs are counted from 1, phases from 0, as in the phase table.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from atft_hpo import __version__
from atft_hpo.config.schema import Config
from atft_hpo.data.neutralization.styles import STYLES
from atft_hpo.data.store.panel import Panel
from atft_hpo.files import write_atomically
from atft_hpo.paths import RunPaths
from atft_hpo.results.run_epochs import by_phase, kept_epoch, values
from atft_hpo.results.run_summary import system
from atft_hpo.results.run_summary.hardware import HardwareUsage
from atft_hpo.results.wording import (
    ABSENT,
    PHASE_PURPOSES,
    duration,
    markdown_table,
    metric_label,
    number,
    percent,
    phase_label,
    plural,
    plus_minus,
)
from atft_hpo.search.outcome import Outcome
from atft_hpo.training.forecasting.forecast import new_model
from atft_hpo.training.phases.epoch_report import EpochReport, TrainingResult

TARGETS = {"ic": 0.04, "rank_ic": 0.05}
"""What the project aims at; shares of it are reported, nothing depends on it."""
PHASE_METRICS = {
    "sharpe": "Val Sharpe (annual, net)",
    "sharpe_gross": "Val Sharpe gross",
    "ic": "Val IC",
    "rank_ic": "Val RankIC",
    "rank_icir": "Val RankICIR",
    "rank_ic_std": "Val RankIC std over days",
    "pure_rank_ic": "Val pure RankIC",
    "pure_rank_icir": "Val pure RankICIR",
    "style_r2": "Styles in the forecast (R²)",
    "score_autocorrelation": "Forecast autocorrelation",
    "score_variance": "Forecast variance",
    "hit_rate": "Hit rate",
    "turnover": "Turnover per day",
    "max_drawdown": "Max drawdown",
}
KEY_METRICS = {
    "sharpe": "Sharpe",
    "ic": "IC",
    "rank_ic": "RankIC",
    "pure_rank_ic": "Pure RankIC",
    "hit_rate": "Hit rate",
}


def write_summary(
    path: Path,
    config: Config,
    result: TrainingResult,
    hardware: HardwareUsage,
    run: RunPaths,
    panel: Panel,
    title: str,
    outcome: str,
) -> None:
    """Write the summary of a run as plain Markdown.

    `title` names the run ("Trial 7 of quickstart"); `outcome` is an Outcome's or Ending's name.

    Raises:
        VolumeError: the volume is full or cannot be written.
    """
    sections = [
        _executive(config, result, run, title, outcome),
        _configuration(config, result, hardware, panel),
        _phases(config, result),
        _key_metrics(config, result),
        system.saved_models(run),
        system.system(result, hardware),
        system.gradients(result),
        system.issues(config, result, hardware),
        [f"Written by atft-hpo {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."],
    ]
    text = "\n\n---\n\n".join("\n".join(lines) for lines in sections)
    write_atomically(path, f"{text}\n".encode())


def _executive(
    config: Config, result: TrainingResult, run: RunPaths, title: str, outcome: str
) -> list[str]:
    known = Outcome.__members__.get(outcome.upper())
    status = f"{outcome.upper()}: {known.value}" if known else outcome
    label = metric_label(config.objective.metric, config.objective.horizon_days)
    best = f"`{run.best}`" if run.best.exists() else "none: no epoch was finished"
    return [
        f"# Training Summary: {title}",
        "",
        "## Executive Summary",
        "",
        f"- **Training Status**: {status}",
        f"- **Total Training Time**: {duration(result.seconds)} ({result.seconds:.2f} seconds)",
        f"- **Best Model**: {best}",
        f"- **Best Val {label}**: {_best_value(result)}",
    ]


def _best_value(result: TrainingResult) -> str:
    best = _best_epoch(result)
    if best is None:
        return f"{ABSENT} (no phase was reached in full)"
    return (
        f"**{number(result.value)}** (Phase {best.phase}, {phase_label(best.phase_name)}, "
        f"Epoch {best.epoch + 1})"
    )


def _best_epoch(result: TrainingResult) -> EpochReport | None:
    return next((r for r in result.history if r.step == result.best_step), None)


def _configuration(
    config: Config, result: TrainingResult, hardware: HardwareUsage, panel: Panel
) -> list[str]:
    manifest = panel.manifest
    machine = hardware.gpu_name or f"{hardware.cpu_name}, {plural(hardware.cores, 'core')}, no GPU"
    precision = "bf16 autocast" if config.runtime.precision == "bf16" else "float32"
    phases = len(by_phase(result.history))
    return [
        "## Training Configuration",
        "",
        f"- **Dataset**: {manifest.rows:,} samples × {len(manifest.features):,} features "
        f"({plural(len(manifest.dates), 'day')} × {plural(len(manifest.codes), 'stock')})",
        f"- **Dates**: {_dates(panel, result)}",
        f"- **Model**: ATFT-GAT-FAN ({parameter_count(config, panel):,} parameters, "
        f"H = {config.model.hidden}, L = {config.model.lookback_days} days)",
        f"- **Hardware**: {machine}",
        f"- **Precision**: {precision}",
        f"- **Total Epochs**: {result.epochs_done} of {plural(result.epochs_total, 'epoch')} "
        f"across {plural(phases, 'phase')}",
        f"- **Seed**: {config.seed}",
    ]


def parameter_count(config: Config, panel: Panel) -> int:
    """Parameters of the configured model on this panel; nothing is allocated."""
    with torch.device("meta"):
        model = new_model(config, panel)
    return sum(p.numel() for p in model.parameters())


def _dates(panel: Panel, result: TrainingResult) -> str:
    whole = f"{panel.manifest.dates[0]} … {panel.manifest.dates[-1]}"
    if not result.history:
        return whole
    days = result.history[-1].daily.dates
    return f"{whole}, validated on {days[0]} … {days[-1]} ({plural(days.size, 'day')})"


def _phases(config: Config, result: TrainingResult) -> list[str]:
    lines = ["## Phase-by-Phase Results"]
    for epochs in by_phase(result.history):
        lines += ["", *_phase(epochs, config, result)]
    return lines if result.history else [*lines, "", "No epoch was finished."]


def _phase(epochs: Sequence[EpochReport], config: Config, result: TrainingResult) -> list[str]:
    first = epochs[0]
    planned = getattr(config.phases, first.phase_name).epochs
    best = kept_epoch(epochs, planned, config.objective)
    mark = " (best overall)" if best.step == result.best_step else ""
    return [
        f"### Phase {first.phase}: {phase_label(first.phase_name)} "
        f"({len(epochs)} of {plural(planned, 'epoch')}){mark}",
        "",
        f"- **Purpose**: {PHASE_PURPOSES.get(first.phase_name, ABSENT)}",
        f"- **Modules on**: {', '.join(('tft', *first.modules))}",
        f"- **Best Epoch**: {best.epoch + 1} (smoothed objective {best.smoothed:.4f})",
        f"- **Time**: {duration(sum(r.seconds for r in epochs))}, "
        f"{np.mean([r.samples_per_second for r in epochs]):,.0f} samples/s",
        f"- **Training loss**: {number(_train(epochs[0], 'loss'))} → "
        f"{number(_train(epochs[-1], 'loss'))}",
        "",
        *markdown_table(
            ("Metric", "Best epoch", "Mean ± std over epochs"),
            (
                (label, number(best.metrics.get(name)), _spread(values(epochs, name)))
                for name, label in PHASE_METRICS.items()
            ),
        ),
    ]


def _train(report: EpochReport, name: str) -> float | None:
    return report.train.get(name)


def _spread(found: Sequence[float]) -> str:
    if not found:
        return ABSENT
    return plus_minus(float(np.mean(found)), float(np.std(found, ddof=1)) if found[1:] else None)


def _key_metrics(config: Config, result: TrainingResult) -> list[str]:
    horizon = plural(config.objective.horizon_days, "day")
    rows = []
    for name, label in KEY_METRICS.items():
        found = values(result.history, name)
        chosen, target = result.metrics.get(name), TARGETS.get(name)
        share = percent(chosen / target) if chosen is not None and target else ABSENT
        rows.append(
            (
                label,
                number(chosen),
                number(target, 2),
                share,
                number(float(np.mean(found)) if found else None),
                number(max(found, default=None)),
            )
        )
    head = ("Metric", "Best model", "Target", "Share of target", "Mean of epochs", "Largest epoch")
    metric, zero = result.metrics.get, values(result.history, "ic_zero_share")
    return [
        "## Key Metrics Summary",
        "",
        f"Validation range, horizon {horizon}. The largest of many epochs is luck in part; "
        "the best model's column is what the search used.",
        "",
        *markdown_table(head, rows),
        "",
        f"- **RankIC t-statistic**: {number(metric('rank_ic_t'), 2)}, "
        f"pure RankIC {number(metric('pure_rank_ic_t'), 2)}",
        f"- **Style exposures** of the forecast: {_style_exposures(result)}",
        f"- **IC=0 incidence**: {percent(max(zero, default=None), 2)}",
    ]


def _style_exposures(result: TrainingResult) -> str:
    """The best model's mean rank correlation with each style, largest first."""
    found = {name: result.metrics.get(f"style_exposure_{name}") for name in STYLES}
    known = [(name, value) for name, value in found.items() if value is not None]
    ordered = sorted(known, key=lambda item: -abs(item[1]))
    return ", ".join(f"{name} {value:+.2f}" for name, value in ordered) or ABSENT
