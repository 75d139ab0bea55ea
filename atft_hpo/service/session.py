"""One agent's working session on this machine, from places to the closing words."""

from rich.console import Console
from rich.table import Table

from atft_hpo.config.settings import Settings
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord, TrialRecord
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
    with open_view(database, study.name, console) as view:
        return Agent(database, study, launcher, places, view).run()


def outcome_table(study: StudyRecord) -> Table:
    """Trials by outcome, with what to do about it."""
    table = Table("outcome", "trials", "meaning", box=None, title=f"Study {study.name}")
    for outcome in Outcome:
        count = sum(trial.outcome is outcome for trial in study.trials)
        if count:
            table.add_row(outcome.name, str(count), outcome.value)
    open_trials = sum(trial.outcome is None for trial in study.trials)
    if open_trials:
        table.add_row("unfinished", str(open_trials), "continued by the same command")
    done = sum(trial.outcome is not None for trial in study.trials)
    table.add_row("total", str(done), f"of {study.target_trials} asked for")
    return table


def best_lines(study: StudyRecord) -> list[str]:
    """The best trial: value, parameters, files."""
    best = study.best()
    if best is None:
        return ["no trial is COMPLETE yet"]
    metrics = _metrics_at_end(best)
    lines = [f"best trial {best.number}: {study.config.objective.metric} {best.value:.4g}{metrics}"]
    lines += [f"    {key} = {_plain(value)}" for key, value in best.params.items()]
    lines += [f"configuration  {best.directory}/config.toml"]
    if best.attempts:
        lines += [f"checkpoints    {best.directory}/attempt-{best.attempts[-1].attempt}/"]
    return lines


def next_commands(study: StudyRecord) -> list[str]:
    """The three commands to try next."""
    more = study.target_trials + 10
    if study.best() is None:
        return [
            f"atft-hpo status {study.name}",
            f"atft-hpo report {study.name}",
            f"atft-hpo resume {study.name}",
        ]
    return [
        f"atft-hpo export {study.name} --out best.toml",
        "atft-hpo train best.toml",
        f"atft-hpo resume {study.name} --trials {more}",
    ]


def _metrics_at_end(trial: TrialRecord) -> str:
    if not trial.epochs:
        return ""
    metrics = trial.epochs[-1].metrics
    named = {"IC": "ic", "RankIC": "rank_ic", "Sharpe": "sharpe"}
    words = [f"{label} {metrics[key]:+.3f}" for label, key in named.items() if key in metrics]
    return f" (last epoch: {', '.join(words)})" if words else ""


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
