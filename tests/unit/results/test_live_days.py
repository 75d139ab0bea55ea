"""A checkpoint on data that are not those of its training: longer, shorter, later, renamed."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from atft_hpo.config.toml import dump_config, parse_config
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import ConfigError
from atft_hpo.results.backtest import backtest
from atft_hpo.results.metrics_table import metrics_heading
from atft_hpo.results.predictions import forecast_checkpoint, predict
from atft_hpo.training.state.run_state import RunState

CPU = torch.device("cpu")
STUDY_DAYS, GROWN_DAYS = 170, 420
DAY_ONE = date(2020, 1, 1)


def table_of(trained: Any, more: int) -> pl.DataFrame:
    """The market of `trained` with `more` days after it, of another signal."""
    before = pl.read_parquet(trained.panel.root.parent / "market.parquet")
    if not more:
        return before
    codes = before["code"].unique().sort()
    rng = np.random.default_rng(1)
    close = before.group_by("code").agg(pl.col("close").sort_by("date").last())
    rows = pl.DataFrame(
        {
            "date": np.repeat(
                np.datetime64(DAY_ONE) + np.arange(STUDY_DAYS, STUDY_DAYS + more), len(codes)
            ),
            "code": np.tile(codes.to_numpy(), more),
            "sector": np.tile([f"sector {n % 3}" for n in range(len(codes))], more),
            "signal__a": rng.standard_normal(more * len(codes)),
            "returns__1d": 0.01 * rng.standard_normal(more * len(codes)),
        }
    )
    growth = (1 + pl.col("returns__1d")).cum_prod().over("code", order_by="date")
    rows = rows.join(close, on="code").with_columns(close=pl.col("close") * growth)
    return pl.concat([before, rows.select(before.columns)])


def pack(table: pl.DataFrame, folder: Path, trained: Any) -> Panel:
    table.write_parquet(folder / "table.parquet")
    return pack_table(folder / "table.parquet", folder / "panel", trained.config.data)


@pytest.fixture(scope="module")
def grown(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """250 days more."""
    more = GROWN_DAYS - STUDY_DAYS
    return pack(table_of(trained, more), tmp_path_factory.mktemp("grown"), trained)


def days(first: int, last: int) -> tuple[date, date]:
    return DAY_ONE + timedelta(first), DAY_ONE + timedelta(last)


def test_a_panel_that_has_grown_keeps_the_old_ranges(trained: Any, grown: Panel) -> None:
    own = forecast_checkpoint(trained.paths.best, trained.panel, "validation")
    found = forecast_checkpoint(trained.paths.best, grown, "validation")
    assert found.days == own.days
    np.testing.assert_allclose(found.table.score_DNQ, own.table.score_DNQ, atol=1e-5)
    assert metrics_heading(trained.paths.best, found, grown)[2].endswith(": validation")


def test_the_old_test_range_stays_guarded_and_no_other_day_is(
    trained: Any, grown: Panel, tmp_path: Path
) -> None:
    test = trained.config.split.dates
    first = (test.test_first - DAY_ONE).days
    for refused in ("test", days(first, first), days(STUDY_DAYS - 1, GROWN_DAYS)):
        with pytest.raises(ConfigError, match=f"begins on {test.test_first} and ends on 2020-06-"):
            predict(trained.paths.best, grown, refused, tmp_path / "f.parquet")
    for allowed in ("live", days(STUDY_DAYS, GROWN_DAYS), days(first - 1, first - 1)):
        predict(trained.paths.best, grown, allowed, tmp_path / "f.parquet")


def test_days_after_the_studys_data_are_live(trained: Any, grown: Panel, tmp_path: Path) -> None:
    found = backtest(trained.paths.best, grown, "live", tmp_path)
    assert found.forecast.days == range(STUDY_DAYS, GROWN_DAYS)
    page = found.files.report.read_text(encoding="utf-8")
    assert "250 trading days, live: after 2020-06-18, the last day of the data" in page
    line = metrics_heading(trained.paths.best, found.forecast, grown)[2]
    assert line == "days        250 from 2020-06-19 to 2021-02-23: live, after its study's data"


def test_on_fewer_days_what_was_trained_on_is_said_to_be(trained: Any, tmp_path: Path) -> None:
    """By shares of 120 days, the last 24 of these 60 would have been validation and test."""
    table = table_of(trained, 0).filter(pl.col("date") < DAY_ONE + timedelta(120))
    short = pack(table, tmp_path, trained)
    found = backtest(trained.paths.best, short, days(40, 99), tmp_path / "bt")
    page = found.files.report.read_text(encoding="utf-8")
    assert "60 trading days, which the checkpoint was trained on: no evidence of skill" in page
    part = forecast_checkpoint(trained.paths.best, short, "validation")
    line = metrics_heading(trained.paths.best, part, short)[2]
    assert ": a part of validation, from 2020-04-" in line
    for lacking in ("test", "live"):
        with pytest.raises(ConfigError, match=rf"no {lacking} day.*2020-01-01 to 2020-04-29"):
            forecast_checkpoint(trained.paths.best, short, lacking, allow_test=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [170, 8])
def test_a_panel_of_live_days_only(trained: Any, grown: Panel, tmp_path: Path, length: int) -> None:
    first = STUDY_DAYS + 30
    table = table_of(trained, GROWN_DAYS - STUDY_DAYS)
    day = pl.col("date")
    last = DAY_ONE + timedelta(first + length - 1)
    table = table.filter((day >= DAY_ONE + timedelta(first)) & (day <= last))
    later = pack(table, tmp_path, trained)
    found = forecast_checkpoint(trained.paths.best, later, "live")
    assert found.days == range(length)
    assert np.isfinite(found.table.score_DNQ[-1]).any()
    with pytest.raises(ConfigError, match=rf"{length} of them are live: --days live"):
        forecast_checkpoint(trained.paths.best, later, "validation")
    backtest(trained.paths.best, later, "live", tmp_path / "bt")
    if length > 100:  # beyond the context, and the graph's trailing returns, it is the same
        whole = forecast_checkpoint(trained.paths.best, grown, days(first, first + length - 1))
        np.testing.assert_allclose(
            found.table.score_DNQ[60:], whole.table.score_DNQ[60:], atol=0.05
        )


def test_an_exported_configuration_trains_on_the_same_days(trained: Any, grown: Panel) -> None:
    config = parse_config(dump_config(trained.config))
    old = RunState.begin(config, trained.panel, CPU).source
    new = RunState.begin(config, grown, CPU).source
    assert (new.split.train, new.split.validation) == (old.split.train, old.split.validation)
    assert (new.split.test, new.split.live) == (old.split.test, range(STUDY_DAYS, GROWN_DAYS))
    part = slice(new.split.train.start, new.split.train.stop)
    np.testing.assert_array_equal(new.labels[part], old.labels[part])


def test_a_new_stock_is_forecast_and_said_to_be_new(
    trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = table_of(trained, 40)
    ipo = table.filter((pl.col("code") == "S03") & (pl.col("date") > DAY_ONE + timedelta(150)))
    ipo = ipo.with_columns(code=pl.lit("NEW"), sector=pl.lit("space"))
    opened = pack(pl.concat([table, ipo]), tmp_path, trained)
    found = forecast_checkpoint(trained.paths.best, opened, "live")
    column = opened.manifest.codes.index("NEW")
    assert np.isfinite(found.table.score_DNQ[:, column]).all()
    unknown, new = capsys.readouterr().err.splitlines()
    assert unknown.endswith("with their number of stocks: 'space' (1)")
    assert new.endswith("1 of the panel's 31 stocks are new to it")


def test_sources_of_a_dated_split_refuse_no_panel(trained: Any, tmp_path: Path) -> None:
    table = table_of(trained, 0).filter(pl.col("date") < DAY_ONE + timedelta(8))
    short = pack(table, tmp_path, trained)
    assert SliceSource(short, trained.config, CPU).split.train == range(8)
