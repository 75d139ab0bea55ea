"""How long does each stage of a training step take, and how far is it from the device's peak?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from atft_hpo.config.toml import with_values
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.model.atft import MODULES
from atft_hpo.training.forecasting.forecast import precision
from atft_hpo.training.loss.balance import loss_gradient
from atft_hpo.training.loss.terms import LossRules, SliceTargets
from atft_hpo.training.phases.phase_table import phases_of
from atft_hpo.training.run.epoch import step, train_step
from atft_hpo.training.state.run_state import RunState
from bench.gpu.common import Bench, comparisons, float32_peak, peak_memory
from bench.measuring.machine import best_seconds


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
    peak = float32_peak(bench)
    result: dict[str, Any] = {
        "days": len(index.days), "context": index.context, "stocks": len(index.stocks),
        "resident": run.source.features_resident, "chunk_tokens": run.model.chunk_tokens,
    }  # fmt: skip
    result |= {name: found.line() for name, found in comparisons(bench).items()}
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
    result |= peak_memory(bench)
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


def _selection(run: RunState, batch: Batch) -> None:
    """Variable selection, forward and backward."""
    with _quiet_gradients(run), precision(run.config, run.device):
        channels = run.model.channels(batch)
        out = run.model.selection(
            batch.x_NTF.float(), batch.present_NT, channels, run.model.selection.table()
        )
        torch.autograd.backward([part.sum() for part in out])


def _compiled_step(bench: Bench, batch: Batch, rules: LossRules) -> float:
    """Seconds of a step with `runtime.compile`; compiling itself is not counted."""
    config = with_values(bench.config, {"runtime.compile": True})
    run = RunState.begin(config, bench.panel(), bench.device)
    run.model.enable(MODULES)
    run.model.train()
    return best_seconds(lambda: train_step(run, batch, rules, 1.0), 5)


def _forward(run: RunState, batch: Batch) -> None:
    with torch.no_grad(), precision(run.config, run.device):
        run.model(batch)


@contextmanager
def _quiet_gradients(run: RunState) -> Iterator[None]:
    yield
    run.optimizer.zero_grad(set_to_none=True)
