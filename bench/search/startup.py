"""How long does a trial take from its agent's decision to its first finished training step?

    python -m bench.search.startup                  # the quickstart, 5 trials after a first
    python -m bench.search.startup --study studies/jpx_full.toml --days 2370 --stocks 200

An agent's steps, one trial after another, in a database of its own (the embedded Postgres, a
temporary directory): a slot is claimed, Optuna asked, the launcher starts a real trial process. It
is watched from outside (`startup_trial.py`) and ends with its first step. From `launcher.start`:

    fork        until the process runs; the first trial also waits for the server's imports
    assignment  it reads from the database what to do
    panel       it opens the panel store
    set-up      model, labels, graph (kept after the first), the health gate
    step        the first training step

A study without a panel of its own gets a random one, --days × --stocks with the features that are
built from prices. Asked: at most 3 s.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from atft_hpo.config.schema import Config
from atft_hpo.config.settings import Settings
from atft_hpo.config.toml import load_config, with_values
from atft_hpo.data.prepare import prepare_panel
from atft_hpo.data.sampling.splits import dated
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.panel_record import PanelRecord
from atft_hpo.paths import Volume
from atft_hpo.service.capacity.places import machine_cores
from atft_hpo.service.database.connection import Database, open_database
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.process.launchers import LocalLauncher, Place, TrialJob
from atft_hpo.service.queue.leases import Claim, LeaseTimes, claim, requeue
from atft_hpo.service.studies.study import OpenStudy, create_or_continue
from atft_hpo.service.trial.trial_process import PRELOAD
from bench.measuring.console import wide_console
from bench.measuring.processes import folder_for_a_server
from bench.panel.random_panel import write_panel
from bench.search import startup_trial

STUDY = Path(__file__).parents[2] / "studies" / "quickstart.toml"
TARGET_SECONDS = 3.0
STAGES = {
    "fork": "forked",
    "assignment": "assigned",
    "panel": "panel_opened",
    "set-up": "begun",
    "step": "first_step",
}
"""What each stage ends with, in order; the first begins with `launcher.start`."""
console = wide_console()


def main(
    trials: Annotated[int, typer.Option(min=1, help="Trials after the first.")] = 5,
    study: Annotated[Path, typer.Option(help="Its base configuration and panel.")] = STUDY,
    days: Annotated[int, typer.Option(help="Of a random panel.")] = 600,
    stocks: Annotated[int, typer.Option(help="Of a random panel; 0 = the study's own.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of a trial.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
) -> None:
    """Time the start of trials."""
    settings = Settings(None, Volume(folder_for_a_server("atft-startup-")), "cpu")
    config = with_values(load_config(study), {"budget.trials": trials + 1})
    panel = panel_of(config, settings.volume, days, stocks)
    first, *later = starts(config, settings, panel, Place(0, None, threads), trials + 1)
    totals = [sum(start.values()) for start in later]
    median, longest = statistics.median(totals), max(totals)
    console.print(table(first, later))
    reached = "reached" if longest <= TARGET_SECONDS else "missed"
    console.print(
        f"{median:.2f} s (median), {longest:.2f} s (longest of {trials}), the first "
        f"{sum(first.values()):.2f} s; asked: at most {TARGET_SECONDS:.0f} s: {reached}"
    )
    if json_file:
        result = {
            "study": config.study.name,
            "panel": [len(panel.dates), len(panel.manifest.codes), len(panel.feature_names)],
            "threads": threads,
            "cores": machine_cores(),
            "median_seconds": median,
            "longest_seconds": longest,
            "first": first,
            "later": later,
        }
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def panel_of(config: Config, volume: Volume, days: int, stocks: int) -> Panel:
    """The study's synthetic market, or a random panel."""
    if stocks:
        return write_panel(volume.panels / "random", days, stocks, config.data)
    return prepare_panel(config.data, volume)


def starts(
    config: Config, settings: Settings, panel: Panel, place: Place, count: int
) -> list[dict[str, float]]:
    """Seconds by stage of so many trials; the server is started with the first."""
    database = open_database(settings)
    study = create_or_continue(
        database, dated(config, panel), panel.root, panel.fingerprint, PanelRecord.of(panel)
    )
    launcher = LocalLauncher(database.url, settings, startup_trial.main, PRELOAD)
    asker = Asker(database, study)
    found = [started(database, study, asker, launcher, place) for _ in range(count)]
    database.close()
    return found


def started(
    database: Database, study: OpenStudy, asker: Asker, launcher: LocalLauncher, place: Place
) -> dict[str, float]:
    """Seconds by stage of one trial, which is put back afterwards."""
    found = claim(database, study.name, "bench:1:a", LeaseTimes(lease=600.0))
    assert isinstance(found, Claim), found
    number = asker.ask(found).number
    log = database.volume.study(study.name).trial(number).attempt(found.attempt).log
    before = time.monotonic()
    handle = launcher.start(TrialJob(found.lease, place, log))
    while handle.poll() is None:
        time.sleep(0.01)
    requeue(database, found.lease, "timed")
    return stages(before, log.read_text(encoding="utf-8"))


def stages(before: float, log: str) -> dict[str, float]:
    """Seconds by stage, from what the trial process printed last."""
    words = log.splitlines()[-1]
    assert words.startswith(startup_trial.MARKS), log
    marks: dict[str, float] = json.loads(words.removeprefix(startup_trial.MARKS))
    ends = [before, *(marks[mark] for mark in STAGES.values())]
    return {name: ends[i + 1] - ends[i] for i, name in enumerate(STAGES)}


def table(first: dict[str, float], later: list[dict[str, float]]) -> Table:
    """Seconds by stage: the first trial, and the median and longest of those after it."""
    found = Table("stage", "first", "median", "longest", box=None, title="seconds")
    for name in STAGES:
        column = [start[name] for start in later]
        cells: list[Any] = [first[name], statistics.median(column), max(column)]
        found.add_row(name, *(f"{seconds:.2f}" for seconds in cells))
    return found


if __name__ == "__main__":
    typer.run(main)
