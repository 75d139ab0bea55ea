"""`atft-hpo study`: study files, without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from atft_hpo.cli.common import StudyFile

if TYPE_CHECKING:
    from pydantic import BaseModel

app = typer.Typer(help="Study files.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def check(study: StudyFile) -> None:
    """Say what is wrong with a study file, or what it will do."""
    from atft_hpo.config.toml import load_config
    from atft_hpo.search.samplers import make_sampler
    from atft_hpo.search.space import baseline_gaps, check_space
    from atft_hpo.search.void_settings import void_settings

    config = load_config(study)
    check_space(config)
    make_sampler(config.search.sampler, config.search.space)
    epochs = sum(phase.epochs for _, phase in config.phases.in_order)
    typer.echo(
        f"{study}: study {config.study.name!r}, {config.budget.trials} trials of {epochs} epochs "
        f"in {len(config.phases.in_order)} phases, {len(config.search.space)} searched keys, "
        f"{config.search.sampler.kind} sampler, {config.search.pruner.kind} pruner"
    )
    for note in (*baseline_gaps(config), *void_settings(config)):
        typer.echo(f"note: {note}")


@app.command()
def schema(
    section: Annotated[
        str, typer.Argument(help="Only keys that begin with this, such as model.fan.")
    ] = "",
) -> None:
    """Print every key of a study file with its default and meaning."""
    from atft_hpo.config.schema import Config
    from atft_hpo.config.shell import shell_command
    from atft_hpo.errors import ConfigError

    lines = [line for key, line in _keys(Config, "") if key.startswith(section)]
    if not lines:
        every = shell_command("study", "schema")
        raise ConfigError(f"no key begins with {section!r}; {every} lists all")
    for line in lines:
        typer.echo(line)


def _keys(model: type[BaseModel], prefix: str) -> list[tuple[str, str]]:
    """Key and printed line of every value, sections in place."""
    from pydantic_core import PydanticUndefined

    from atft_hpo.config.toml import section_at

    found: list[tuple[str, str]] = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        section = section_at(tuple(key.split(".")))
        if section is not None:
            found += _keys(section, key + ".")
            continue
        default = "required" if field.default is PydanticUndefined else _plain(field.default)
        meaning = " ".join((field.description or "").split())
        found.append((key, f"{key} = {default}\n    {meaning}"))
    return found


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return "absent" if value is None else str(value)
