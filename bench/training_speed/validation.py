"""How much of an epoch does validation take?

    python -m bench.training_speed.validation              # 64 stocks, first and third phase
    python -m bench.training_speed.validation --stocks 200 --phases gat,augmentation --json FILE

Real epochs (`training.run.loop`) of the model of studies/jpx_full.toml with its slices, on a random
panel with its features: as many days as the seed's, so that training and validation range have
their real lengths, and as many stocks as a CPU carries. The first epoch comes twice and counts
once: what validation computes once a run (styles and sectors of its days) falls into it.

    trained, validated   stock-days per second
    share                of validation in the epoch's seconds

Also counted is what the split asks for: validation's share if a validated stock-day cost as much as
a trained one. Writing checkpoints belongs to neither.

Asked: at most 10 %.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.table import Table

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config, with_values
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.data.sampling.splits import panel_split
from atft_hpo.data.store.panel import Panel
from atft_hpo.paths import RunPaths
from atft_hpo.training.phases.epoch_report import Decision, EpochReport
from atft_hpo.training.run.loop import run_phases
from atft_hpo.training.run.memory import keep_freed_memory
from bench.measuring.console import wide_console
from bench.panel.random_panel import write_panel
from bench.panel.random_table import SEED_DAYS

STUDY = Path(__file__).parents[2] / "studies" / "jpx_full.toml"
TARGET_SHARE = 0.10
console = wide_console()


@dataclass(frozen=True)
class Measured:
    """One epoch."""

    phase: str
    modules: tuple[str, ...]
    training_seconds: float
    validation_seconds: float
    trained_per_second: float
    """Stock-days."""
    validated_per_second: float
    share: float
    """Of validation in the epoch's seconds."""

    @classmethod
    def of(cls, report: EpochReport, validated: int) -> "Measured":
        """What `report` tells of an epoch that `validated` so many stock-days."""
        return cls(
            phase=report.phase_name,
            modules=report.modules,
            training_seconds=report.seconds - report.validation_seconds,
            validation_seconds=report.validation_seconds,
            trained_per_second=report.samples_per_second,
            validated_per_second=validated / report.validation_seconds,
            share=report.validation_seconds / report.seconds,
        )


def main(
    days: Annotated[int, typer.Option(help="Of the panel.")] = SEED_DAYS,
    stocks: Annotated[int, typer.Option(min=20, help="Of the panel.")] = 64,
    phases: Annotated[str, typer.Option(help="Two epochs of each.")] = "baseline,gat",
    threads: Annotated[int, typer.Option(min=0, help="0 = all cores.")] = 0,
    precision: Annotated[Literal["float32", "bf16"], typer.Option()] = "float32",
    study: Annotated[Path, typer.Option(help="Its model, slices and phases.")] = STUDY,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
) -> None:
    """Time validation against training in real epochs."""
    keep_freed_memory()  # as a trial's process does
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    config = epochs_of(load_config(study), phases.split(","), precision)
    with tempfile.TemporaryDirectory(prefix="atft-validation-") as folder:
        panel = write_panel(Path(folder) / "panel", days, stocks, config.data)
        result = summary(reports(config, panel, Path(folder) / "run"), panel, config)
    console.print(table(result))
    largest = result["largest_share"]
    reached = "reached" if largest <= TARGET_SHARE else "missed"
    console.print(
        f"{largest:.1%} at most; asked: at most {TARGET_SHARE:.0%}: {reached}. Were a validated "
        f"stock-day as dear as a trained one: {result['share_of_days']:.1%}"
    )
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def epochs_of(config: Config, phases: list[str], precision: str) -> Config:
    """Two epochs of each of `phases`.

    Raises:
        typer.BadParameter: there is no such phase.
    """
    if unknown := [name for name in phases if name not in PHASE_NAMES]:
        expected = ", ".join(PHASE_NAMES)
        raise typer.BadParameter(f"--phases: {', '.join(unknown)}: expected some of {expected}")
    epochs = {f"phases.{name}.epochs": 2 * (name in phases) for name in PHASE_NAMES}
    return with_values(config, {**epochs, "runtime.precision": precision})


def reports(config: Config, panel: Panel, out: Path) -> list[EpochReport]:
    """Train; one line per epoch on the way."""

    def on_epoch(report: EpochReport) -> Decision:
        training = report.seconds - report.validation_seconds
        console.print(
            f"{report.phase_name}, epoch {report.epoch}: {training:.1f} s of training, "
            f"{report.validation_seconds:.2f} s of validation"
        )
        return Decision.CONTINUE

    cpu = torch.device("cpu")
    return list(run_phases(config, panel, RunPaths(out), cpu, on_epoch).history)


def summary(found: list[EpochReport], panel: Panel, config: Config) -> dict[str, Any]:
    """What is written as JSON."""
    split = panel_split(panel, config.split)
    live = int(panel.alive[split.validation.start : split.validation.stop].sum())
    first, epochs = (
        [Measured.of(report, live) for report in found if report.epoch == number]
        for number in (0, 1)
    )
    return {
        "panel": [len(panel.dates), len(panel.manifest.codes), len(panel.feature_names)],
        "precision": config.runtime.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "training_days": len(split.train),
        "validation_days": len(split.validation),
        "share_of_days": len(split.validation) / (len(split.validation) + len(split.train)),
        "first": [asdict(epoch) for epoch in first],
        "epochs": [asdict(epoch) for epoch in epochs],
        "largest_share": max(epoch.share for epoch in epochs),
    }


def table(result: dict[str, Any]) -> Table:
    """One row per epoch."""
    days, stocks, features = result["panel"]
    found = Table(
        "phase", "modules", "training s", "validation s", "trained/s", "validated/s", "share",
        box=None, title=f"{days:,} days × {stocks:,} stocks × {features} features: "
        f"{result['training_days']:,} days of training, {result['validation_days']} of validation",
    )  # fmt: skip
    for epoch in result["epochs"]:
        found.add_row(
            epoch["phase"], " ".join(epoch["modules"]), f"{epoch['training_seconds']:.1f}",
            f"{epoch['validation_seconds']:.2f}", f"{epoch['trained_per_second']:,.0f}",
            f"{epoch['validated_per_second']:,.0f}", f"{epoch['share']:.1%}",
        )  # fmt: skip
    return found


if __name__ == "__main__":
    typer.run(main)
