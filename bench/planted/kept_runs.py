"""All variants and seeds, a few processes at a time; finished runs are kept.

    runs = train_all([("full", 0), ("no_fan", 0)], config, panel, workers=2, folder=out / "runs")
    runs["full"][0][-1].total      # variant → seeds → phases

A run leaves one file, named by a hash of all it depends on. It is not trained again, so that an
interrupted benchmark continues.
"""

import dataclasses
import hashlib
import json
import multiprocessing
import shutil
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
import typer

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import dump_config
from atft_hpo.data.store.panel import Panel
from bench.measuring.processes import begin_worker
from bench.measuring.program import TRAINING, program_sha256
from bench.planted.runs import PhaseTruth, train_variant
from bench.planted.variants import VARIANTS


def train_all(
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
    key = f"{program_sha256(TRAINING)} {opened.fingerprint} {dump_config(config)}"
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
    return folder / f"shared-{program_sha256(TRAINING)[:12]}"
