"""Forecasts of a trained checkpoint as a table: one row per date and live stock.

    predict(Path("best_main.pt"), Panel.open(store), "validation", Path("forecasts.parquet"))
    predict(checkpoint, panel, (date(2020, 1, 2), date(2020, 3, 31)), out, allow_test=True)

Columns: date, code, then per horizon `score_1d` (the point forecast that portfolios rank) and one
column per quantile level, `q05_1d`. Forecasts are in units of the ranked label, not returns. The
code path is the one that validation used. Which days are which is said by the checkpoint's dates,
however long the panel is. The test range is read only when that is said; who allows it records it.
Days after it are live: nothing was chosen by them, so they need no permission.
"""

import io
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch

from atft_hpo.config.data_schema import SplitDates
from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.sampling.splits import Split, dated_split, shared_days
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import ConfigError
from atft_hpo.files import write_atomically
from atft_hpo.training.forecasting.forecast import ForecastTable, forecast_panel
from atft_hpo.training.state.checkpoint import checkpoint_sha256
from atft_hpo.training.state.open_model import load_model, split_dates

NamedDays = Literal["validation", "test", "live"]
"""A range of the checkpoint's own split, or what comes after the data it was made with."""
Days = NamedDays | tuple[date, date]
"""One of these, or first and last date, both included."""


@dataclass(frozen=True)
class CheckpointForecast:
    """A checkpoint's forecasts for a range of days."""

    config: Config
    """The checkpoint's."""
    days: range
    """Day indices of the panel."""
    dates: SplitDates
    """The checkpoint's split."""
    split: Split
    """Where it lies in the panel."""
    table: ForecastTable


def predict(
    checkpoint: Path,
    panel: Panel,
    days: Days,
    out: Path,
    *,
    allow_test: bool = False,
    device: torch.device | None = None,
) -> Path:
    """Write the checkpoint's forecasts for `days` to `out` (Parquet) and return `out`.

    The file's metadata hold the SHA-256 of the checkpoint and the panel's fingerprint.

    Raises:
        CheckpointError: the checkpoint is absent, altered, or of other features than the panel.
        ConfigError: the panel has no such days, or they reach into the test range unallowed.
        VolumeError: `out` cannot be written.
    """
    forecast = forecast_checkpoint(checkpoint, panel, days, allow_test=allow_test, device=device)
    origin = {"checkpoint_sha256": checkpoint_sha256(checkpoint), "panel": panel.fingerprint}
    buffer = io.BytesIO()
    forecast_frame(forecast, panel).write_parquet(buffer, metadata=origin)
    write_atomically(out, buffer.getbuffer())
    return out


def forecast_checkpoint(
    checkpoint: Path,
    panel: Panel,
    days: Days,
    *,
    allow_test: bool = False,
    device: torch.device | None = None,
) -> CheckpointForecast:
    """The checkpoint's forecasts for `days`; raises as `predict`."""
    device = device or torch.device("cpu")
    model, config = load_model(checkpoint, panel)
    dates = split_dates(config)
    chosen = day_range(panel, dates, days, allow_test=allow_test)
    source = SliceSource(panel, config, device)
    table = forecast_panel(model.to(device), source, chosen, config)
    return CheckpointForecast(config, chosen, dates, source.split, table)


def reads_test(panel: Panel, dates: SplitDates, days: Days) -> bool:
    """Whether any of `days` in the panel is in the test range; raises as `day_range`."""
    chosen = day_range(panel, dates, days, allow_test=True)
    return shared_days(chosen, dated_split(panel.dates, dates).test) > 0


def day_range(panel: Panel, dates: SplitDates, days: Days, *, allow_test: bool = False) -> range:
    """Indices of `days` in the panel, under a checkpoint's split.

    Raises:
        ConfigError: no trading day lies there, or a day is in the test range unallowed.
    """
    split = dated_split(panel.dates, dates)
    if isinstance(days, str):
        chosen: range = getattr(split, days)
        if not chosen:
            raise ConfigError(_none_of(days, panel, dates, split))
    else:
        first, last = (np.datetime64(d, "D") for d in days)
        begin = int(np.searchsorted(panel.dates, first, side="left"))
        chosen = range(begin, int(np.searchsorted(panel.dates, last, side="right")))
        if not chosen:
            raise ConfigError(
                f"no trading day from {first} to {last}; the panel has days from "
                f"{panel.dates[0]} to {panel.dates[-1]}"
            )
    if not allow_test and shared_days(chosen, split.test):
        raise ConfigError(
            f"days from {panel.dates[chosen[0]]} to {panel.dates[chosen[-1]]} reach into the test "
            f"range, which begins on {dates.test_first} and ends on {dates.test_last}; choose "
            "other days, or give --allow-test"
        )
    return chosen


def _none_of(days: str, panel: Panel, dates: SplitDates, split: Split) -> str:
    """Why there are no such days, and which there are."""
    has = f"the panel has days from {panel.dates[0]} to {panel.dates[-1]}"
    if days == "live":
        return (
            f"no live day: the data of the checkpoint's study end on {dates.test_last}, {has}; "
            "give data that have grown (--data, --panel), or other --days"
        )
    first, last = getattr(dates, f"{days}_first"), getattr(dates, f"{days}_last")
    live = f"; {len(split.live)} of them are live: --days live" if split.live else ""
    return (
        f"no {days} day: the checkpoint's {days} range is {first} to {last}, {has}{live}; give "
        "data with that range (--data, --panel), or other --days"
    )


def forecast_frame(forecast: CheckpointForecast, panel: Panel) -> pl.DataFrame:
    """Forecasts as rows, ordered by date and code; only cells that have one."""
    table = forecast.table
    day_R, stock_R = np.nonzero(np.isfinite(table.score_DNQ[..., 0]))
    codes = np.array(panel.manifest.codes)
    columns = {"date": panel.dates[forecast.days.start + day_R], "code": codes[stock_R]}
    for q, horizon in enumerate(forecast.config.data.horizons_days):
        columns[f"score_{horizon}d"] = table.score_DNQ[day_R, stock_R, q]
        for p, level in enumerate(forecast.config.model.quantiles):
            name = f"{quantile_name(level)}_{horizon}d"
            columns[name] = table.quantiles_DNQP[day_R, stock_R, q, p]
    return pl.DataFrame(columns)


def quantile_name(level: float) -> str:
    """`q05` for 0.05, `q50` for 0.5, `q02_5` for 0.025."""
    whole, _, rest = f"{100 * level:.6g}".partition(".")
    return f"q{whole:0>2}{'_' + rest if rest else ''}"
