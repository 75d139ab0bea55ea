"""Does every module learn the part of a planted market it is there for?

    python bench/planted.py --quick                     # full model, one seed
    python bench/planted.py --json planted.json         # all ablations, three seeds, two cores
    python bench/planted.py --profile gpu               # larger market and model, for a GPU

The market is that of studies/planted.toml, whose truth is known (`data.synthetic.planted_parts`).
Each variant is trained from scratch; after each phase its forecasts of the validation days are
compared with the oracle: β of each part (`atft_hpo.data.synthetic.oracle`) over the part's ceiling
(`planted_truth/ceilings.py`), and the share of the attainable in total. Finished runs are kept in
`--out` and not trained again, so that an interrupted benchmark continues.
"""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer

import atft_hpo
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import dump_config, with_values
from atft_hpo.data.prepare import prepare_panel
from atft_hpo.data.sampling.splits import date_split
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import ConfigError
from atft_hpo.paths import Volume
from planted_truth.ceilings import part_ceilings
from planted_truth.findings import (
    by_phase,
    lost_share,
    shares,
    targets,
    true_features_in_top_decile,
)
from planted_truth.market import market_config
from planted_truth.runs import PhaseTruth, train_variant
from planted_truth.table import print_report
from planted_truth.variants import DEFAULT, VARIANTS
from processes import begin_worker

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
    runs = _train_all(plan, config, panel, _workers(workers, profile), out / "runs")
    report = _report(runs, ceilings, config, panel, time.monotonic() - started)
    print_report(report)
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _chosen(variants: str) -> list[str]:
    names = list(VARIANTS) if variants == "all" else variants.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(VARIANTS)}")
    return names


def _workers(wanted: int, profile: str) -> int:
    if profile == "gpu" and not torch.cuda.is_available():
        raise ConfigError("--profile gpu: no CUDA device found; use --profile cpu")
    return wanted or (1 if profile == "gpu" else len(os.sched_getaffinity(0)))


def _train_all(
    plan: list[tuple[str, int]], config: Config, panel: Panel, workers: int, folder: Path
) -> dict[str, list[list[PhaseTruth]]]:
    """Variant → seeds → phases; runs found in `folder` are taken from there."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    runs: dict[str, dict[int, list[PhaseTruth]]] = defaultdict(dict)
    with ProcessPoolExecutor(workers, context, begin_worker) as pool:
        jobs = {
            pool.submit(_run, name, VARIANTS[name].config(config, seed), panel.root, folder): (
                name, seed,
            )
            for name, seed in plan
        }  # fmt: skip
        for job in as_completed(jobs):
            name, seed = jobs[job]
            runs[name][seed] = job.result()
            last = runs[name][seed][-1]
            typer.echo(f"{name} seed {seed}: total {last.total:.3f}, {last.seconds:.0f} s")
    shutil.rmtree(_shared(folder), ignore_errors=True)  # states of phases: only for runs to come
    return {name: [found[seed] for seed in sorted(found)] for name, found in runs.items()}


def _run(name: str, config: Config, panel: Path, folder: Path) -> list[PhaseTruth]:
    """One variant and seed, from its file or trained."""
    opened = Panel.open(panel)
    key = f"{_program()} {opened.fingerprint} {dump_config(config)}"
    file = folder / f"{name}-{config.seed}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
    if file.is_file():
        return [PhaseTruth(**record) for record in json.loads(file.read_text(encoding="utf-8"))]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    phases = train_variant(config, opened, device, _shared(folder))
    stage = file.with_suffix(".tmp")
    stage.write_text(json.dumps([dataclasses.asdict(p) for p in phases]), encoding="utf-8")
    stage.replace(file)
    return phases


def _shared(folder: Path) -> Path:
    """Where variants leave the ends of their phases for one another."""
    return folder / f"shared-{_program()[:12]}"


def _program() -> str:
    """Hash of what shapes a run: the model, its training and its data."""
    digest = hashlib.sha256()
    package = Path(atft_hpo.__file__).parent
    for room in ("config", "data", "model", "training"):
        for source in sorted((package / room).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _report(
    runs: dict[str, list[list[PhaseTruth]]], ceilings: dict[str, float], config: Config,
    panel: Panel, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    found: dict[str, Any] = {
        name: {
            "share_of_attainable": shares([run[-1] for run in seeds], ceilings),
            "after": by_phase(seeds, ceilings),
            "part": VARIANTS[name].part,
            "lost_of_part": lost_share(runs, name),
            "seconds": [run[-1].seconds for run in seeds],
        }
        for name, seeds in runs.items()
    }
    ends = [run[-1] for run in runs.get("full", [])]
    return {
        "variants": dict(sorted(found.items(), key=lambda item: list(VARIANTS).index(item[0]))),
        "coverage_90": sum(t.coverage_90 for t in ends) / len(ends) if ends else None,
        "selection_top_decile": [true_features_in_top_decile(t) for t in ends],
        "selection_weights": ends[0].selection if ends else None,
        "ceilings": ceilings,
        "oracle_ic": config.data.synthetic.oracle_ic,
        "training_samples": _training_samples(panel, config),
        "targets": [dataclasses.asdict(target) for target in targets(runs, ceilings)],
        "seconds": seconds,
        "versions": {"atft_hpo": atft_hpo.__version__, "torch": torch.__version__},
    }


def _training_samples(panel: Panel, config: Config) -> int:
    manifest = panel.manifest
    horizon, delay = max(manifest.horizons_days), manifest.delay_days
    train = date_split(len(panel.dates), config.split, horizon, delay).train
    return int(panel.alive[train.start : train.stop].sum())


if __name__ == "__main__":
    typer.run(main)
