"""The second half of a run's summary: files, hardware, gradients, issues. See `summary`."""

import numpy as np

from atft_hpo.config.schema import Config
from atft_hpo.paths import RunPaths
from atft_hpo.results.run_epochs import by_phase, gradient_norms
from atft_hpo.results.run_summary.hardware import HardwareUsage
from atft_hpo.results.run_summary.issues import find_issues
from atft_hpo.results.wording import (
    ABSENT,
    duration,
    file_size,
    markdown_table,
    number,
    percent,
    phase_label,
)
from atft_hpo.training.phases.epoch_report import TrainingResult


def saved_models(run: RunPaths) -> list[str]:
    """Checkpoints that exist, with their sizes."""
    notes = {
        run.best: "best weights by the smoothed objective",
        run.final: "weights after the last epoch",
        run.swa: "averaged weights",
        run.last: "state to continue from",
    }
    rows = [
        (f"`{path.name}`", note, file_size(path.stat().st_size))
        for path, note in notes.items()
        if path.exists()
    ]
    head = ["## Saved Models", ""]
    if not rows:
        return [*head, "None."]
    return [
        *head,
        f"In `{run.root}`:",
        "",
        *markdown_table(("File", "What", "Size"), rows, text_columns=2),
    ]


def system(result: TrainingResult, usage: HardwareUsage) -> list[str]:
    """Utilisation of GPU, CPU and memory, and the training speed."""
    speeds = [r.samples_per_second for r in result.history]
    speed = f"{np.mean(speeds):,.0f} (mean of epochs)" if speeds else ABSENT
    return [
        "## System Performance",
        "",
        "### Hardware Utilization",
        "",
        *_gpu_lines(usage),
        f"- **CPU Usage**: {usage.cpu_percent_mean:.0f} % (100 % = one core)",
        f"- **Memory (RSS)**: {usage.rss_peak_gib:.2f} GiB at most",
        f"- **Wall time of this attempt**: {duration(usage.wall_seconds)}",
        f"- **Training samples/s**: {speed}",
    ]


def _gpu_lines(usage: HardwareUsage) -> list[str]:
    if usage.gpu_name is None:
        return ["- **GPU**: no GPU"]
    memory, total = usage.gpu_memory_gib, usage.gpu_memory_total_gib
    share = percent(memory / total, 0) if memory is not None and total else ABSENT
    return [
        f"- **GPU**: {usage.gpu_name}",
        f"- **GPU Usage**: {number(usage.gpu_percent_mean, 0)} % on average, "
        f"{number(usage.gpu_percent_max, 0)} % at most",
        f"- **GPU Memory**: {number(memory, 1)} / {number(total, 1)} GiB at most ({share})",
        f"- **GPU Temperature**: {number(usage.gpu_temperature_max, 0)} °C at most",
    ]


def gradients(result: TrainingResult) -> list[str]:
    """Mean gradient norm of each loss term by phase."""
    rows = [(epochs, gradient_norms(epochs)) for epochs in by_phase(result.history)]
    terms = sorted({term for _, norms in rows for term in norms})
    head = ["## Loss Terms' Gradient Norms", ""]
    if not terms:
        return [*head, "None were recorded."]
    table = (
        (phase_label(epochs[0].phase_name), *(_norm(norms.get(term)) for term in terms))
        for epochs, norms in rows
    )
    return [
        *head,
        "Of the weighted terms, with respect to the forecast; mean over the epochs of each phase.",
        "",
        *markdown_table(("Phase", *terms), table),
    ]


def _norm(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3g}"


def issues(config: Config, result: TrainingResult, usage: HardwareUsage) -> list[str]:
    """What the rules of `issues` found, numbered."""
    found = find_issues(config, result, usage)
    lines = ["## Detected Issues & Recommendations", ""]
    if not found:
        return [*lines, "The rules found nothing."]
    numbered = enumerate(found, start=1)
    return [*lines, *(f"{k}. {i.finding} *Try*: {i.remedy}." for k, i in numbered)]
