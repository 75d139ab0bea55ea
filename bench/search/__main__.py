"""What does the search itself cost per epoch of a trial, late in a long study?

    python -m bench.search                              # 2,000 finished trials of 42 epochs
    python -m bench.search --trials 200 --json FILE

In a database of its own (the embedded Postgres, a temporary directory) a study gets a past, written
in bulk, and Postgres time to tidy up. Then new trials pass through the service, one after another,
in this process: claimed, asked of TPE, started, every epoch recorded, reported to Optuna and judged
by the phase-aware pruner against its peers, concluded, told. Nothing is trained. Epochs are of the
size they have in a real study: 250 validation days, 120 metrics. Per trial-epoch the lines add up
to the total:

    claim … tell    what a trial costs once, over its epochs
    epochs          recorded, reported, judged, in the trial's process
    agent           a renewed lease and a look for new epochs, once an epoch (in a real study once
                    a second and five seconds, whatever an epoch takes)

Asked: at most 20 ms per trial-epoch.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from atft_hpo.config.settings import Settings
from atft_hpo.config.toml import load_config, with_values
from atft_hpo.paths import Volume
from atft_hpo.training.run.memory import keep_freed_memory
from bench.measuring.console import wide_console
from bench.measuring.processes import folder_for_a_server
from bench.search.cost import TARGET_MS, measured

STUDY = Path(__file__).parents[2] / "studies" / "jpx_full.toml"
console = wide_console()


def main(
    trials: Annotated[int, typer.Option(min=1, help="Finished trials at the start.")] = 2000,
    new: Annotated[int, typer.Option(min=1, help="Trials that are timed.")] = 3,
    study: Annotated[Path, typer.Option(help="Its space, phases and pruner.")] = STUDY,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
) -> None:
    """Time the service's part of a trial-epoch."""
    keep_freed_memory()  # as a trial's process does, whose part is most of it
    config = with_values(load_config(study), {"budget.trials": trials + new + 1})
    settings = Settings(None, Volume(folder_for_a_server("atft-search-")), "cpu")
    result = measured(config, settings, trials, new, console)
    console.print(table(result))
    total = result["milliseconds_per_trial_epoch"]
    reached = "reached" if total <= TARGET_MS else "missed"
    console.print(f"{total:.1f} ms per trial-epoch; asked: at most {TARGET_MS:.0f} ms: {reached}")
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def table(result: dict[str, Any]) -> Table:
    """Milliseconds by step."""
    found = Table("step", "ms per trial-epoch", box=None)
    for name, milliseconds in result["by_step"].items():
        found.add_row(name, f"{milliseconds:.2f}")
    return found


if __name__ == "__main__":
    typer.run(main)
