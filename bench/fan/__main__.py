"""Does FAN continue a series better than no normalisation, RevIN, SAN? DLinear behind all four.

    python -m bench.fan [SERIES.csv] [--k K] [--slice P] [--horizons 96,168,336,720]
                        [--methods none,revin,san,fan] [--scaling train|all|both] [--seeds 0,1,2]
                        [--epochs 100] [--fan-loss paper|code] [--device auto|cpu|cuda]
                        [--threads N] [--json FILE]

SERIES is a CSV or Parquet file, one row per time step, one column per channel; a first column that
is not numeric is a date and left out. Printed: mean squared and mean absolute error of the test
part (all windows, channels and steps, on the scaled series), for scaling fitted on the training
part (the honest one) and on all data (the published one). Split 7/2/1, 96 values in, set-up as in
Ye et al. 2024, see `task.py`. Without SERIES: two small generated series at one horizon, one
that FAN should help with, one with nothing to find, at most 40 epochs: about a minute on one core.

`--fan-loss paper`: squared error of the main component plus that of the whole forecast; `code` adds
the residual's, as the authors' code does. K and the slice length of SAN are the papers' where the
file's name has the name of a data set (ETTh1, …, Weather); else K is the number of frequencies
whose mean amplitude exceeds 10 % of the largest one's in the training part, and slices are 12 long.
"""

import json
import re
import sys
from enum import StrEnum
from itertools import groupby, product
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from atft_hpo.errors import AtftHpoError, ConfigError
from bench.fan.report import Experiment, Run, line, table
from bench.fan.series import Series, drifting_cycles, random_walk, read_series
from bench.fan.task import LENGTH, Scaling, choose_k, choose_slice, make_task, split
from bench.fan.training import METHODS, Settings, normalization, run

EPOCHS = 100
QUICK_ROWS, QUICK_CHANNELS, QUICK_EPOCHS = 4000, 3, 40
Plan = list[tuple[Scaling, int, str, int]]
"""Scaling, horizon, method, seed of each run."""


class ScalingChoice(StrEnum):
    """What the scaling is fitted on."""

    train = "train"
    all = "all"
    both = "both"


class FanLoss(StrEnum):
    """Which terms FAN's loss has."""

    paper = "paper"
    code = "code"


def main(
    path: Annotated[Path | None, typer.Argument(metavar="[SERIES]", help="CSV or Parquet")] = None,
    k: Annotated[int | None, typer.Option(help="FAN's K")] = None,
    slice_length: Annotated[int | None, typer.Option("--slice", help="SAN's slice length")] = None,
    horizons: Annotated[str | None, typer.Option(help="96,168,336,720 if not given")] = None,
    methods: Annotated[str, typer.Option(help="of none, revin, san, fan")] = ",".join(METHODS),
    scaling: Annotated[ScalingChoice | None, typer.Option(help="both if not given")] = None,
    seeds: Annotated[str, typer.Option(help="one run per seed, errors averaged")] = "0",
    epochs: Annotated[int | None, typer.Option(min=1, help="at most; 100 if not given")] = None,
    fan_loss: Annotated[FanLoss, typer.Option(help="terms of FAN's loss")] = FanLoss.paper,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1)] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="results as JSON")] = None,
) -> None:
    """Test errors of DLinear with each normalisation, by horizon."""
    if threads:
        torch.set_num_threads(threads)
    where = torch.device(_device(device))
    quick = path is None
    horizon_list = _integers("--horizons", horizons or ("96" if quick else "96,168,336,720"))
    scalings = _scalings(scaling or (ScalingChoice.train if quick else ScalingChoice.both))
    plan = list(product(scalings, horizon_list, _methods(methods), _integers("--seeds", seeds)))
    most = epochs or (QUICK_EPOCHS if quick else EPOCHS)
    reports = []
    for series in _quick_series() if path is None else [read_series(path)]:
        settings, origin = _settings(series, k, slice_length, most, fan_loss)
        _check(series, plan, settings)
        experiment = Experiment(series, quick, settings, origin, where.type)
        Console().print(experiment.headline(), highlight=False)
        runs = _run_all(experiment, plan, where)
        Console().print(table(series, runs))
        reports.append(experiment.as_json(runs))
    if json_path:
        body = {"command": sys.argv[1:], "input_length": LENGTH, "series": reports}
        json_path.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def _check(series: Series, plan: Plan, settings: Settings) -> None:
    """Fail now rather than hours into the plan."""
    rows, channels = series.values_NC.shape
    for _, ahead, method, _ in plan:
        split(rows, ahead)
        normalization(method, ahead, channels, settings)


def _run_all(experiment: Experiment, plan: Plan, where: torch.device) -> list[Run]:
    """Train and test everything planned; one line each on the error stream."""
    runs: list[Run] = []
    for (scaling, ahead), group in groupby(plan, key=lambda entry: entry[:2]):
        task = make_task(experiment.series, ahead, scaling, where)
        windows = {p: len(getattr(task, p)) for p in ("train", "validation", "test")}
        for *_, method, seed in group:
            outcome = run(method, task, experiment.settings, seed)
            runs.append(Run(scaling, ahead, method, seed, windows, outcome))
            print(line(runs[-1]), file=sys.stderr, flush=True)
    return runs


def _settings(
    series: Series, k: int | None, slice_length: int | None, epochs: int, fan_loss: FanLoss
) -> tuple[Settings, dict[str, str]]:
    """Settings, and who chose K and the slice length."""
    chosen_k, k_origin = choose_k(series) if k is None else (k, "as given")
    if slice_length is None:
        slice_length, slice_origin = choose_slice(series)
    else:
        slice_origin = "as given"
    settings = Settings(chosen_k, slice_length, epochs, fan_loss is FanLoss.code)
    return settings, {"k": k_origin, "slice_length": slice_origin}


def _quick_series() -> list[Series]:
    return [drifting_cycles(QUICK_ROWS, QUICK_CHANNELS), random_walk(QUICK_ROWS, QUICK_CHANNELS)]


def _scalings(choice: ScalingChoice) -> list[Scaling]:
    if choice is ScalingChoice.both:
        return ["train", "all"]
    return ["train"] if choice is ScalingChoice.train else ["all"]


def _methods(text: str) -> list[str]:
    names = _split(text)
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise ConfigError(f"--methods: found {text!r}, expected some of {', '.join(METHODS)}")
    return list(dict.fromkeys(names))


def _integers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in _split(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0 or (option == "--horizons" and min(numbers) < 1):
        raise ConfigError(f"{option}: found {text!r}, expected whole numbers as in 96,168")
    return list(dict.fromkeys(numbers))


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", text) if part]


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(
            f"--device: found {name!r}, expected auto, cpu, or cuda where there is a GPU"
        )
    return name


if __name__ == "__main__":
    try:
        typer.run(main)
    except AtftHpoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
