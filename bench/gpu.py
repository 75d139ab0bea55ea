"""The full model on one GPU, at the seed's scale. `bench/gpu.sh` runs all parts.

    python bench/gpu.py machine       # products, bandwidth, versions
    python bench/gpu.py correctness   # CPU against GPU, bf16 against float32, twice the same,
                                      # Triton kernels, no waiting; fails where it does not hold
    python bench/gpu.py panel         # 1,959 stocks × 2,370 days × 395 features, made here
    python bench/gpu.py stages        # time of each stage of a step, TFLOP/s, share of the peak of
                                      # float32 products, the kernels that take longest
    python bench/gpu.py train         # 42 epochs over all samples; goes on where it stopped;
                                      # compiled, if that made the step of `stages` faster; how long
                                      # each trains, forecasts, computes metrics and writes files
    python bench/gpu.py report        # what is there, as a table

`--scale tiny --device cpu` runs the same on any machine within minutes, which shows that it works
and no more. Results are written to --out as they come.
"""

import dataclasses
import json
import math
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config, with_values
from atft_hpo.data.batch import Batch
from atft_hpo.data.panel import Panel
from atft_hpo.model import decomposed, interpolation
from atft_hpo.model.atft import MODULES
from atft_hpo.model.comparison import TOLERANCE, Comparison
from atft_hpo.model.grouped import FeatureNetworks
from atft_hpo.paths import RunPaths
from atft_hpo.results.hardware import HardwareMonitor
from atft_hpo.training import forecast as forecast_module
from atft_hpo.training import loop as loop_module
from atft_hpo.training.checkpoint import load_checkpoint
from atft_hpo.training.epoch import backward, step, train_epoch, train_step
from atft_hpo.training.forecast import precision
from atft_hpo.training.loop import run_phases
from atft_hpo.training.losses import LossRules, SliceTargets, loss_gradient
from atft_hpo.training.phases import Phase, phases_of
from atft_hpo.training.report import Decision, EpochReport
from atft_hpo.training.state import RunState
from seed_scale.machine import best_seconds, copy_bandwidth, grouped_matmul_rate, matmul_rate
from seed_scale.panel import write_panel
from seed_scale.stopwatch import Stopwatch

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
COMPARED = {"cuda": (361, 34, 64), "cpu": (20, 4, 8)}
"""Features, decomposed features and hidden units that the forms of both sums are compared at."""
INPUTS = 12
"""Of a decomposed feature's network."""
PARTS_OF_EPOCH = ("training", "forecast", "metrics", "writing", "between")
"""The device works in the first two; "between" are the start of the run and of a phase."""
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
        console.print_json(self.write(part, result))

    def write(self, part: str, result: dict[str, Any]) -> str:
        """Write it; returns the text."""
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=2) + "\n"
        (self.out / f"{part}.json").write_text(text, encoding="utf-8")
        return text


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
    size = _product_size(bench.device)
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
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # before cuBLAS begins
    tiny = dataclasses.replace(bench, scale="tiny")
    values = {"runtime.precision": "float32", "model.dropout": 0.0}
    exact = with_values(tiny.config, values)
    rough = with_values(exact, {"runtime.precision": "bf16"})
    panel, here = tiny.panel(), torch.device("cpu")
    result: dict[str, Any] = {}

    def keep(name: str, value: float | bool, right: bool) -> None:
        result[name] = value
        result["failed"] = [*result.get("failed", []), *([] if right else [name])]
        bench.keep("correctness", result)

    ours, theirs = (
        _forecast_and_gradient(exact, panel, here),
        _forecast_and_gradient(exact, panel, bench.device),
    )
    rounded = _forecast_and_gradient(rough, panel, bench.device)
    for name, a, b in zip(("forecast", "gradient"), ours, theirs, strict=True):
        difference = float((a - b).norm() / a.norm())
        keep(f"cpu_gpu_{name}_difference", difference, difference < 1e-2)  # TF32 in the LSTM
    for name, a, b in zip(("forecast", "gradient"), theirs, rounded, strict=True):
        cosine = float(torch.nn.functional.cosine_similarity(a, b, dim=0))
        keep(f"bf16_float32_{name}_cosine", cosine, cosine > 0.98)
    torch.use_deterministic_algorithms(True, warn_only=True)
    once, again = (_trained(bench, exact, panel, name) for name in ("once", "again"))
    torch.use_deterministic_algorithms(False)
    same = bool(torch.equal(once, again))
    keep("trained_twice_bitwise_equal", same, same)
    if bench.device.type == "cuda":
        waits = _waits(exact, panel, bench.device)
        result["waits"] = waits
        keep("waits_within_an_epoch", len(waits), not waits)
    for name, found in _comparisons(bench).items():
        result[name] = found.line()
        agrees = found.difference is not None and found.difference <= TOLERANCE
        keep(f"{name}_difference", found.difference, agrees or bench.device.type == "cpu")
    if result["failed"]:
        raise SystemExit(f"does not hold: {', '.join(result['failed'])}")


def _comparisons(bench: Bench) -> dict[str, Comparison]:
    """Triton's kernels and the references, of both sums that there are kernels for."""
    tabulated, columns, hidden = COMPARED[bench.device.type]
    networks = FeatureNetworks(columns, hidden).to(bench.device)
    return {
        "interpolation": interpolation.compare(tabulated, hidden, bench.device),
        "decomposed_features": decomposed.compare(networks, INPUTS, bench.device),
    }


def _forecast_and_gradient(
    config: Config, panel: Panel, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the first slice, every strength open, as flat float32 on the host."""
    run = RunState.begin(config, panel, device)
    run.model.enable(MODULES)
    run.model.train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in run.model.parameter_groups()["strengths"]:
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator).to(device)
    batch = run.source.batch(run.source.whole_slices(run.source.split.train, 20)[1])
    with torch.no_grad(), precision(config, device):
        point_SNQ = run.model(batch).point_SNQ
    backward(run, batch, LossRules.of(config, phases_of(config)[0].config), 1.0)
    gradients = [
        p.grad.flatten().float().cpu() for p in run.model.parameters() if p.grad is not None
    ]
    return point_SNQ.flatten().float().cpu(), torch.cat(gradients)


def _trained(bench: Bench, config: Config, panel: Panel, name: str) -> torch.Tensor:
    """All weights after all phases."""
    place = RunPaths(bench.out / f"trained-{name}")
    run_phases(config, panel, place, bench.device, lambda _: Decision.CONTINUE)
    content = load_checkpoint(place.final)["model"]
    return torch.cat([value.flatten().float() for value in content.values()])


def _waits(config: Config, panel: Panel, device: torch.device) -> list[str]:
    """Where an epoch of training, after one to warm up, waited for the device before its end."""
    run = RunState.begin(config, panel, device)
    phase = phases_of(config)[-1]
    run.model.enable(phase.config.modules)
    train_epoch(run, phase, 0, lambda: Decision.CONTINUE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        train_epoch(run, phase, 0, lambda: Decision.CONTINUE)
        torch.cuda.set_sync_debug_mode("default")
    waits = [w for w in caught if "called a synchronizing" in str(w.message)]
    return sorted({f"{w.filename}:{w.lineno}" for w in waits})


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
    with torch.no_grad(), precision(run.config, run.device):
        forecast = run.model(batch)
    peak = _float32_peak(bench)
    result: dict[str, Any] = {
        "days": len(index.days), "context": index.context, "stocks": len(index.stocks),
        "resident": run.source.features_resident, "chunk_tokens": run.model.chunk_tokens,
    }  # fmt: skip
    result |= {name: found.line() for name, found in _comparisons(bench).items()}
    timed: dict[str, Callable[[], object]] = {
        "batch": lambda: run.source.batch(index),
        "channels": lambda: run.model.channels(batch),
        "selection": lambda: _selection(run, batch),
        "forward": lambda: _forward(run, batch),
        "loss": lambda: loss_gradient(forecast, targets, rules),
        "step": lambda: train_step(run, batch, rules, 1.0),
        "optimizer": lambda: step(run, torch.ones((), device=run.device)),  # the step's gradients
    }
    for name, action in timed.items():
        result[name] = _measured(action, peak)
        bench.keep("stages", result)
    result["samples_per_second"] = 1000 * float(targets.samples) / result["step"]["ms"]
    result |= _peak(bench)
    bench.keep("stages", result)
    result["kernels"] = _kernels(timed["step"], bench.device)
    bench.keep("stages", result)
    result["compiled_step"] = {"ms": 1000 * _compiled_step(bench, batch, rules)}
    bench.keep("stages", result)


def _measured(action: Callable[[], object], peak: float) -> dict[str, float]:
    """Its time, and the rate of its matrix products.

    Not counted: cuDNN's LSTM, table rows, Triton's kernels.
    """
    seconds = best_seconds(action, 5)
    with FlopCounterMode(display=False) as counter:
        action()
    operations = counter.get_total_flops()
    return {
        "ms": 1000 * seconds,
        "tflop": operations / 1e12,
        "tflops": operations / seconds / 1e12,
        "share_of_float32_peak": operations / seconds / peak,
    }


def _float32_peak(bench: Bench) -> float:
    """FLOP/s, as `machine` found it or found now."""
    path = bench.out / "machine.json"
    if path.exists():
        return float(json.loads(path.read_text(encoding="utf-8"))["tflops_float32"]) * 1e12
    return matmul_rate(_product_size(bench.device), bench.device)


def _product_size(device: torch.device) -> int:
    return 8192 if device.type == "cuda" else 1024


def _kernels(action: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """Launches of a step, their time in all, and the kernels that take longest, in ms."""
    on_cpu = device.type == "cpu"
    with torch.profiler.profile() as profile:
        action()
        best_seconds(lambda: None, 1)
    events = [e for e in profile.key_averages() if on_cpu or e.device_type.name == "CUDA"]
    times = {e.key: e.self_cpu_time_total if on_cpu else e.self_device_time_total for e in events}
    longest = sorted(times, key=lambda name: -times[name])[:20]
    return {
        "launches": sum(event.count for event in events),
        "ms": sum(times.values()) / 1000,
        "longest": {name[:100]: times[name] / 1000 for name in longest},
    }


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
        **_peak(bench),
    }
    bench.keep("train", result)


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


def _selection(run: RunState, batch: Batch) -> None:
    """Variable selection, forward and backward."""
    with _quiet_gradients(run), precision(run.config, run.device):
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
    return bool(found.get("compiled_step", {"ms": math.inf})["ms"] < found["step"]["ms"])


def _forward(run: RunState, batch: Batch) -> None:
    with torch.no_grad(), precision(run.config, run.device):
        run.model(batch)


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
