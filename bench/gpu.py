"""The full model on one GPU, at the seed's scale. `bench/gpu.sh` runs all parts.

    python bench/gpu.py machine       # products, bandwidth, versions
    python bench/gpu.py correctness   # CPU against GPU, bf16 against float32, twice the same
    python bench/gpu.py panel         # 1,959 stocks × 2,370 days × 395 features, made here
    python bench/gpu.py stages        # time of each stage of a step, TFLOP/s, share of the peak
    python bench/gpu.py train         # 42 epochs over all samples; goes on where it stopped;
                                      # compiled, if that made the step of `stages` faster
    python bench/gpu.py report        # what is there, as a table

`--scale tiny --device cpu` runs the same on any machine within a minute, which shows that it works
and no more. Results are written to --out as they come.
"""

import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config, with_values
from atft_hpo.data.batch import Batch
from atft_hpo.data.panel import Panel
from atft_hpo.data.slices import SliceSource
from atft_hpo.model.atft import MODULES
from atft_hpo.paths import RunPaths
from atft_hpo.results.hardware import HardwareMonitor
from atft_hpo.training.checkpoint import load_checkpoint
from atft_hpo.training.epoch import train_step
from atft_hpo.training.forecast import new_model, precision
from atft_hpo.training.loop import run_phases
from atft_hpo.training.losses import LossRules, SliceTargets, loss_gradient
from atft_hpo.training.phases import Phase, phases_of
from atft_hpo.training.report import Decision, EpochReport
from atft_hpo.training.state import RunState
from seed_scale.machine import best_seconds, copy_bandwidth, grouped_matmul_rate, matmul_rate
from seed_scale.panel import write_panel

STUDY = Path(__file__).parents[1] / "studies" / "jpx_full.toml"
SCALES: dict[str, dict[str, Any]] = {
    "seed": {"days": 2370, "stocks": 1959, "values": {}},
    "tiny": {
        "days": 260,
        "stocks": 40,
        "values": {
            "data.features.limit": 24, "model.hidden": 8, "model.lookback_days": 10,
            "slices.days": 20, "slices.context_days": 10, "graph.window_days": 20,
            **{f"phases.{name}.epochs": 1 for name in (
                "baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")},
        },
    },
}  # fmt: skip
TRAIN_SECONDS = 500
"""After so long `train` stops at the next epoch, to be called again."""
console = Console(highlight=False)
if not console.is_terminal:
    console.width = 120  # in a file no column need be broken
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclasses.dataclass(frozen=True)
class Bench:
    """What all parts are told."""

    out: Path
    device: torch.device
    scale: str

    @property
    def config(self) -> Config:
        """The study's configuration, at this scale."""
        return with_values(load_config(STUDY), SCALES[self.scale]["values"])

    def panel(self) -> Panel:
        """The random panel; made on the first call."""
        size = SCALES[self.scale]
        place = self.out / f"panel-{self.scale}"
        return write_panel(place, size["days"], size["stocks"], self.config.data)

    def keep(self, part: str, result: dict[str, Any]) -> None:
        """Write and print what a part knows so far."""
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=2) + "\n"
        (self.out / f"{part}.json").write_text(text, encoding="utf-8")
        console.print_json(text)


@app.command()
def main(
    part: Annotated[
        Literal["machine", "correctness", "panel", "stages", "train", "report"], typer.Argument()
    ],
    out: Annotated[Path, typer.Option(help="Directory of results.")] = Path("bench/results/gpu"),
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    scale: Annotated[Literal["seed", "tiny"], typer.Option()] = "seed",
) -> None:
    """Run one part."""
    if part == "report":
        console.print(report(out))
        return
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("torch finds no CUDA GPU; --device cpu --scale tiny shows the way")
    PARTS[part](Bench(out, torch.device(device), scale))


def machine(bench: Bench) -> None:
    """Peaks that shares are of."""
    size = 8192 if bench.device.type == "cuda" else 1024
    properties = torch.cuda.get_device_properties(0) if bench.device.type == "cuda" else None
    bench.keep(
        "machine",
        {
            "device": properties.name if properties else platform.processor(),
            "memory_gib": properties.total_memory / 2**30 if properties else None,
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "tflops_float32": matmul_rate(size, bench.device) / 1e12,
            "tflops_bf16": matmul_rate(size, bench.device, torch.bfloat16) / 1e12,
            "tflops_grouped_float32": grouped_matmul_rate(395, 128, 64, 4096, bench.device) / 1e12,
            "copy_gb_per_second": copy_bandwidth(bench.device) / 1e9,
        },
    )


def correctness(bench: Bench) -> None:
    """The same model and batch on both devices, in both precisions, and training twice."""
    tiny = dataclasses.replace(bench, scale="tiny")
    config, panel = tiny.config, tiny.panel()

    def forecast(device: torch.device, kind: str) -> torch.Tensor:
        torch.manual_seed(0)
        changed = with_values(config, {"runtime.precision": kind})
        model = new_model(changed, panel).to(device).eval()
        model.enable(MODULES)
        source = SliceSource(panel, changed, device)
        batch = source.batch(source.evaluation_plan(source.split.validation)[0])
        with torch.no_grad(), precision(changed, device):
            return model(batch).point_SNQ.float().cpu()

    def weights(seed: int) -> torch.Tensor:
        place = RunPaths(bench.out / f"twice-{seed}")
        run = with_values(config, {"runtime.precision": "float32"})
        run_phases(run, panel, place, bench.device, lambda _: Decision.CONTINUE)
        content = load_checkpoint(place.final)["model"]
        return torch.cat([value.flatten().float() for value in content.values()])

    exact = forecast(torch.device("cpu"), "float32")
    there, rough = forecast(bench.device, "float32"), forecast(bench.device, "bf16")
    torch.use_deterministic_algorithms(True, warn_only=True)
    once, again = weights(0), weights(1)
    torch.use_deterministic_algorithms(False)
    bench.keep(
        "correctness",
        {
            "cpu_gpu_largest_difference": float((exact - there).abs().max()),
            "cpu_gpu_spread": float(exact.std()),
            "bf16_float32_correlation": float(
                torch.corrcoef(torch.stack([there.flatten(), rough.flatten()]))[0, 1]
            ),
            "trained_twice_bitwise_equal": bool(torch.equal(once, again)),
        },
    )


def panel(bench: Bench) -> None:
    """Make the panel."""
    started = time.monotonic()
    made = bench.panel()
    bench.keep(
        "panel",
        {
            "seconds": time.monotonic() - started,
            "cells": made.manifest.rows,
            "features": len(made.feature_names),
            "gigabytes": made.features.nbytes / 1e9,
        },
    )


def stages(bench: Bench) -> None:
    """One training step, taken apart. Stages are timed by themselves, one after another."""
    run = RunState.begin(bench.config, bench.panel(), bench.device)
    run.model.enable(MODULES)
    run.model.train()
    phase = next(phase for phase in phases_of(run.config) if phase.name == "gat")
    rules = LossRules.of(run.config, phase.config)
    plan = run.source.training_plan(run.plan_generator)
    index = max(plan, key=lambda i: len(i.days) * len(i.stocks))
    batch = run.source.batch(index)
    targets = SliceTargets.of(batch)
    result: dict[str, Any] = {"days": len(index.days), "context": index.context}
    result |= {"stocks": len(index.stocks), "resident": run.source.features_resident}
    timed: dict[str, Callable[[], object]] = {
        "batch": lambda: run.source.batch(index),
        "channels": lambda: run.model.channels(batch),
        "selection": lambda: _selection(run, batch),
        "forward": lambda: _forward(run, batch),
        "loss": lambda: loss_gradient(_cached(run, batch), targets, rules),
        "step": lambda: train_step(run, batch, rules, 1.0),
    }
    for name, action in timed.items():
        result[f"{name}_ms"] = 1000 * best_seconds(action, 5)
        bench.keep("stages", result)
    result["compiled_step_ms"] = 1000 * _compiled_step(bench, batch, rules)
    bench.keep("stages", result)
    with FlopCounterMode(display=False) as counter:
        train_step(run, batch, rules, 1.0)
    result["tflop_per_step"] = counter.get_total_flops() / 1e12
    result["tflops"] = 1000 * result["tflop_per_step"] / result["step_ms"]
    result["samples_per_second"] = 1000 * float(targets.samples) / result["step_ms"]
    result |= _peak(bench)
    bench.keep("stages", result)


def train(bench: Bench) -> None:
    """All phases over all samples, from the last epoch that is there."""
    place = RunPaths(bench.out / f"train-{bench.scale}")
    epochs: list[dict[str, Any]] = []
    started = time.monotonic()

    def on_epoch(report: EpochReport) -> Decision:
        epochs.append({
            "phase": report.phase_name, "epoch": report.epoch, "seconds": report.seconds,
            "validation_seconds": report.validation_seconds,
            "samples_per_second": report.samples_per_second, "ic": report.metrics.get("ic"),
        })  # fmt: skip
        late = time.monotonic() - started > TRAIN_SECONDS
        return Decision.INTERRUPT if late else Decision.CONTINUE

    last = place.last if place.last.exists() else None
    config = with_values(bench.config, {"runtime.compile": _compiling_pays(bench)})
    with HardwareMonitor(bench.device) as monitor:
        result = run_phases(config, bench.panel(), place, bench.device, on_epoch, resume_from=last)
    phases = {phase.name: _of_phase(phase, result.history) for phase in phases_of(config)}
    bench.keep(
        "train",
        {
            "compiled": config.runtime.compile,
            "epochs_done": result.epochs_done,
            "epochs_total": result.epochs_total,
            "seconds": sum(report.seconds for report in result.history),
            "phases": phases,
            "this_call": epochs,
            "usage": dataclasses.asdict(monitor.usage()),
            **_peak(bench),
        },
    )


PARTS: dict[str, Callable[[Bench], None]] = {
    "machine": machine,
    "correctness": correctness,
    "panel": panel,
    "stages": stages,
    "train": train,
}


def report(out: Path) -> Table:
    """Every number that is there."""
    table = Table("part", "what", "value", box=None)
    for part in PARTS:
        path = out / f"{part}.json"
        if not path.exists():
            table.add_row(part, "", "not measured")
            continue
        for name, value in _flat(json.loads(path.read_text(encoding="utf-8"))):
            shown = f"{value:,.4g}" if isinstance(value, float) else str(value)
            table.add_row(part, name, shown)
    return table


def _flat(content: dict[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{at}{name}.")
        elif not isinstance(value, list):
            yield f"{at}{name}", value


def _of_phase(phase: Phase, history: tuple[EpochReport, ...]) -> dict[str, float]:
    own = [report for report in history if report.phase == phase.number]
    seconds = sum(report.seconds for report in own)
    return {"epochs": len(own), "seconds": seconds}


def _selection(run: RunState, batch: Batch) -> None:
    """Variable selection, forward and backward."""
    with _quiet_gradients(run):
        channels = run.model.channels(batch)
        out = run.model.selection(
            batch.x_NTF.float(), batch.alive_NT, channels, run.model.selection.table()
        )
        torch.autograd.backward([part.sum() for part in out])


def _compiled_step(bench: Bench, batch: Batch, rules: LossRules) -> float:
    """Seconds of a step with `runtime.compile`; compiling itself is not counted."""
    config = with_values(bench.config, {"runtime.compile": True})
    run = RunState.begin(config, bench.panel(), bench.device)
    run.model.enable(MODULES)
    run.model.train()
    return best_seconds(lambda: train_step(run, batch, rules, 1.0), 5)


def _compiling_pays(bench: Bench) -> bool:
    """Whether `stages` found a compiled step to be faster; False where it has not run."""
    path = bench.out / "stages.json"
    if not path.exists():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    return bool(found.get("compiled_step_ms", math.inf) < found["step_ms"])


def _forward(run: RunState, batch: Batch) -> None:
    with torch.no_grad(), precision(run.config, run.device):
        run.model(batch)


def _cached(run: RunState, batch: Batch) -> Any:
    with torch.no_grad(), precision(run.config, run.device):
        forecast = run.model(batch)
    return type(forecast)(*(part.detach().requires_grad_() for part in forecast))


@contextmanager
def _quiet_gradients(run: RunState) -> Iterator[None]:
    yield
    run.optimizer.zero_grad(set_to_none=True)


def _peak(bench: Bench) -> dict[str, Any]:
    if bench.device.type != "cuda":
        return {"peak_memory_gib": None}
    return {"peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30}


if __name__ == "__main__":
    app()
