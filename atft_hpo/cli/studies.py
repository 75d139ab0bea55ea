"""Commands that run and steer studies: run, worker, resume, status, stop, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from atft_hpo.cli.common import (
    Data,
    Device,
    Json,
    Study,
    StudyFile,
    Workers,
    build_panel,
    console,
    open_storage,
    read_config,
    read_machine,
    study_name,
)

if TYPE_CHECKING:
    from rich.console import Console

    from atft_hpo.config.settings import Settings
    from atft_hpo.service.database.connection import Database
    from atft_hpo.service.studies.study import OpenStudy

Trials = Annotated[
    int | None,
    typer.Option(min=1, help="Trials in total, over all agents and restarts; never lowered."),
]
INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (run, worker, resume, status, stop, cancel):
        app.command()(command)


def run(
    study: StudyFile,
    trials: Trials = None,
    data: Data = None,
    workers: Workers = None,
    device: Device = None,
) -> None:
    """Run the trials of a study file.

    Creates the study, or continues it. The same command continues after Ctrl-C, and a larger
    --trials adds trials.
    """
    from atft_hpo.data.sampling.splits import dated
    from atft_hpo.data.store.panel_record import PanelRecord
    from atft_hpo.search.samplers import make_sampler
    from atft_hpo.search.space import check_space
    from atft_hpo.service.studies.study import create_or_continue

    settings, out = read_machine(device), console()
    config = read_config(study, data, **{"budget.trials": trials})
    check_space(config)
    make_sampler(config.search.sampler, config.search.space)
    database = open_storage(settings)
    panel = build_panel(config, settings, out)
    opened = create_or_continue(
        database, dated(config, panel), panel.root, panel.fingerprint, PanelRecord.of(panel)
    )
    if trials is not None and trials < opened.target_trials:
        out.print(
            f"{opened.target_trials} trials were asked for before; a total is only ever raised"
        )
    _work(database, settings, opened, workers, out)


def worker(study: Study, workers: Workers = None, device: Device = None) -> None:
    """Add this machine to a study that exists."""
    from atft_hpo.service.studies.study import open_study

    settings = read_machine(device)
    database = open_storage(settings)
    _work(database, settings, open_study(database, study_name(study)), workers, console())


def resume(
    study: Study, trials: Trials = None, workers: Workers = None, device: Device = None
) -> None:
    """Continue a study, also a stopped one.

    Runs to the total last asked for, or to --trials.
    """
    from atft_hpo.service.studies.study import resume_study

    settings = read_machine(device)
    database = open_storage(settings)
    opened = resume_study(database, study_name(study), trials)
    _work(database, settings, opened, workers, console())


def status(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="Name or TOML file; all when absent.")
    ] = None,
    json: Json = False,
) -> None:
    """Show how studies stand.

    Trials by outcome, what runs, the best value.
    """
    from json import dumps

    from atft_hpo.config.shell import shell_command, withheld
    from atft_hpo.results.console import print_whole, say
    from atft_hpo.service.display.live import counts_line, running_table
    from atft_hpo.service.queue.operator import STOPPED
    from atft_hpo.service.studies.status import as_json, read_all, read_status

    database = open_storage(read_machine())
    found = [read_status(database, study_name(study))] if study else read_all(database)
    if json:
        content = [as_json(one) for one in found]
        typer.echo(dumps(content[0] if study else content, indent=2))
        return
    out = console()
    if not found:
        say(out, "no study yet; to start one:")
        say(out, f"    {shell_command('run', 'STUDY.toml')}")
    for one in found:
        if one.running:
            print_whole(out, running_table(one))
        say(out, counts_line(one))
        if one.stop_reason.startswith(STOPPED):
            say(out, f"{STOPPED}; to continue{withheld()}:")
            say(out, f"    {shell_command('resume', one.name)}")
        elif one.stop_reason:
            say(out, one.stop_reason)


def stop(
    study: Study,
    drain: Annotated[
        bool, typer.Option("--drain", help="Let running trials finish instead.")
    ] = False,
) -> None:
    """Stop a study on all machines.

    Running trials save their state, and `resume` continues them.
    """
    from atft_hpo.config.shell import shell_command, withheld
    from atft_hpo.service.queue.operator import request_stop

    name = study_name(study)
    request_stop(open_storage(read_machine()), name, "drain" if drain else "now")
    what = "running trials finish" if drain else "running trials save their state"
    typer.echo(f"{name}: no new trial starts, {what}; to continue{withheld()}:")
    typer.echo(f"    {shell_command('resume', name)}")


def cancel(
    study: Study,
    trial: Annotated[int, typer.Argument(min=0, help="The trial's number.")],
) -> None:
    """End one trial for good; it counts as failed."""
    from atft_hpo.service.optuna_bridge.tell import tell_finished
    from atft_hpo.service.queue.operator import request_cancel

    name = study_name(study)
    database = open_storage(read_machine())
    state = request_cancel(database, name, trial)
    tell_finished(database, name)
    when = "is cancelled" if state == "waiting" else "is told to stop"
    typer.echo(f"trial {trial} of {name} {when}")


def _work(
    database: Database, settings: Settings, study: OpenStudy, workers: int | None, out: Console
) -> None:
    """Be an agent, then say how the study stands."""
    from functools import partial

    from atft_hpo.errors import StudyError
    from atft_hpo.results.console import say
    from atft_hpo.service.agent.session import work_on
    from atft_hpo.service.display.live import open_view
    from atft_hpo.service.display.session_summary import close_session

    view = open_view(database, study.name, out)
    farewell = work_on(database, settings, study, workers, partial(say, out), view)
    close_session(database, study.name, farewell, out, settings.device, workers)
    if farewell.interrupted:
        raise typer.Exit(INTERRUPTED)
    if farewell.stop and farewell.stop.is_error:
        raise StudyError(farewell.stop.reason)
