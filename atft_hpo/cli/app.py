"""The `atft-hpo` command and its boundary: which errors are one line, which exit code they have."""

import errno
import io
import sys
from typing import Annotated

import typer

from atft_hpo import __version__
from atft_hpo.cli import explain, model, panel, results, storage, studies, study_file
from atft_hpo.config.shell import program
from atft_hpo.errors import AtftHpoError, VolumeError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

app = typer.Typer(
    name="atft-hpo",
    help="Search hyperparameters of ATFT-GAT-FAN on a daily panel of stocks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (studies, results, model, explain):
    module.register(app)
app.add_typer(study_file.app, name="study")
app.add_typer(panel.app, name="panel")
app.add_typer(storage.app, name="storage")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"atft-hpo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Search hyperparameters of ATFT-GAT-FAN on a daily panel of stocks.

    The environment says where: ATFT_HPO_VOLUME (default ./volume), ATFT_HPO_STORAGE (a Postgres
    URL; an embedded Postgres in the volume when absent), ATFT_HPO_DEVICE (cpu, cuda or auto).
    """
    _debug.append(debug)


_debug: list[bool] = []


def main() -> None:
    """Run the command of this process's arguments and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without some sign shows another
            stream.reconfigure(errors="replace")
    try:
        app(prog_name=program())
    except AtftHpoError as error:
        _fail(error)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _fail(VolumeError(f"{place}{error.strerror}; free space or set ATFT_HPO_VOLUME"), error)


def _fail(error: AtftHpoError, cause: BaseException | None = None) -> None:
    if any(_debug):
        raise error from cause or error.__cause__
    typer.echo("error: " + " ".join(str(error).split()), err=True)
    sys.exit(error.exit_code)
