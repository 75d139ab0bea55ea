"""What does the search itself cost per epoch of a trial, late in a long study?

    python bench/search.py                              # 2,000 finished trials of 42 epochs
    python bench/search.py --trials 200 --json FILE

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

import io
import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, text

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import Choices, Domain, FloatRange
from atft_hpo.config.settings import Settings
from atft_hpo.config.toml import load_config, with_values
from atft_hpo.paths import Volume
from atft_hpo.service.database.connection import open_database
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.output.live import PlainView
from atft_hpo.service.studies.study import OpenStudy, create_or_continue
from atft_hpo.training.run.memory import keep_freed_memory
from processes import folder_for_a_server
from search_overhead.history import steps_of, write_history
from search_overhead.trials import run_trial

STUDY = Path(__file__).parents[1] / "studies" / "jpx_full.toml"
TARGET_MS = 20.0
console = Console(highlight=False)
if not console.is_terminal:
    console.width = 120  # in a file no column need be broken


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
    result = measured(config, settings, trials, new)
    console.print(table(result))
    total = result["milliseconds_per_trial_epoch"]
    reached = "reached" if total <= TARGET_MS else "missed"
    console.print(f"{total:.1f} ms per trial-epoch; asked: at most {TARGET_MS:.0f} ms: {reached}")
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measured(config: Config, settings: Settings, trials: int, new: int) -> dict[str, Any]:
    """Milliseconds per trial-epoch by step; the first new trial warms caches and is left out."""
    rng = np.random.default_rng(0)
    database = open_database(settings)
    study = create_or_continue(database, config, settings.volume.root / "panel", "0" * 64)
    asker = Asker(database, study)
    started = time.monotonic()
    database.run(lambda connection: write_history(connection, study, space(study), trials, rng))
    database.run_single(_settle)
    console.print(f"{trials:,} trials written in {time.monotonic() - started:.0f} s")
    view = PlainView(database, study.name, Console(file=io.StringIO()), period_seconds=0.0)
    runs = [run_trial(database, study, asker, view, rng) for _ in range(new + 1)][1:]
    database.close()
    epochs = len(steps_of(config))
    by_step = {
        name: 1000 * float(np.mean([run[name] for run in runs])) / epochs for name in runs[0]
    }
    return {
        "trials": trials,
        "epochs": epochs,
        "parameters": len(config.search.space),
        "milliseconds_per_trial_epoch": sum(by_step.values()),
        "by_step": by_step,
    }


def _settle(connection: Connection) -> None:
    """A history that was written at once leaves the server work that one written in days does not:
    statistics to gather, pages to write. It is done before the clock runs."""
    connection.execute(text("VACUUM ANALYZE"))
    connection.execute(text("CHECKPOINT"))


def space(study: OpenStudy) -> dict[str, Any]:
    """The search space as Optuna's distributions."""
    return {key: _distribution(domain) for key, domain in study.config.search.space.items()}


def _distribution(domain: Domain) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(domain, Choices):
        return CategoricalDistribution(
            [json.dumps(list(c)) if isinstance(c, tuple) else c for c in domain.choices]
        )
    kind = FloatDistribution if isinstance(domain, FloatRange) else IntDistribution
    step = {} if domain.step is None else {"step": domain.step}
    return kind(domain.low, domain.high, log=domain.log, **step)


def table(result: dict[str, Any]) -> Table:
    """Milliseconds by step."""
    found = Table("step", "ms per trial-epoch", box=None)
    for name, milliseconds in result["by_step"].items():
        found.add_row(name, f"{milliseconds:.2f}")
    return found


if __name__ == "__main__":
    typer.run(main)
