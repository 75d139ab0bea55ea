"""One agent's working session on this machine: its places, its launcher, its view."""

from rich.console import Console

from atft_hpo.config.settings import Settings
from atft_hpo.service.agent import Agent, Farewell
from atft_hpo.service.launchers import LocalLauncher
from atft_hpo.service.live import open_view
from atft_hpo.service.slots import Place, machine_cores, machine_gpus, plan_places
from atft_hpo.service.storage import Database
from atft_hpo.service.study import OpenStudy


def places_here(settings: Settings, study: OpenStudy, workers: int | None) -> tuple[Place, ...]:
    """Where trials of `study` run on this machine.

    Raises:
        ConfigError: see `slots.plan_places`.
    """
    threads = study.config.runtime.threads
    return plan_places(settings, threads, workers, machine_gpus(settings), machine_cores())


def work_on(
    database: Database,
    settings: Settings,
    study: OpenStudy,
    workers: int | None,
    console: Console,
) -> Farewell:
    """Be an agent of `study` until it is over, stopped, or this process is asked to stop."""
    places = places_here(settings, study, workers)
    kind = "GPU" if places[0].gpu else f"CPU, {places[0].threads} thread(s) each"
    console.print(
        f"{study.name}: {study.target_trials} trials in total, {len(places)} at a time here "
        f"({kind}); Ctrl-C stops cleanly",
        highlight=False,
    )
    launcher = LocalLauncher(database.url, settings)
    launcher.prepare(places[0])
    with open_view(database, study.name, console) as view:
        return Agent(database, study, launcher, places, view).run()
