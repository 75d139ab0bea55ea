"""Commands that take results out of a study: export, report, dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atft_hpo.cli.common import Study, open_storage, read_machine, study_name

if TYPE_CHECKING:
    from atft_hpo.search.records import StudyRecord, TrialRecord


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (export, report, dashboard):
        app.command()(command)


def export(
    study: Study,
    out: Annotated[Path, typer.Option("--out", help="TOML file to write.")],
    trial: Annotated[
        int | None, typer.Option(min=0, help="The trial's number [default: the best].")
    ] = None,
) -> None:
    """Write a trial's complete configuration.

    The `train` command reproduces the trial from it.
    """
    from atft_hpo.config.shell import shell_command
    from atft_hpo.service.studies.export_file import export_trial
    from atft_hpo.service.studies.load import load_study

    settings = read_machine()
    database = open_storage(settings)
    record = load_study(database, study_name(study), daily=False)
    chosen = _chosen(record, trial)
    export_trial(database.volume, record, chosen, out)
    typer.echo(f"{out}: trial {chosen.number} of {record.name}; to train it:")
    typer.echo(f"    {shell_command('train', str(out), device=settings.device)}")


def report(
    study: Study,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file [default: in the volume].")
    ] = None,
) -> None:
    """Write the study's report, one HTML file."""
    from atft_hpo.results.study_report.report import write_report
    from atft_hpo.service.studies.load import load_study

    database = open_storage(read_machine())
    record = load_study(database, study_name(study))
    typer.echo(str(write_report(record, out or database.volume.study(record.name).report)))


def dashboard(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to bind; it has no authentication.")
    ] = "127.0.0.1",
) -> None:
    """Serve optuna-dashboard on the same database."""
    from atft_hpo.service.display.dashboard import serve

    serve(open_storage(read_machine()), host, port, typer.echo)


def _chosen(record: StudyRecord, number: int | None) -> TrialRecord:
    from atft_hpo.errors import StudyError

    if number is None:
        best = record.best()
        if best is None:
            raise StudyError(f"study {record.name!r} has no COMPLETE trial yet; give --trial")
        return best
    for trial in record.trials:
        if trial.number == number:
            return trial
    raise StudyError(f"study {record.name!r} has no trial {number}; it has {len(record.trials)}")
