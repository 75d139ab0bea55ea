"""Every benchmark of speed and memory that needs no GPU, one after another, into one table.

    make bench
    python -m bench.suite --parts step,search --out /tmp/cpu      # some of them; or by its path

Writes into --out: results.json (all that the programs measured), table.md (figures against what was
asked, with the command that gives each) and plots.html (one page that needs nothing else). A part
that fails is a row that says so, the others go on, and the exit status is 1.

Made for two quiet cores, where it takes a quarter of an hour at most. What measures quality and not
speed is left out, since it takes longer: bench.planted --quick (6.5 minutes), bench.real (half
an hour and prices), bench.fan, bench.planted.ceilings. gpu.sh runs what needs a GPU.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

# Run by its path, a program has its own folder on the path, not the one that `bench` is in.
sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.cpu_set.parts import PARTS, Outcome, run_part
from bench.cpu_set.report import machine, write_report
from bench.measuring.console import wide_console

OUT = Path(__file__).parent / "results" / "cpu"
console = wide_console()


def main(
    parts: Annotated[str, typer.Option(help="Comma list.")] = ",".join(PARTS),
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = OUT,
) -> None:
    """Run the CPU set and write its table and plots."""
    where = machine()
    outcomes = run_all(chosen(parts))
    for name, outcome in outcomes.items():
        console.print(f"{outcome.seconds:6.0f} s  {name}{'  FAILED' if outcome.error else ''}")
    total = sum(outcome.seconds for outcome in outcomes.values())
    console.print(f"{total:6.0f} s  in total")
    for file in write_report(out, where, outcomes):
        console.print(f"wrote {file}", soft_wrap=True)
    if any(outcome.error for outcome in outcomes.values()):
        sys.exit(1)


def chosen(parts: str) -> list[str]:
    """Names of parts, in the order in which they run.

    Raises:
        typer.BadParameter: there is no such part.
    """
    names = parts.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


def run_all(names: list[str]) -> dict[str, Outcome]:
    """Run these parts; what each printed is shown when it is done."""
    outcomes: dict[str, Outcome] = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        tempfile.TemporaryDirectory(prefix="atft-bench-") as folder,
        Progress(*columns, Elapsed(), console=console, transient=True) as progress,
    ):
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=PARTS[name].command)
            outcomes[name] = run_part(PARTS[name], Path(folder))
            progress.advance(task)
            _show(progress.console, outcomes[name])
    return outcomes


def _show(shown: Console, outcome: Outcome) -> None:
    shown.rule(f"{outcome.part.command}: {outcome.seconds:.0f} s", align="left")
    shown.print(outcome.output, markup=False)
    if outcome.error:
        shown.print(f"failed: {outcome.error}", style="red", markup=False)


if __name__ == "__main__":
    typer.run(main)
