"""What a checkpoint's forecasts would have earned: metrics, daily series, a page with the equity.

    result = backtest(Path("best_main.pt"), panel, "validation", Path("backtest"))
    result.metrics["sharpe"], result.files.report

The portfolio, its costs and all metrics are those of training (`evaluation.portfolio`,
`evaluation.metrics`), under the checkpoint's own configuration. Days on which the checkpoint was
trained are allowed and named as such: results there say nothing about skill. It models no market
impact, borrow fees or lot sizes.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.splits import shared_days
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import DataError
from atft_hpo.evaluation.metrics import Evaluation
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.files import write_atomically
from atft_hpo.results.predictions import CheckpointForecast, Days, forecast_checkpoint
from atft_hpo.results.study_report import daily_figures
from atft_hpo.results.study_report.page import Stat, joined, stats, table, tag, write_page
from atft_hpo.results.wording import number, percent, plural
from atft_hpo.training.forecasting.forecast import evaluate_table
from atft_hpo.training.state.checkpoint import checkpoint_sha256


@dataclass(frozen=True)
class BacktestFiles:
    """Names in a backtest's directory."""

    root: Path

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.json"

    @property
    def daily(self) -> Path:
        return self.root / "daily.parquet"

    @property
    def report(self) -> Path:
        return self.root / "report.html"


@dataclass(frozen=True)
class Backtest:
    """A finished backtest."""

    forecast: CheckpointForecast
    metrics: dict[str, float]
    """By the names of `evaluation.metrics`."""
    daily: DailySeries
    """Of the objective's horizon."""
    files: BacktestFiles


def backtest(
    checkpoint: Path,
    panel: Panel,
    days: Days,
    out: Path,
    *,
    allow_test: bool = False,
    device: torch.device | None = None,
) -> Backtest:
    """Evaluate the checkpoint on `days` and write metrics, daily series and a page into `out`.

    Raises:
        CheckpointError: the checkpoint is absent, altered, or of other features than the panel.
        ConfigError: the panel has no such days, or they reach into the test range unallowed.
        DataError: the panel's targets have other horizons or another delay than the checkpoint's.
        VolumeError: `out` cannot be written.
    """
    forecast = forecast_checkpoint(checkpoint, panel, days, allow_test=allow_test, device=device)
    same_targets(forecast.config, panel)
    evaluation = evaluate_table(forecast.table, panel, forecast.days, forecast.config)
    files = BacktestFiles(out)
    _write_numbers(files, evaluation)
    _write_report(files, evaluation, forecast, panel, checkpoint)
    return Backtest(forecast, evaluation.metrics, evaluation.daily, files)


def same_targets(config: Config, panel: Panel) -> None:
    """Raises DataError: the panel's horizons or delay are not those of the configuration."""
    ours = (list(config.data.horizons_days), config.data.delay_days)
    theirs = (list(panel.manifest.horizons_days), panel.manifest.delay_days)
    if ours != theirs:
        raise DataError(
            f"the panel's targets have horizons {theirs[0]} and delay {theirs[1]}, the checkpoint "
            f"was trained for {ours[0]} and {ours[1]}; build the panel with its data configuration"
        )


def _write_numbers(files: BacktestFiles, evaluation: Evaluation) -> None:
    metrics = json.dumps(evaluation.metrics, indent=2, sort_keys=True)
    write_atomically(files.metrics, metrics.encode())
    buffer = io.BytesIO()
    pl.DataFrame(vars(evaluation.daily)).rename({"dates": "date"}).write_parquet(buffer)
    write_atomically(files.daily, buffer.getbuffer())


def _write_report(
    files: BacktestFiles,
    evaluation: Evaluation,
    forecast: CheckpointForecast,
    panel: Panel,
    checkpoint: Path,
) -> None:
    days, config, found = forecast.days, forecast.config, evaluation.metrics.get
    first, last = panel.dates[days.start], panel.dates[days[-1]]
    who = "The book"
    where = joined(("Checkpoint ", tag("code", str(checkpoint)), ", SHA-256 ",
                    tag("code", checkpoint_sha256(checkpoint)[:16]), "."))  # fmt: skip
    write_page(
        files.report,
        f"Backtest {first} to {last}",
        [
            tag("p", f"Backtest of {config.study.name}", class_="eyebrow"),
            tag("h1", f"{first} to {last}"),
            tag("p", _range_note(forecast), class_="lead"),
            tag("p", where),
            stats(
                [
                    Stat("Sharpe, net", number(found("sharpe"), 2), "annual, after cost"),
                    Stat("Sharpe, gross", number(found("sharpe_gross"), 2), "annual, before cost"),
                    Stat(
                        "RankIC", number(found("rank_ic")), f"t = {number(found('rank_ic_t'), 2)}"
                    ),
                    Stat(
                        "Pure RankIC",
                        number(found("pure_rank_ic")),
                        f"t = {number(found('pure_rank_ic_t'), 2)}, without sectors and styles",
                    ),
                    Stat(
                        "Return, net", percent(found("return_annual")), "a year, gross exposure 1"
                    ),
                    Stat("Turnover", number(found("turnover"), 2), "Σ|Δw| per day"),
                ]
            ),
            daily_figures.equity(evaluation.daily, who),
            daily_figures.drawdown(evaluation.daily, who),
            daily_figures.daily_ic(evaluation.daily, who),
            tag("h2", "All metrics"),
            table(
                [("metric", "t"), ("value", "n")],
                [(name, f"{value:.5g}") for name, value in sorted(evaluation.metrics.items())],
            ),
        ],
    )


def _range_note(forecast: CheckpointForecast) -> str:
    """Which part of the split the days belong to, as a sentence."""
    days, split = forecast.days, forecast.split
    text = plural(len(days), "trading day")
    if trained := shared_days(days, split.train):
        part = "" if trained == len(days) else "part of "
        return f"{text}, {part}which the checkpoint was trained on: no evidence of skill."
    if shared_days(days, split.test):
        return f"{text} that reach into the test range. Look once."
    if live := shared_days(days, split.live):
        part = "" if live == len(days) else f"{live} of them "
        ends = forecast.dates.test_last
        return f"{text}, {part}live: after {ends}, the last day of the data of the study."
    return f"{text} outside the training and test ranges; the search chose by the validation range."
