"""The full model on one GPU, at the seed's scale. `bench/gpu.sh` runs all parts.

    python -m bench.gpu machine       # products, bandwidth, versions
    python -m bench.gpu correctness   # CPU against GPU, bf16 against float32, twice the same,
                                      # Triton kernels, no waiting; fails where it does not hold
    python -m bench.gpu panel         # 1,959 stocks × 2,370 days × 395 features, made here
    python -m bench.gpu stages        # time of each stage of a step, TFLOP/s, share of the peak of
                                      # float32 products, the kernels that take longest
    python -m bench.gpu train         # 42 epochs over all samples; goes on where it stopped;
                                      # compiled, if that made the step of `stages` faster; how long
                                      # each trains, forecasts, computes metrics and writes files
    python -m bench.gpu report        # what is there, as a table

`--scale tiny --device cpu` runs the same on any machine within minutes, which shows that it works
and no more. Results are written to --out as they come.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.table import Table

from bench.gpu.common import Bench, console, product_size
from bench.gpu.correctness import correctness
from bench.gpu.stages import stages
from bench.gpu.training import train
from bench.measuring.machine import copy_bandwidth, grouped_matmul_rate, matmul_rate

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    part: Annotated[
        Literal["machine", "correctness", "panel", "stages", "train", "report"], typer.Argument()
    ],
    out: Annotated[Path, typer.Option(help="Directory of results.")] = Path("bench/results/gpu"),
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    scale: Annotated[Literal["seed", "tiny"], typer.Option()] = "seed",
    triton: Annotated[bool, typer.Option(help="Whether Triton's kernels take part.")] = True,
) -> None:
    """Run one part."""
    if part == "report":
        console.print(report(out))
        return
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("torch finds no CUDA GPU; --device cpu --scale tiny shows the way")
    PARTS[part](Bench(out, torch.device(device), scale, triton))


def machine(bench: Bench) -> None:
    """Peaks that shares are of."""
    size = product_size(bench.device)
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


if __name__ == "__main__":
    app()
