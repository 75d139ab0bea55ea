"""One agent's working session on this machine: its places and its launcher."""

from contextlib import AbstractContextManager

from atft_hpo.config.settings import Settings
from atft_hpo.progress import Progress
from atft_hpo.service.agent.agent import Agent, Farewell, View
from atft_hpo.service.capacity.density import Chosen, ProbeFailedError
from atft_hpo.service.capacity.places import machine_cores, machine_gpus, plan_places
from atft_hpo.service.capacity.probe_processes import ProbeProcesses
from atft_hpo.service.capacity.remembered import kept_layout, measurement
from atft_hpo.service.database.connection import Database
from atft_hpo.service.process.launchers import LocalLauncher, Place
from atft_hpo.service.studies.status import read_status
from atft_hpo.service.studies.study import OpenStudy
from atft_hpo.service.trial import trial_process


def work_on(
    database: Database,
    settings: Settings,
    study: OpenStudy,
    workers: int | None,
    say: Progress,
    view: AbstractContextManager[View],
) -> Farewell:
    """Be an agent of `study` until it is over, stopped, or this process is asked to stop.

    `say` hears what there is to say before trials run, `view` shows them.
    """
    launcher = LocalLauncher(database.url, settings, trial_process.main, trial_process.PRELOAD)
    launcher.prepare()
    places = places_here(database, settings, study, workers, say)
    kind = "GPU" if places[0].gpu else f"CPU, {places[0].threads} thread(s) each"
    say(
        f"{study.name}: {study.target_trials} trials in total, {len(places)} at a time here "
        f"({kind}); Ctrl-C stops cleanly"
    )
    with view as shown:
        return Agent(database, study, launcher, places, shown).run()


def places_here(
    database: Database, settings: Settings, study: OpenStudy, workers: int | None, say: Progress
) -> tuple[Place, ...]:
    """Where trials of `study` run on this machine; measured where nobody says how many.

    Raises:
        ConfigError: see `places.plan_places`.
    """
    gpus, cores = machine_gpus(settings), machine_cores()
    threads = study.config.runtime.threads
    planned = plan_places(settings, threads, workers, gpus, cores)
    is_said = workers is not None or (not gpus and threads is not None)
    if is_said or (not gpus and cores == 1) or _is_over(database, study):
        return planned
    try:
        chosen = _chosen(database, settings, study, gpus, cores, say)
    except ProbeFailedError as error:
        say(f"how many trials this machine carries could not be measured: {error}")
        return planned
    say(chosen.line())
    layout = chosen.layout
    count = layout.trials * max(1, len(gpus))
    return plan_places(settings, layout.threads, count, gpus, cores)


def _chosen(
    database: Database,
    settings: Settings,
    study: OpenStudy,
    gpus: tuple[str, ...],
    cores: int,
    say: Progress,
) -> Chosen:
    probe = ProbeProcesses(study.config, study.panel, settings, gpus[0] if gpus else None)
    measure = measurement(study, gpus, cores, probe)

    def aloud() -> Chosen:
        say("measuring how many trials this machine carries (once)")
        return measure()

    return kept_layout(database.volume, study, gpus, cores, aloud)


def _is_over(database: Database, study: OpenStudy) -> bool:
    """Whether nothing will run: all trials have ended, or a person has stopped the study."""
    status = read_status(database, study.name)
    return bool(study.stop_mode) or status.finished >= status.target_trials
