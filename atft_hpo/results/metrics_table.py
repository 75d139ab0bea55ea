"""A checkpoint's metrics as a screen for a person: one row per metric, one column per horizon.

    heading = metrics_heading(checkpoint, forecast, panel)
    print_whole(console, metrics_table(metrics, forecast.config))

It shows what a reader asks first. `evaluate --json` has every metric; those left out here are
named in JSON_ONLY, and counts that warn (ALARMS) appear where they are not zero.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.table import Column, Table

from atft_hpo.config.schema import Config
from atft_hpo.data.neutralization.styles import STYLES
from atft_hpo.data.sampling.splits import shared_days
from atft_hpo.data.store.panel import Panel
from atft_hpo.paths import AttemptOrigin, run_name
from atft_hpo.results.console import number_columns
from atft_hpo.results.predictions import CheckpointForecast
from atft_hpo.results.status_lines import signed
from atft_hpo.results.wording import METRIC_LABELS, number, percent

Format = Callable[[float | None], str]


def _correlation(value: float | None) -> str:
    return signed(value, 4)


def _exposure(value: float | None) -> str:
    return signed(value, 3)


def _t(value: float | None) -> str:
    return signed(value, 1)


def _two_digits(value: float | None) -> str:
    return number(value, 2)


def _count(value: float | None) -> str:
    return number(value, 0)


@dataclass(frozen=True)
class Row:
    """One metric in the table."""

    group: str
    label: str
    metric: str
    """Its name in `evaluation.metrics`, without a horizon."""
    text: Format


BEFORE_STYLES = (
    Row("IC", "RankIC", "rank_ic", _correlation),
    Row("IC", "  t", "rank_ic_t", _t),
    Row("IC", "IC", "ic", _correlation),
    Row("IC", "  t", "ic_t", _t),
    Row("pure", "RankIC", "pure_rank_ic", _correlation),
    Row("pure", "  t", "pure_rank_ic_t", _t),
    Row("styles", "R², with sectors", "style_r2", percent),
)
AFTER_STYLES = (
    Row("portfolio", "Sharpe, net", "sharpe", _two_digits),
    Row("portfolio", "Sharpe, gross", "sharpe_gross", _two_digits),
    Row("portfolio", "return a year, net", "return_annual", percent),
    Row("portfolio", "max. drawdown, net", "max_drawdown", percent),
    Row("portfolio", "days won, net", "hit_rate", percent),
    Row("portfolio", "turnover a day", "turnover", _two_digits),
    Row("portfolio", "  not tradable", "turnover_blocked", percent),
    Row("score", "autocorrelation", "score_autocorrelation", _two_digits),
    Row("score", "variance", "score_variance", _two_digits),
    Row("days", "scored", "days", _count),
    Row("days", "scored, pure", "pure_days", _count),
)
ALARMS = (
    Row("days", "left out", "days_skipped", _count),
    Row("days", "of these constant", "days_constant", _count),
    Row("days", "nothing but styles", "pure_days_constant", _count),
    Row("days", "IC exactly 0", "ic_zero_share", percent),
)
"""Rows where one of the horizons has more than 0."""
JSON_ONLY = (
    "ic_std", "icir", "rank_ic_std", "rank_icir", "pure_rank_ic_std", "pure_rank_icir",
    "sharpe_t", "sharpe_daily", "hit_rate_gross", "max_drawdown_gross",
)  # fmt: skip
STYLE = "style_exposure_"


def metrics_heading(checkpoint: Path, forecast: CheckpointForecast, panel: Panel) -> list[str]:
    """Lines: which checkpoint, of what, on which days."""
    first, last = panel.dates[forecast.days.start], panel.dates[forecast.days[-1]]
    return [
        f"checkpoint  {checkpoint}",
        f"from        {_origin(checkpoint, forecast.config)}",
        f"days        {len(forecast.days):,} from {first} to {last}: {_place(forecast, panel)}",
        "",
    ]


def metrics_table(metrics: Mapping[str, float], config: Config) -> Table:
    """The table: groups and metrics down, horizons across, an en dash for what is undefined."""
    horizons, objective = config.data.horizons_days, config.objective.horizon_days
    suffixes = ["" if days == objective else f"_{days}d" for days in horizons]
    heads = [f"{days} d{'*' if days == objective else ''}" for days in horizons]
    numbers = number_columns(*heads)
    names = [Column("", no_wrap=True), Column("", no_wrap=True)]
    table = Table(*names, *numbers, box=None, padding=(0, 2), collapse_padding=True, pad_edge=False)
    before = ""
    for row in _rows(metrics, suffixes):
        cells = [row.text(metrics.get(row.metric + suffix)) for suffix in suffixes]
        table.add_row("" if row.group == before else row.group, row.label, *cells)
        before = row.group
    return table


def metrics_legend(config: Config) -> list[str]:
    """What the words mean, in lines of at most 80 characters."""
    metric = config.objective.metric
    return [
        "",
        f"* horizon of the objective, {METRIC_LABELS.get(metric, metric)}; t: of the mean",
        "pure: without sectors and styles; styles: the score's rank correlation with each",
        f"net of {config.portfolio.cost_bps:g} bps of turnover Σ|Δw|; score variance: 1 is "
        "the label's",
        "every metric, also those not shown: evaluate --json",
    ]


def _rows(metrics: Mapping[str, float], suffixes: list[str]) -> Iterator[Row]:
    yield from BEFORE_STYLES
    for style in STYLES:
        if any(STYLE + style + suffix in metrics for suffix in suffixes):
            yield Row("styles", _style_label(style), STYLE + style, _exposure)
    yield from AFTER_STYLES
    for row in ALARMS:
        if any(metrics.get(row.metric + suffix, 0.0) > 0.0 for suffix in suffixes):
            yield row


def _style_label(style: str) -> str:
    """`volatility_60d` as `volatility 60 d`."""
    return re.sub(r"(\d)d\b", r"\1 d", style.replace("_", " "))


def _origin(checkpoint: Path, config: Config) -> str:
    if found := AttemptOrigin.of(checkpoint.absolute()):
        return f"trial {found.trial} of study {found.study}, attempt {found.attempt}"
    name, origin = run_name(checkpoint.absolute()), config.provenance
    run = f"run {name}" if name else "a run"
    if origin:
        return f"{run} of the configuration of trial {origin.trial} of study {origin.study}"
    return run if name else f"a run or trial of study {config.study.name}"


def _place(forecast: CheckpointForecast, panel: Panel) -> str:
    """Which part of the split the days are."""
    days, split, dates = forecast.days, forecast.split, forecast.dates
    if trained := shared_days(days, split.train):
        return f"{'' if trained == len(days) else 'partly '}trained on, no evidence"
    if days == split.validation:
        return _whole("validation", panel, dates.validation_first, dates.validation_last)
    if days == split.test:
        return _whole("test", panel, dates.test_first, dates.test_last)
    if shared_days(days, split.test):
        return "reaching into the test range"
    if live := shared_days(days, split.live):
        return f"{'' if live == len(days) else 'partly '}live, after its study's data"
    return "neither trained on nor test"


def _whole(name: str, panel: Panel, first: date, last: date) -> str:
    """The name of a range, or that the panel has only a part of it."""
    whole = panel.dates[0].item() <= first and panel.dates[-1].item() >= last
    return name if whole else f"a part of {name}, from {first} to {last}"
