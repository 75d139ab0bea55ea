"""Commands around one model: train, predict, backtest, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atft_hpo.cli.common import Data, Device, Json, build_panel, console, read_config, read_machine

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from atft_hpo.config.schema import Config
    from atft_hpo.config.settings import Settings
    from atft_hpo.data.store.panel import Panel
    from atft_hpo.results.predictions import CheckpointForecast, Days

Checkpoint = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="best_main.pt, final.pt or swa_main.pt.")
]
DaysOption = Annotated[
    str, typer.Option(help="validation, test, or FROM:TO such as 2018-02-01:2018-06-30.")
]
AllowTest = Annotated[
    bool,
    typer.Option("--allow-test", help="Permit days of the test range, which is looked at once."),
]
PanelOption = Annotated[
    Path | None, typer.Option("--panel", help="Panel store [default: the configuration's own].")
]
INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (train, predict, backtest, evaluate):
        app.command()(command)


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="An exported or any configuration.")
    ],
    data: Data = None,
    name: Annotated[str | None, typer.Option(help="Name of the run [default: the file's].")] = None,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="Scale the phases to so many epochs in total.")
    ] = None,
    device: Device = None,
) -> None:
    """Train one configuration, without a study.

    Its files go to runs/<name>/ in the volume. The same command continues an interrupted run.
    """
    from atft_hpo.config.shell import shell_command
    from atft_hpo.results.console import say
    from atft_hpo.service.trial.single_run import prepare_run, train_once
    from atft_hpo.service.trial.training import TorchWork
    from atft_hpo.training.phases.epoch_report import Ending
    from atft_hpo.training.phases.phase_table import scaled_to

    settings, out = read_machine(device), console()
    chosen = read_config(config, data)
    chosen = scaled_to(chosen, max_epochs) if max_epochs else chosen
    run_name = name or config.stem
    single = prepare_run(run_name, chosen, settings.volume.run(run_name))
    if single.is_complete:
        say(out, f"run {run_name} is complete: {single.run.summary}; choose another --name")
        return
    panel = build_panel(chosen, settings, out)
    _compare_provenance(chosen, panel, out)
    result = train_once(single, panel, TorchWork(settings), lambda line: say(out, line))
    if result.ending is Ending.INTERRUPTED:
        out.print("interrupted; the same command continues")
        raise typer.Exit(INTERRUPTED)
    evaluate = shell_command("evaluate", str(single.run.best), device=settings.device)
    for line in (
        f"best        {chosen.objective.metric} {result.value:.4g}",
        f"checkpoint  {single.run.best}",
        f"summary     {single.run.summary}",
        "next:",
        f"    {evaluate}",
    ):
        say(out, line)


def predict(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    days: DaysOption = "validation",
    data: Data = None,
    panel: PanelOption = None,
    allow_test: AllowTest = False,
    device: Device = None,
) -> None:
    """Write a checkpoint's forecasts.

    One row per date and code, with scores and quantiles by horizon.
    """
    from atft_hpo.results.predictions import predict as write_predictions

    settings = read_machine(device)
    opened = panel_of(checkpoint, data, panel, settings)
    chosen = chosen_days(days)
    note_look(allow_test, checkpoint, "predict", settings)
    typer.echo(
        write_predictions(
            checkpoint, opened, chosen, out, allow_test=allow_test, device=torch_device(settings)
        )
    )


def backtest(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option("--out", help="Directory to write.")],
    days: DaysOption = "validation",
    data: Data = None,
    panel: PanelOption = None,
    allow_test: AllowTest = False,
    device: Device = None,
) -> None:
    """Evaluate a checkpoint and write a page about it.

    Metrics and daily series are written beside it.
    """
    from atft_hpo.results.backtest import backtest as write_backtest

    settings = read_machine(device)
    opened = panel_of(checkpoint, data, panel, settings)
    note_look(allow_test, checkpoint, "backtest", settings)
    done = write_backtest(
        checkpoint, opened, chosen_days(days), out,
        allow_test=allow_test, device=torch_device(settings),
    )  # fmt: skip
    _show_metrics(done.metrics, checkpoint, done.forecast, opened)
    typer.echo(f"\n{done.files.report}")


def evaluate(
    checkpoint: Checkpoint,
    days: DaysOption = "validation",
    data: Data = None,
    panel: PanelOption = None,
    allow_test: AllowTest = False,
    device: Device = None,
    json: Json = False,
) -> None:
    """Print a checkpoint's metrics.

    On the validation days they are those that training recorded.
    """
    from json import dumps

    from atft_hpo.results.predictions import forecast_checkpoint
    from atft_hpo.training.forecasting.forecast import evaluate_table

    settings = read_machine(device)
    opened = panel_of(checkpoint, data, panel, settings)
    note_look(allow_test, checkpoint, "evaluate", settings)
    forecast = forecast_checkpoint(
        checkpoint, opened, chosen_days(days), allow_test=allow_test, device=torch_device(settings)
    )
    metrics = evaluate_table(forecast.table, opened, forecast.days, forecast.config).metrics
    if json:
        finite = {key: value if value == value else None for key, value in metrics.items()}
        typer.echo(dumps(finite, indent=2))
    else:
        _show_metrics(metrics, checkpoint, forecast, opened)


def _config_of(checkpoint: Path) -> Config:
    from atft_hpo.config.toml import parse_config
    from atft_hpo.training.state.checkpoint import load_checkpoint

    return parse_config(str(load_checkpoint(checkpoint)["config"]), str(checkpoint))


def note_look(allowed: bool, checkpoint: Path, command: str, settings: Settings) -> None:
    """Record in the checkpoint's study that the test range is about to be read."""
    if not allowed:
        return
    from atft_hpo.cli.common import open_storage
    from atft_hpo.service.studies.holdout import note_test_read
    from atft_hpo.training.state.checkpoint import checkpoint_sha256

    config = _config_of(checkpoint)
    study = config.provenance.study if config.provenance else config.study.name
    sha256 = checkpoint_sha256(checkpoint)
    reads = note_test_read(open_storage(settings), study, command, sha256)
    told = f"recorded as look {reads}" if reads else "not recorded: not in this database"
    typer.echo(f"test range of study {study}: {told}", err=True)


def panel_of(checkpoint: Path, data: Path | None, panel: Path | None, settings: Settings) -> Panel:
    """The panel given, or the one that the checkpoint's configuration describes."""
    from atft_hpo.config.toml import with_values
    from atft_hpo.data.store.panel import Panel

    if panel is not None:
        return Panel.open(panel)
    config = _config_of(checkpoint)
    if data is not None:
        config = with_values(config, {"data.path": str(data.expanduser().absolute())})
    return build_panel(config, settings, console(stderr=True))


def chosen_days(text: str) -> Days:
    """Raises ConfigError for anything but validation, test or FROM:TO."""
    from datetime import date

    from atft_hpo.errors import ConfigError

    if text == "validation":
        return "validation"
    if text == "test":
        return "test"
    first, _, last = text.partition(":")
    try:
        return date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise ConfigError(
            f"--days {text}: expected validation, test, or FROM:TO such as 2018-02-01:2018-06-30"
        ) from error


def torch_device(settings: Settings) -> torch.device:
    """The device that the settings ask for."""
    from atft_hpo.service.trial.training import pick_device

    return pick_device(settings)


def _compare_provenance(config: Config, panel: Panel, out: Console) -> None:
    from atft_hpo.results.console import say

    origin = config.provenance
    if origin and origin.panel != panel.fingerprint:
        say(
            out,
            f"note: trial {origin.trial} of {origin.study} was trained on panel "
            f"{origin.panel[:12]}, this is {panel.fingerprint[:12]}; its metrics will not be "
            "reproduced exactly",
        )


def _show_metrics(
    metrics: dict[str, float], checkpoint: Path, forecast: CheckpointForecast, panel: Panel
) -> None:
    from atft_hpo.results.console import print_whole, say
    from atft_hpo.results.metrics_table import metrics_heading, metrics_legend, metrics_table

    out = console()
    for line in metrics_heading(checkpoint, forecast, panel):
        say(out, line)
    print_whole(out, metrics_table(metrics, forecast.config))
    for line in metrics_legend(forecast.config):
        say(out, line)
