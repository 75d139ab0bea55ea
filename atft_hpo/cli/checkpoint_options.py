"""What commands about a checkpoint share: its panel, its days, its looks at the test range."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atft_hpo.cli.common import build_panel, console

if TYPE_CHECKING:
    import torch

    from atft_hpo.config.settings import Settings
    from atft_hpo.data.store.panel import Panel
    from atft_hpo.results.predictions import Days

Checkpoint = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="best_main.pt, final.pt or swa_main.pt.")
]
DaysOption = Annotated[
    str,
    typer.Option(
        help="validation, test, live (after the study's data), or FROM:TO such as "
        "2018-02-01:2018-06-30."
    ),
]
AllowTest = Annotated[
    bool,
    typer.Option("--allow-test", help="Permit days of the test range, which is looked at once."),
]
PanelOption = Annotated[
    Path | None, typer.Option("--panel", help="Panel store [default: the configuration's own].")
]


def note_look(
    allowed: bool, checkpoint: Path, panel: Panel, days: Days, command: str, settings: Settings
) -> None:
    """Record in the checkpoint's study that `days` of the test range are about to be read."""
    if not allowed:
        return
    from atft_hpo.cli.common import open_storage
    from atft_hpo.results.predictions import reads_test
    from atft_hpo.service.studies.holdout_looks import note_test_read
    from atft_hpo.training.state.checkpoint import checkpoint_sha256
    from atft_hpo.training.state.open_model import checkpoint_config, split_dates

    config = checkpoint_config(checkpoint)
    if not reads_test(panel, split_dates(config), days):
        return
    study = config.provenance.study if config.provenance else config.study.name
    sha256 = checkpoint_sha256(checkpoint)
    reads = note_test_read(open_storage(settings), study, command, sha256)
    told = f"recorded as look {reads}" if reads else "not recorded: not in this database"
    typer.echo(f"test range of study {study}: {told}", err=True)


def panel_of(checkpoint: Path, data: Path | None, panel: Path | None, settings: Settings) -> Panel:
    """The panel given, or the one that the checkpoint's configuration describes."""
    from atft_hpo.config.toml import with_values
    from atft_hpo.data.store.panel import Panel
    from atft_hpo.training.state.open_model import checkpoint_config

    if panel is not None:
        return Panel.open(panel)
    config = checkpoint_config(checkpoint)
    if data is not None:
        config = with_values(config, {"data.path": str(data.expanduser().absolute())})
    return build_panel(config, settings, console(stderr=True))


def chosen_days(text: str) -> Days:
    """Raises ConfigError for anything but validation, test, live or FROM:TO."""
    from datetime import date
    from typing import get_args

    from atft_hpo.errors import ConfigError
    from atft_hpo.results.predictions import NamedDays

    named: dict[str, Days] = {name: name for name in get_args(NamedDays)}
    if text in named:
        return named[text]
    first, _, last = text.partition(":")
    try:
        return date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise ConfigError(
            f"--days {text}: expected validation, test, live, or FROM:TO such as "
            "2018-02-01:2018-06-30"
        ) from error


def torch_device(settings: Settings) -> torch.device:
    """The device that the settings ask for."""
    from atft_hpo.service.trial.training import pick_device

    return pick_device(settings)
