"""`atft-hpo panel`: features, synthetic markets, panel stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atft_hpo.cli.common import Data, Json, build_panel, console, read_config, read_machine

app = typer.Typer(
    help="Build and look at panels of stocks.", no_args_is_help=True, rich_markup_mode=None
)
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file with a [data] section [default: none].")
]
Out = Annotated[Path, typer.Option("--out", help="Parquet file to write.")]


@app.command()
def build(
    config: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="Its [data] says what.")],
    data: Data = None,
) -> None:
    """Pack the panel of a study into the volume; a study does so by itself when it starts."""
    from atft_hpo.results.console import say

    out = console()
    opened = build_panel(read_config(config, data), read_machine(), out)
    say(out, str(opened.root))


@app.command()
def features(
    prices: Annotated[
        Path, typer.Argument(metavar="PRICES", help="Daily OHLCV: a file or a directory.")
    ],
    out: Annotated[Path, typer.Option(help="Directory of Arrow files to write.")],
    config: ConfigFile = None,
) -> None:
    """Build feature columns from daily prices (docs/features.md lists them)."""
    from atft_hpo.config.schema import Config
    from atft_hpo.data.features.build import build_features

    chosen = read_config(config, None) if config else Config()
    typer.echo(build_features(prices, out, chosen.data, typer.echo))


@app.command()
def synth(out: Out, config: ConfigFile = None) -> None:
    """Write a seeded synthetic market with known truth as a Parquet table."""
    from atft_hpo.config.schema import Config
    from atft_hpo.data.synthetic.market import synthetic_table

    chosen = read_config(config, None) if config else Config()
    typer.echo(synthetic_table(chosen.data.synthetic, chosen.data, out))


@app.command()
def describe(
    panel: Annotated[
        Path, typer.Argument(metavar="PANEL", help="A panel store, or a STUDY.toml that has one.")
    ],
    data: Data = None,
    json: Json = False,
) -> None:
    """Show what a panel holds, and warn of features that know the future (exit code 3)."""
    from atft_hpo.config.schema import Config
    from atft_hpo.data.store.panel import Panel
    from atft_hpo.results.panel_description.describe import describe as describe_panel

    if panel.suffix == ".toml":
        config = read_config(panel, data)
        opened = build_panel(config, read_machine(), console(stderr=True))
    else:
        config, opened = Config(), Panel.open(panel)
    description = describe_panel(opened, config.split)
    if json:
        typer.echo(description.model_dump_json(indent=2))
    else:
        from atft_hpo.results.console import print_whole
        from atft_hpo.results.panel_description.terminal import description_tables

        print_whole(console(), description_tables(description))
    if description.leaks:
        raise typer.Exit(3)
