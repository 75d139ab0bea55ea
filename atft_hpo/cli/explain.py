"""The command that shows what a checkpoint looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atft_hpo.cli.checkpoint_options import (
    AllowTest,
    Checkpoint,
    DaysOption,
    PanelOption,
    chosen_days,
    note_look,
    panel_of,
    torch_device,
)
from atft_hpo.cli.common import Data, Device, Json, console, read_machine


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(explain)


def explain(
    checkpoint: Checkpoint,
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory to write [default: in the volume].")
    ] = None,
    days: DaysOption = "validation",
    permute: Annotated[
        int,
        typer.Option(
            min=0,
            help="Shuffle so many features of largest weight, and each family, for net and trees; "
            "slow.",
        ),
    ] = 0,
    data: Data = None,
    panel: PanelOption = None,
    allow_test: AllowTest = False,
    device: Device = None,
    json: Json = False,
) -> None:
    """Show what a checkpoint looks at.

    Features, lags, neighbours, module strengths: tables here, and as PNG and Parquet files.
    """
    from json import dumps

    from atft_hpo.results.console import print_whole
    from atft_hpo.results.model_explanation.explain import explain as explain_checkpoint
    from atft_hpo.results.model_explanation.explain import write_explanation
    from atft_hpo.results.model_explanation.terminal import explanation_tables

    settings = read_machine(device)
    opened = panel_of(checkpoint, data, panel, settings)
    chosen = chosen_days(days)
    note_look(allow_test, checkpoint, opened, chosen, "explain", settings)
    found = explain_checkpoint(
        checkpoint, opened, chosen,
        shuffles=permute, allow_test=allow_test, device=torch_device(settings),
    )  # fmt: skip
    place = out or settings.volume.explanation(
        found.origin["study"], found.origin["checkpoint_sha256"]
    )
    files = write_explanation(found, place)
    if json:
        typer.echo(dumps(found.summary() | {"files": [str(file) for file in files]}, indent=2))
        return
    print_whole(console(), explanation_tables(found))
    typer.echo(str(files[0]))
