"""All phases over all samples, and where the time of an epoch goes."""

import dataclasses
import json
import math
import time
from contextlib import ExitStack
from typing import Any, Self

from atft_hpo.config.toml import with_values
from atft_hpo.paths import RunPaths
from atft_hpo.results.run_summary.hardware import HardwareMonitor
from atft_hpo.training.forecasting import forecast as forecast_module
from atft_hpo.training.phases.epoch_report import Decision, EpochReport
from atft_hpo.training.phases.phase_table import Phase, phases_of
from atft_hpo.training.run import loop as loop_module
from atft_hpo.training.run.loop import run_phases
from bench.gpu.common import Bench, console, peak_memory
from bench.measuring.stopwatch import Stopwatch

PARTS_OF_EPOCH = ("training", "forecast", "metrics", "writing", "between")
"""The device works in the first two; "between" are the start of the run and of a phase."""
TRAIN_SECONDS = 500
"""After so long `train` stops at the next epoch, to be called again."""


class EpochClock:
    """Where the time from one epoch's report to the next goes."""

    def __init__(self) -> None:
        self._metrics = Stopwatch(forecast_module, "evaluate_forecast")
        self._writing = Stopwatch(loop_module, "write_tables", "save_checkpoint")
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        self._metrics.__enter__()
        self._writing.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._writing.__exit__()
        self._metrics.__exit__()

    def lap(self, report: EpochReport) -> dict[str, float]:
        """Seconds by the names in PARTS_OF_EPOCH, of the epoch that `report` ends."""
        now = time.monotonic()
        metrics, writing = self._metrics.lap(), self._writing.lap()
        between = now - self._since - report.seconds - writing
        self._since = now
        training = report.seconds - report.validation_seconds
        seconds = (training, report.validation_seconds - metrics, metrics, writing, between)
        return dict(zip(PARTS_OF_EPOCH, seconds, strict=True))


def train(bench: Bench) -> None:
    """All phases over all samples, from the last epoch that is there."""
    place = RunPaths(bench.out / f"train-{bench.scale}")
    config = with_values(bench.config, {"runtime.compile": _compiling_pays(bench)})
    monitor = HardwareMonitor(bench.device)
    called, began = time.monotonic(), list[float]()
    epochs: list[dict[str, Any]] = []
    clock = EpochClock()

    def should_stop() -> Decision:
        if not began:  # the first step: from here on the GPU should be busy
            began.append(time.monotonic())
            watching.enter_context(monitor)
        return Decision.CONTINUE

    def on_epoch(report: EpochReport) -> Decision:
        epochs.append(_of_epoch(report, clock.lap(report)))
        bench.write("train", result | {"this_call": epochs})
        console.print(_line(epochs[-1]))
        late = time.monotonic() - called > TRAIN_SECONDS
        return Decision.INTERRUPT if late else Decision.CONTINUE

    result: dict[str, Any] = {"compiled": config.runtime.compile}
    last = place.last if place.last.exists() else None
    with clock, ExitStack() as watching:
        done = run_phases(config, bench.panel(), place, bench.device, on_epoch, last, should_stop)
    result |= {
        "epochs_done": done.epochs_done,
        "epochs_total": done.epochs_total,
        "seconds": sum(report.seconds for report in done.history),
        "validation_seconds": sum(report.validation_seconds for report in done.history),
        "phases": {phase.name: _of_phase(phase, done.history) for phase in phases_of(config)},
        "this_call": epochs,
        "parts": {name: sum(epoch["parts"][name] for epoch in epochs) for name in PARTS_OF_EPOCH},
        "seconds_before_the_first_step": began[0] - called if began else None,
        "usage": dataclasses.asdict(monitor.usage()),  # from the first step on
        **peak_memory(bench),
    }
    bench.keep("train", result)


def _of_phase(phase: Phase, history: tuple[EpochReport, ...]) -> dict[str, float]:
    own = [report for report in history if report.phase == phase.number]
    rates = [report.samples_per_second for report in own]
    return {
        "epochs": len(own),
        "seconds": sum(report.seconds for report in own),
        "samples_per_second": sum(rates) / max(len(rates), 1),
    }


def _of_epoch(report: EpochReport, parts: dict[str, float]) -> dict[str, Any]:
    return {
        "phase": report.phase_name, "epoch": report.epoch, "seconds": report.seconds,
        "validation_seconds": report.validation_seconds, "parts": parts,
        "samples_per_second": report.samples_per_second, "ic": report.metrics.get("ic"),
    }  # fmt: skip


def _line(epoch: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in epoch["parts"].items())
    return f"{epoch['phase']} {epoch['epoch']}: {epoch['seconds']:.1f} s ({parts})"


def _compiling_pays(bench: Bench) -> bool:
    """Whether `stages` found a compiled step to be faster; False where it has not run."""
    path = bench.out / "stages.json"
    if not path.exists():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    return bool(found.get("compiled_step", {"ms": math.inf})["ms"] < found["step"]["ms"])
