"""Does the device compute what the CPU does, twice the same, and without waiting?"""

import dataclasses
import os
import warnings
from typing import Any

import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.atft import MODULES
from atft_hpo.model.kernels.choose import TOLERANCE
from atft_hpo.paths import RunPaths
from atft_hpo.training.forecasting.forecast import precision
from atft_hpo.training.loss.terms import LossRules
from atft_hpo.training.phases.epoch_report import Decision
from atft_hpo.training.phases.phase_table import phases_of
from atft_hpo.training.run.epoch import backward, train_epoch
from atft_hpo.training.run.loop import run_phases
from atft_hpo.training.state.checkpoint import load_checkpoint
from atft_hpo.training.state.run_state import RunState
from bench.gpu.common import Bench, comparisons


def correctness(bench: Bench) -> None:
    """The same model and batch on both devices, in both precisions, and training twice."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # before cuBLAS begins
    tiny = dataclasses.replace(bench, scale="tiny")
    values = {"runtime.precision": "float32", "model.dropout": 0.0}
    exact = with_values(tiny.config, values)
    rough = with_values(exact, {"runtime.precision": "bf16"})
    panel, here = tiny.panel(), torch.device("cpu")
    result: dict[str, Any] = {}

    def keep(name: str, value: float | bool | None, right: bool) -> None:
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
    for name, found in comparisons(bench).items():
        result[name] = found.line()
        agrees = found.difference is not None and found.difference <= TOLERANCE
        keep(f"{name}_difference", found.difference, agrees or bench.device.type == "cpu")
    if result["failed"]:
        raise SystemExit(f"does not hold: {', '.join(result['failed'])}")


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
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(device))
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
