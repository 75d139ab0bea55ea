"""`atft-hpo storage`: the database."""

import typer

from atft_hpo.cli.common import open_storage, read_machine

app = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _storage() -> None:
    """The database."""


@app.command()
def init() -> None:
    """Make the tables where they are missing, and print the URL (its password masked)."""
    from atft_hpo.service.database.urls import mask_url

    typer.echo(f"initialised: {mask_url(open_storage(read_machine()).url)}")
