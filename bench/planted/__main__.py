"""Does every module learn the part of a planted market it is there for?

    python -m bench.planted --quick                     # full model, one seed
    python -m bench.planted --json planted.json         # all ablations, three seeds, two cores
    python -m bench.planted --profile gpu               # larger market and model, for a GPU

The market is that of studies/planted.toml, whose truth is known (`data.synthetic.planted_parts`).
Each variant is trained from scratch; after each phase its forecasts of the validation days are
compared with the oracle: β of each part (`oracle.py`) over the part's ceiling (`attainable.py`),
and the share of the attainable in total. Finished runs are kept in `--out` and not trained again,
so that an interrupted benchmark continues.
"""

import json
import os
import time
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

from atft_hpo.config.toml import with_values
from atft_hpo.data.prepare import prepare_panel
from atft_hpo.errors import ConfigError
from atft_hpo.paths import Volume
from bench.planted.attainable import part_ceilings
from bench.planted.kept_runs import train_all
from bench.planted.market import market_config
from bench.planted.report import report
from bench.planted.table import print_report
from bench.planted.variants import DEFAULT, VARIANTS

GPU_PROFILE = {
    "data.synthetic.stocks": 2000,
    "data.synthetic.days": 1500,
    "model.hidden": 64,
    "slices.stocks": 500,
    "runtime.precision": "bf16",
}
"""What differs from studies/planted.toml on a GPU: more data, the seed's width."""


def main(
    quick: Annotated[bool, typer.Option("--quick", help="One seed, the full model only.")] = False,
    profile: Annotated[Literal["cpu", "gpu"], typer.Option(help="Size of everything.")] = "cpu",
    variants: Annotated[str, typer.Option(help="Comma list, or all.")] = ",".join(DEFAULT),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each variant.")] = 3,
    market_seed: Annotated[int, typer.Option(min=0, help="Seed of the market.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 = cores, 1 on a GPU.")] = 0,
    out: Annotated[Path, typer.Option(help="Directory of panels and finished runs.")] = Path(
        "volume/bench/planted"
    ),
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
) -> None:
    """Train the full model and its ablations on planted truth."""
    started = time.monotonic()
    config = with_values(
        market_config(None, None, market_seed), GPU_PROFILE if profile == "gpu" else {}
    )
    if quick:  # one run has all cores
        config = with_values(config, {"runtime.threads": len(os.sched_getaffinity(0))})
    names = ["full"] if quick else _chosen(variants)
    # Full models first: ablations begin with the phases that they share with them.
    plan = [(name, seed) for name in names for seed in range(1 if quick else seeds)]
    panel = prepare_panel(config.data, Volume(out), typer.echo)
    ceilings = part_ceilings(panel, config)
    runs = train_all(plan, config, panel, _workers(workers, profile), out / "runs")
    result = report(runs, ceilings, config, panel, time.monotonic() - started)
    print_report(result)
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _chosen(variants: str) -> list[str]:
    names = list(VARIANTS) if variants == "all" else variants.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(VARIANTS)}")
    return names


def _workers(wanted: int, profile: str) -> int:
    if profile == "gpu" and not torch.cuda.is_available():
        raise ConfigError("--profile gpu: no CUDA device found; use --profile cpu")
    return wanted or (1 if profile == "gpu" else len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    typer.run(main)
