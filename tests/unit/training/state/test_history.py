"""Reports as tables and as checkpoint content."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atft_hpo.evaluation.series import DailySeries
from atft_hpo.paths import RunPaths
from atft_hpo.training.phases.epoch_report import EpochReport
from atft_hpo.training.state.checkpoint import load_checkpoint, save_checkpoint
from atft_hpo.training.state.history import from_content, to_content, write_tables


def report_of(epoch: int, **metrics: float) -> EpochReport:
    """A report of phase 2 with three days, one of them skipped."""
    days = np.datetime64("2021-01-01", "D") + np.arange(3)
    series = np.array([0.1, np.nan, 0.3], dtype=np.float32) + epoch
    return EpochReport(
        phase=2, phase_name="gat", epoch=epoch, epochs_done=epoch + 1, epochs_total=9,
        metrics={"ic": 0.5, **metrics}, value=0.5, smoothed=0.4, train={"loss": 1.5, "lr": 1e-3},
        modules=("fan", "graph"), seconds=2.0, validation_seconds=0.5, samples_per_second=1e4,
        eta_seconds=12.0, daily=DailySeries(days, *[series] * 6, days),
    )  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """A run's files."""
    return RunPaths(tmp_path)


def test_one_row_per_epoch_with_flat_columns(paths: RunPaths) -> None:
    write_tables(paths, [report_of(0), report_of(1, icir=2.0)])
    table = pl.read_parquet(paths.metrics)
    assert table["step"].to_list() == [2000, 2001]
    assert table["train_loss"].to_list() == [1.5, 1.5]
    assert table["icir"].to_list() == [None, 2.0]
    assert table["modules"].to_list() == ["fan,graph"] * 2
    assert table["phase_name"].to_list() == ["gat"] * 2


def test_one_row_per_epoch_and_day(paths: RunPaths) -> None:
    write_tables(paths, [report_of(0), report_of(1)])
    table = pl.read_parquet(paths.daily)
    series = ["ic", "rank_ic", "return_gross", "return_net", "turnover", "pure_rank_ic"]
    assert table.columns == ["date", "realised", *series, "step"]
    assert table["step"].to_list() == [2000] * 3 + [2001] * 3
    assert table["date"].dtype == pl.Date
    assert np.isnan(table["ic"].to_list()[1])


def test_content_survives_a_checkpoint(tmp_path: Path) -> None:
    report = report_of(3, sharpe=1.25)
    save_checkpoint(tmp_path / "x.pt", {"history": [to_content(report)]})
    found = from_content(load_checkpoint(tmp_path / "x.pt")["history"][0])
    for field in dataclasses.fields(DailySeries):
        before, after = getattr(report.daily, field.name), getattr(found.daily, field.name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert dataclasses.replace(found, daily=report.daily) == report
