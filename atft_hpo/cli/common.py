"""What commands share: options, consoles, the database of this process."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from atft_hpo.config.schema import Config
    from atft_hpo.config.settings import Settings
    from atft_hpo.data.store.panel import Panel
    from atft_hpo.service.database.connection import Database

Study = Annotated[str, typer.Argument(metavar="STUDY", help="A study's name, or its TOML file.")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="A study file.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Table (file or directory); overrides data.path.")
]
Workers = Annotated[
    int | None,
    typer.Option(help="Trials at a time on this machine [default: as measured]."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or auto; overrides ATFT_HPO_DEVICE.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def console(stderr: bool = False) -> Console:
    """A console; wide where nobody's terminal sets the width."""
    from rich.console import Console

    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=140)


def read_machine(device: str | None = None) -> Settings:
    """Settings of the environment, with `device` in place of its own."""
    from atft_hpo.config.settings import read_settings

    settings = read_settings()
    if device is None:
        return settings
    checked = read_settings({"ATFT_HPO_DEVICE": device})
    return dataclasses.replace(settings, device=checked.device)


def open_storage(settings: Settings) -> Database:
    """The database of this machine's settings."""
    from atft_hpo.service.database.connection import open_database

    return open_database(settings)


def study_name(given: str) -> str:
    """The name in a study file, or the name itself."""
    if not given.endswith(".toml"):
        return given
    from atft_hpo.config.toml import load_config

    return load_config(Path(given)).study.name


def read_config(path: Path, data: Path | None, **values: Any) -> Config:
    """The configuration in `path` with `data` and further dotted keys in place.

    Raises:
        ConfigError: see `config.toml`; or `data` is given to a synthetic market.
    """
    from atft_hpo.config.toml import load_config, with_values
    from atft_hpo.errors import ConfigError

    config = load_config(path)
    given = {key: value for key, value in values.items() if value is not None}
    if data is not None:
        if config.data.source == "synthetic":
            raise ConfigError(
                f'--data {data}: {path} has data.source = "synthetic", which reads no file; use a '
                "study of real prices, such as studies/us_equities.toml"
            )
        given["data.path"] = str(data.expanduser().absolute())
    return with_values(config, given) if given else config


def build_panel(config: Config, settings: Settings, to: Console) -> Panel:
    """The panel of `config` in the volume, built with progress lines where it is not there yet."""
    from atft_hpo.data.prepare import prepare_panel

    return prepare_panel(config.data, settings.volume, lambda line: to.print(line, markup=False))
