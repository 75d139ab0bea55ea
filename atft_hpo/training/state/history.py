"""The epochs of a run as tables, and as plain content for a checkpoint.

    write_tables(paths, history)         # metrics.parquet, daily.parquet
    content = [to_content(report) for report in history]

metrics.parquet has one row per epoch: `step`, `phase`, …, every validation metric by its name,
every training fact as `train_<name>`. daily.parquet has one row per epoch and day of the validation
range.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch

from atft_hpo.evaluation.series import DailySeries
from atft_hpo.files import write_atomically
from atft_hpo.paths import RunPaths
from atft_hpo.training.phases.epoch_report import EpochReport

_DATES = ("dates", "realised")
_DAILY = ("ic", "rank_ic", "return_gross", "return_net", "turnover", "pure_rank_ic")
_PLAIN = (
    "phase", "phase_name", "epoch", "epochs_done", "epochs_total", "value", "smoothed",
    "seconds", "validation_seconds", "samples_per_second", "eta_seconds", "shared",
)  # fmt: skip


def write_tables(paths: RunPaths, history: Sequence[EpochReport]) -> None:
    """Write metrics.parquet and daily.parquet, whole or not at all.

    Raises:
        VolumeError: the volume is full or cannot be written.
    """
    rows = pl.DataFrame([_row(report) for report in history], infer_schema_length=None)
    days = pl.concat([_days(report) for report in history])
    for path, table in ((paths.metrics, rows), (paths.daily, days)):
        buffer = io.BytesIO()
        table.write_parquet(buffer)
        write_atomically(path, buffer.getbuffer())


def to_content(report: EpochReport) -> dict[str, Any]:
    """The report as tensors, numbers, strings, dictionaries and lists."""
    daily = {name: torch.from_numpy(getattr(report.daily, name).copy()) for name in _DAILY}
    for name in _DATES:
        daily[name] = torch.from_numpy(getattr(report.daily, name).astype(np.int64))
    plain = {name: getattr(report, name) for name in _PLAIN}
    return plain | {
        "metrics": dict(report.metrics),
        "train": dict(report.train),
        "modules": list(report.modules),
        "daily": daily,
    }


def from_content(content: dict[str, Any]) -> EpochReport:
    """What `to_content` was given."""
    daily = {name: content["daily"][name].numpy() for name in _DAILY}
    dates = {name: content["daily"][name].numpy().astype("datetime64[D]") for name in _DATES}
    return EpochReport(
        **{name: content[name] for name in _PLAIN},
        metrics=content["metrics"],
        train=content["train"],
        modules=tuple(content["modules"]),
        daily=DailySeries(**dates, **daily),
    )


def _row(report: EpochReport) -> dict[str, Any]:
    return {
        "step": report.step,
        **{name: getattr(report, name) for name in _PLAIN},
        "modules": ",".join(report.modules),
        **report.metrics,
        **{f"train_{name}": value for name, value in report.train.items()},
    }


def _days(report: EpochReport) -> pl.DataFrame:
    columns = {name: getattr(report.daily, name) for name in _DAILY}
    dates = {"date": report.daily.dates, "realised": report.daily.realised}
    return pl.DataFrame(dates | columns).with_columns(
        pl.lit(report.step, dtype=pl.Int64).alias("step")
    )
