"""Prediction: the forecasts of validation, as rows; the test range only when allowed."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import SplitDates
from atft_hpo.errors import CheckpointError, ConfigError, VolumeError
from atft_hpo.results.predictions import (
    Days,
    day_range,
    forecast_checkpoint,
    predict,
    quantile_name,
    reads_test,
)
from atft_hpo.training.state.checkpoint import checkpoint_sha256, load_checkpoint, save_checkpoint

DAY_ONE = date(2020, 1, 1)
DATES = SplitDates(
    train_first=DAY_ONE,
    train_last=DAY_ONE + timedelta(89),
    validation_first=DAY_ONE + timedelta(100),
    validation_last=DAY_ONE + timedelta(129),
    test_first=DAY_ONE + timedelta(140),
    test_last=DAY_ONE + timedelta(159),
    purge_days=6,
    embargo_days=4,
)


def test_rows_are_the_forecasts_of_live_stocks(trained: Any, tmp_path: Path) -> None:
    out = predict(trained.paths.best, trained.panel, "validation", tmp_path / "f.parquet")
    table = pl.read_parquet(out)
    forecast = forecast_checkpoint(trained.paths.best, trained.panel, "validation")
    days = forecast.days
    assert len(table) == int(trained.panel.alive[days.start : days.stop].sum())
    assert table.select("date", "code").is_unique().all()
    assert table["date"].is_sorted()
    assert table.columns[:3] == ["date", "code", "score_1d"]
    assert table["date"].dtype == pl.Date
    row = table.row(5, named=True)
    d = list(trained.panel.dates).index(np.datetime64(row["date"])) - days.start
    n = trained.panel.manifest.codes.index(row["code"])
    assert row["score_5d"] == forecast.table.score_DNQ[d, n, 1]
    assert row["q97_5_1d"] == forecast.table.quantiles_DNQP[d, n, 0, 2]
    assert (table["q02_5_1d"] < table["q97_5_1d"]).all()


def test_the_file_says_where_it_comes_from(trained: Any, tmp_path: Path) -> None:
    out = predict(trained.paths.final, trained.panel, "validation", tmp_path / "f.parquet")
    metadata = pl.read_parquet_metadata(out)
    assert metadata["checkpoint_sha256"] == checkpoint_sha256(trained.paths.final)
    assert metadata["panel"] == trained.panel.fingerprint


def test_part_of_a_range_gives_nearly_the_same_forecasts(trained: Any) -> None:
    whole = forecast_checkpoint(trained.paths.best, trained.panel, "validation")
    first = trained.panel.dates[whole.days.start + 5].astype(object)
    last = trained.panel.dates[whole.days[-1]].astype(object)
    part = forecast_checkpoint(trained.paths.best, trained.panel, (first, last))
    assert part.days == whole.days[5:]
    np.testing.assert_allclose(part.table.score_DNQ, whole.table.score_DNQ[5:], atol=0.05)


def test_the_test_range_needs_permission(trained: Any, tmp_path: Path) -> None:
    out = tmp_path / "f.parquet"
    with pytest.raises(ConfigError, match=r"test range, which begins on 2020-05-"):
        predict(trained.paths.best, trained.panel, "test", out)
    assert not out.exists()
    predict(trained.paths.best, trained.panel, "test", out, allow_test=True)
    assert pl.read_parquet(out)["date"].max() == trained.panel.dates[-1].astype(object)


def test_dates_are_inclusive_and_bounded_by_the_test_range(trained: Any) -> None:
    panel, first = trained.panel, trained.panel.dates[0].astype(object)

    def day(index: int) -> date:
        return panel.dates[index].astype(object)  # type: ignore[no-any-return]

    assert day_range(panel, DATES, (day(3), day(7))) == range(3, 8)
    assert day_range(panel, DATES, (date(1999, 1, 1), day(7))) == range(0, 8)
    assert day_range(panel, DATES, (first, day(139))) == range(0, 140), "the gap may be read"
    with pytest.raises(ConfigError, match="test range"):
        day_range(panel, DATES, (first, day(140)))
    assert day_range(panel, DATES, (first, day(140)), allow_test=True) == range(0, 141)
    assert day_range(panel, DATES, "validation") == range(100, 130)
    assert day_range(panel, DATES, "live") == range(160, 170)
    assert day_range(panel, DATES, (day(160), day(169))) == range(160, 170), "no test day"
    with pytest.raises(ConfigError, match=r"begins on 2020-05-20 and ends on 2020-06-08"):
        day_range(panel, DATES, (day(159), day(169)))


@pytest.mark.parametrize(
    ("days", "reads"),
    [
        ("validation", False),
        ("test", True),
        ("live", False),
        ((DAY_ONE + timedelta(159), DAY_ONE + timedelta(169)), True),
        ((DAY_ONE + timedelta(160), DAY_ONE + timedelta(169)), False),
    ],
)
def test_only_days_of_the_test_range_are_a_look(trained: Any, days: Days, reads: bool) -> None:
    assert reads_test(trained.panel, DATES, days) is reads


def test_days_the_panel_does_not_have(trained: Any) -> None:
    with pytest.raises(ConfigError, match="the panel has days from 2020-01-01 to 2020-06-18"):
        day_range(trained.panel, DATES, (date(1999, 1, 1), date(1999, 2, 1)))
    with pytest.raises(ConfigError, match="no trading day"):
        day_range(trained.panel, DATES, (date(2020, 3, 1), date(2020, 2, 1)))


def test_a_checkpoint_of_other_features_is_refused(trained: Any, tmp_path: Path) -> None:
    content = load_checkpoint(trained.paths.best)
    content["panel_record"]["features"][0]["name"] = "signal__z"
    save_checkpoint(tmp_path / "other.pt", content)
    words = "list; the panel's is without signal__z; with signal__a; build"
    with pytest.raises(CheckpointError, match=words):
        predict(tmp_path / "other.pt", trained.panel, "validation", tmp_path / "f.parquet")


def test_an_unwritable_place(trained: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VolumeError):
        predict(trained.paths.best, trained.panel, "validation", tmp_path / "file" / "f.parquet")


@pytest.mark.parametrize(
    ("level", "name"),
    [(0.05, "q05"), (0.5, "q50"), (0.025, "q02_5"), (0.975, "q97_5"), (0.99, "q99")],
)
def test_quantile_names(level: float, name: str) -> None:
    assert quantile_name(level) == name
