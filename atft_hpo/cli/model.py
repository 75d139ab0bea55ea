"""Commands around one model: train, predict, backtest, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from atft_hpo.cli.common import Data, Device, Json, build_panel, console, read_config, read_machine

if TYPE_CHECKING:
    from rich.console import Console

    from atft_hpo.config.schema import Config
    from atft_hpo.data.store.panel import Panel
    from atft_hpo.results.predictions import CheckpointForecast

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
    from atft_hpo.data.sampling.splits import dated
    from atft_hpo.results.console import say
    from atft_hpo.service.trial.single_run import prepare_run, train_once
    from atft_hpo.service.trial.training import TorchWork
    from atft_hpo.training.phases.epoch_report import Ending
    from atft_hpo.training.phases.phase_table import scaled_to

    settings, out = read_machine(device), console()
    chosen = read_config(config, data)
    chosen = scaled_to(chosen, max_epochs) if max_epochs else chosen
    run_name = name or config.stem
    panel = build_panel(chosen, settings, out)
    chosen = dated(chosen, panel)
    single = prepare_run(run_name, chosen, settings.volume.run(run_name))
    if single.is_complete:
        say(out, f"run {run_name} is complete: {single.run.summary}; choose another --name")
        return
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
    note_look(allow_test, checkpoint, opened, chosen, "predict", settings)
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
    chosen = chosen_days(days)
    note_look(allow_test, checkpoint, opened, chosen, "backtest", settings)
    done = write_backtest(
        checkpoint, opened, chosen, out,
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
    chosen = chosen_days(days)
    note_look(allow_test, checkpoint, opened, chosen, "evaluate", settings)
    forecast = forecast_checkpoint(
        checkpoint, opened, chosen, allow_test=allow_test, device=torch_device(settings)
    )
    metrics = evaluate_table(forecast.table, opened, forecast.days, forecast.config).metrics
    if json:
        finite = {key: value if value == value else None for key, value in metrics.items()}
        typer.echo(dumps(finite, indent=2))
    else:
        _show_metrics(metrics, checkpoint, forecast, opened)


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
