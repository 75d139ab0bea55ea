"""How fast is one training step of the full model, against windows and against the machine?

    python -m bench.training_speed.step                    # 200, 1,000 and 4,000 stocks
    python -m bench.training_speed.step --stocks 200 --threads 1 --json FILE

The model of studies/jpx_full.toml (hidden 64, lookback 60, 395 features, 4 horizons, 5 quantiles),
everything on, on random panels: forward, losses balanced, backward, optimiser. Per stock count, in
a process of its own:

    samples/s   stock-days with a loss per second, a slice of --days days of all stocks per step
    window      the same model the usual way: one window of 60 days for each stock and day
    ratio       of the two: what slices save
    peak        resident memory of the process, the panel's mapped pages included
    selection   variable selection, forward and backward: the operations of its networks as they
                are published (recomputation not counted), as a share of the rate of a grouped
                matrix product of their shapes. Above 1: most networks are interpolated and need
                few of these operations
    fused       the same for the networks that are computed (of the FAN columns), by themselves

And, on one thread, 20 days of 200 stocks, against the 12.7 samples/s of the earlier system.
"""

import json
import multiprocessing
import os
import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from rich.table import Table

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config, with_values
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.data.sampling.slices import SliceIndex
from atft_hpo.model.atft import ATFT, MODULES
from atft_hpo.training.loss.terms import LossRules
from atft_hpo.training.phases.phase_table import phases_of
from atft_hpo.training.run.epoch import train_step
from atft_hpo.training.state.run_state import RunState
from bench.measuring.console import wide_console
from bench.measuring.machine import best_seconds, copy_bandwidth, grouped_matmul_rate
from bench.measuring.processes import begin_worker
from bench.panel.random_panel import write_panel

STUDY = Path(__file__).parents[2] / "studies" / "jpx_full.toml"
EARLIER_SYSTEM = 12.7
"""Samples per second of the system that this one replaces."""
TARGET_EARLIER_RATIO = 50.0
TARGET_RATIO = 25.0
"""Of slices to windows."""
TARGET_STOCKS, TARGET_GIB = 200, 4.0
"""Peak of memory asked of so many stocks."""
TARGET_SHARE = 0.6
"""Of variable selection."""
WARM_UP_DAYS = 20
"""Before the context, so that the graph has a past."""
TOKENS = 4096
"""Stock-days on which variable selection is timed by itself."""
console = wide_console()


@dataclass(frozen=True)
class Measured:
    """One stock count."""

    stocks: int
    days: int
    threads: int
    samples_per_second: float
    window_samples_per_second: float
    ratio_to_window_path: float
    peak_rss_gib: float
    selection_share_of_grouped_matmul: float
    fused_share_of_grouped_matmul: float
    grouped_matmul_gflops: float
    copy_gb_per_second: float


def main(
    stocks: Annotated[str, typer.Option(help="Stock counts.")] = "200,1000,4000",
    days: Annotated[int, typer.Option(min=1, help="Days of a slice.")] = 120,
    threads: Annotated[int, typer.Option(min=0, help="0 = all cores.")] = 0,
    precision: Annotated[Literal["float32", "bf16"], typer.Option()] = "float32",
    study: Annotated[Path, typer.Option(help="Its model.")] = STUDY,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
) -> None:
    """Time a training step at several stock counts."""
    cores = threads or len(os.sched_getaffinity(0))
    config = with_values(load_config(study), {"runtime.precision": precision})
    jobs = [(int(count), days, cores) for count in stocks.split(",")]
    with tempfile.TemporaryDirectory(prefix="atft-step-") as folder:
        found = [_in_a_process(config, *job, Path(folder)) for job in jobs]
        small = _in_a_process(config, 200, 20, 1, Path(folder))
    console.print(table(found))
    ratio = small.samples_per_second / EARLIER_SYSTEM
    console.print(
        f"200 stocks × 20 days, one thread: {small.samples_per_second:,.0f} samples/s, "
        f"{ratio:.0f} × the {EARLIER_SYSTEM} of the earlier system "
        f"(asked: {TARGET_EARLIER_RATIO:.0f})"
    )
    if json_file:
        result = {
            "precision": precision,
            "torch": torch.__version__,
            "stocks": {str(m.stocks): asdict(m) for m in found},
            "one_thread": asdict(small) | {"ratio_to_earlier_system": ratio},
        }
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _in_a_process(config: Config, stocks: int, days: int, threads: int, folder: Path) -> Measured:
    """`measure` in a fresh process, so that its peak of memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=begin_worker) as pool:
        return pool.submit(measure, config, stocks, days, threads, folder).result()


def measure(config: Config, stocks: int, days: int, threads: int, folder: Path) -> Measured:
    """All about one stock count."""
    torch.set_num_threads(threads)
    context = config.slices.context_days
    values = {"graph.window_days": WARM_UP_DAYS, "slices.days": days, "slices.stocks": None}
    config = with_values(config, values)
    last = WARM_UP_DAYS + context + days
    out = folder / f"{stocks}-{last}"
    panel = write_panel(out, last + max(config.data.horizons_days) + 2, stocks, config.data)
    run = RunState.begin(config, panel, torch.device("cpu"))
    run.model.enable(MODULES)
    run.model.train()
    everyone = np.arange(stocks)
    lookback = config.model.lookback_days
    slice_batch = run.source.batch(SliceIndex(range(last - days, last), context, everyone))
    window_batch = run.source.batch(SliceIndex(range(last - 1, last), lookback - 1, everyone))
    repeats = 3 if stocks * days <= 20_000 else 1
    seconds = best_seconds(lambda: _step(run, slice_batch), repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    window_seconds = best_seconds(lambda: _step(run, window_batch), repeats)
    whole, fused, rate = selection_shares(run.model, slice_batch)
    return Measured(
        stocks=stocks,
        days=days,
        threads=threads,
        samples_per_second=stocks * days / seconds,
        window_samples_per_second=stocks / window_seconds,
        ratio_to_window_path=days * window_seconds / seconds,
        peak_rss_gib=peak,
        selection_share_of_grouped_matmul=whole,
        fused_share_of_grouped_matmul=fused,
        grouped_matmul_gflops=rate / 1e9,
        copy_gb_per_second=copy_bandwidth(torch.device("cpu")) / 1e9,
    )


def _step(run: RunState, batch: Batch) -> None:
    phase = next(phase for phase in phases_of(run.config) if phase.name == "gat")
    rules = LossRules.of(run.config, phase.config)
    train_step(run, batch, rules, 1.0)


def selection_shares(model: ATFT, batch: Batch) -> tuple[float, float, float]:
    """Shares of variable selection, whole and computed networks alone, and the rate (FLOP/s)."""
    selection, hidden = model.selection, model.selection.hidden
    features, columns = len(selection.order), len(selection.columns)
    x_NTF = batch.x_NTF.flatten(0, 1)[:TOKENS].unsqueeze(0).float()
    present_NT = torch.ones(x_NTF.shape[:2], dtype=torch.bool)
    with torch.no_grad():
        channels = {
            name: value.flatten(0, 1)[:TOKENS].unsqueeze(0)
            for name, value in model.channels(batch).items()
        }

    def whole() -> None:
        outs = selection(x_NTF, present_NT, channels, selection.table())
        torch.autograd.backward([out.sum() for out in outs])

    added = [(selection.added[n](), c.flatten(0, 1)) for n, c in sorted(channels.items())]
    added = [(weight.detach().requires_grad_(), channel) for weight, channel in added]
    x_Bf = x_NTF[0][:, selection.columns]
    weight_Bf = torch.rand_like(x_Bf).requires_grad_()

    def fused() -> None:
        out_BH = selection.fan_networks.weighted_sum(x_Bf, weight_Bf, added)
        out_BH.sum().backward()

    rate = grouped_matmul_rate(columns, 2 * hidden, hidden, 1024, torch.device("cpu"))
    # As published: W₁ [H, H], W₄ [2H, H] and the first layer [2H, 1], forward and twice backward.
    network = 3 * 2 * (3 * hidden**2 + 2 * hidden)
    # W₄W₁ is formed first, and channels come in beside the number itself.
    inputs = 2 + sum(channel.shape[2] for _, channel in added)
    computed = 3 * 2 * (2 * hidden**2 + 2 * hidden * inputs)
    tokens = x_NTF.shape[1]
    shares = (
        tokens * features * network / best_seconds(whole) / rate,
        tokens * columns * computed / best_seconds(fused) / rate,
    )
    return *shares, rate


def table(found: list[Measured]) -> Table:
    """One row per stock count."""
    columns: dict[str, Any] = {
        "stocks": lambda m: f"{m.stocks:,}",
        "samples/s": lambda m: f"{m.samples_per_second:,.0f}",
        "window": lambda m: f"{m.window_samples_per_second:,.0f}",
        "ratio": lambda m: f"{m.ratio_to_window_path:.1f}",
        "peak GiB": lambda m: f"{m.peak_rss_gib:.2f}",
        "selection": lambda m: f"{m.selection_share_of_grouped_matmul:.2f}",
        "fused": lambda m: f"{m.fused_share_of_grouped_matmul:.2f}",
        "matmul GFLOP/s": lambda m: f"{m.grouped_matmul_gflops:.0f}",
        "copy GB/s": lambda m: f"{m.copy_gb_per_second:.0f}",
    }
    result = Table(*columns, box=None, title=f"{found[0].days} days, {found[0].threads} thread(s)")
    for measured in found:
        result.add_row(*(show(measured) for show in columns.values()))
    return result


if __name__ == "__main__":
    typer.run(main)
