"""How long does the end of an epoch keep the host, while a GPU has nothing to do?

    python -m bench.training_speed.end                  # metrics and files at the seed's scale
    python -m bench.training_speed.end --threads 1 --json FILE

Random forecasts and labels of 448 validation days × 1,959 stocks × 4 horizons with 33 sectors and
8 styles, and a state of the model of studies/jpx_full.toml with as many epochs behind it as its
phases have. The forecast itself is not in it: that is the device's work.

    metrics, first    of a run: what compares forecasts is made, too
    metrics           of each epoch after it
    weights           copied for best_main.pt, of an epoch that is the best so far
    tables            metrics.parquet and daily.parquet
    last.pt           gathered and written
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config
from atft_hpo.data.neutralization.styles import STYLES, Exposures
from atft_hpo.data.store.trading import Trading
from atft_hpo.evaluation.metrics import Evaluation, evaluate_forecast
from atft_hpo.evaluation.yardsticks import Yardsticks
from atft_hpo.paths import RunPaths
from atft_hpo.training.phases.epoch_report import EpochReport
from atft_hpo.training.run.memory import keep_freed_memory
from atft_hpo.training.state.checkpoint import save_checkpoint
from atft_hpo.training.state.history import write_tables
from atft_hpo.training.state.run_state import RunState
from bench.measuring.console import wide_console
from bench.panel.random_panel import SECTORS, write_panel

STUDY = Path(__file__).parents[2] / "studies" / "jpx_full.toml"
console = wide_console()


def draw(days: int, stocks: int, horizons: int) -> tuple[NDArray[np.float32], Yardsticks]:
    """Forecasts and what they are held against: one stock-day of twenty is dead, and one label of a
    hundred missing."""
    rng = np.random.default_rng(0)
    alive_DN = rng.random((days, stocks)) < 0.95
    score_DNQ = rng.standard_normal((days, stocks, horizons), dtype=np.float32)
    returns_DNQ = 0.02 * rng.standard_normal((days, stocks, horizons), dtype=np.float32)
    returns_DNQ[rng.random(returns_DNQ.shape) < 0.01] = np.nan
    styles_DKN = rng.uniform(-1.7, 1.7, (days, len(STYLES), stocks)).astype(np.float32)
    sector_DN = np.tile(np.arange(stocks, dtype=np.int16) % SECTORS, (days, 1))
    exposures = Exposures(STYLES, sector_DN, styles_DKN.swapaxes(1, 2))
    dates = np.arange("2018-01-01", days, dtype="datetime64[D]")
    score_DNQ[~alive_DN] = np.nan
    trading = Trading.without_friction(returns_DNQ[..., 0], dates)
    return score_DNQ, Yardsticks(returns_DNQ, alive_DN, dates, trading, exposures)


def main(
    days: Annotated[int, typer.Option(help="Of validation.")] = 448,
    stocks: Annotated[int, typer.Option()] = 1959,
    threads: Annotated[int, typer.Option(help="0 = as many as torch takes.")] = 0,
    repeats: Annotated[int, typer.Option(help="The least time counts.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
) -> None:
    """Time the end of an epoch, part by part."""
    keep_freed_memory()  # as a trial's process does
    torch.set_num_threads(threads or torch.get_num_threads())
    config = load_config(STUDY)
    score_DNQ, yardsticks = draw(days, stocks, len(config.data.horizons_days))
    with tempfile.TemporaryDirectory(prefix="atft-epoch-end-") as folder:
        seconds = measured(
            lambda: evaluate_forecast(score_DNQ, yardsticks, config), config, Path(folder), repeats
        )
    threads = torch.get_num_threads()
    result = {"days": days, "stocks": stocks, "threads": threads, "seconds": seconds}
    console.print_json(data=result)
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measured(
    evaluate: Callable[[], Evaluation], config: Config, folder: Path, repeats: int
) -> dict[str, float]:
    """Seconds of each part."""
    first = _seconds(evaluate, 1)
    run = state(config, evaluate(), folder / "panel")
    paths = RunPaths(folder / "run")
    found = {
        "metrics": evaluate,
        "weights": lambda: run.record(run.phases[-1], run.history.pop()),
        "tables": lambda: write_tables(paths, run.history),
        "last.pt": lambda: save_checkpoint(paths.last, run.content()),
    }
    return {"metrics, first": first} | {
        name: _seconds(action, repeats) for name, action in found.items()
    }


def state(config: Config, evaluation: Evaluation, place: Path) -> RunState:
    """A run before its last epoch: moments of each parameter, the best weights of two phases."""
    run = RunState.begin(config, write_panel(place, 240, 40, config.data), torch.device("cpu"))
    for parameter in run.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    report = _report(evaluation)
    for phase in run.phases:
        for epoch in range(phase.config.epochs - (phase is run.phases[-1])):
            value = float(epoch)
            run.record(
                phase,
                replace(report, phase=phase.number, epoch=epoch, value=value, smoothed=value),
            )
    return run


def _report(evaluation: Evaluation) -> EpochReport:
    return EpochReport(
        phase=0, phase_name="baseline", epoch=0, epochs_done=1, epochs_total=1,
        metrics=evaluation.metrics, value=1.0, smoothed=1.0, train={"loss": 1.0}, modules=("fan",),
        seconds=1.0, validation_seconds=1.0, samples_per_second=1.0, eta_seconds=1.0,
        daily=evaluation.daily,
    )  # fmt: skip


def _seconds(action: Callable[[], Any], repeats: int) -> float:
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        found.append(time.perf_counter() - started)
    return min(found)


if __name__ == "__main__":
    typer.run(main)
