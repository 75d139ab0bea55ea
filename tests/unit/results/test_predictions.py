"""Prediction: the forecasts of validation, as rows; the test range only when allowed."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from atft_hpo.data.sampling.splits import Split
from atft_hpo.errors import CheckpointError, ConfigError, VolumeError
from atft_hpo.results.predictions import day_range, forecast_checkpoint, predict, quantile_name
from atft_hpo.training.state.checkpoint import checkpoint_sha256, load_checkpoint, save_checkpoint

SPLIT = Split(range(0, 90), range(100, 130), range(140, 170))


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

    assert day_range(panel, SPLIT, (day(3), day(7))) == range(3, 8)
    assert day_range(panel, SPLIT, (date(1999, 1, 1), day(7))) == range(0, 8)
    assert day_range(panel, SPLIT, (first, day(139))) == range(0, 140), "the gap may be read"
    with pytest.raises(ConfigError, match="test range"):
        day_range(panel, SPLIT, (first, day(140)))
    assert day_range(panel, SPLIT, (first, day(140)), allow_test=True) == range(0, 141)
    assert day_range(panel, SPLIT, "validation") == SPLIT.validation


def test_days_the_panel_does_not_have(trained: Any) -> None:
    with pytest.raises(ConfigError, match="the panel has days from 2020-01-01 to 2020-06-18"):
        day_range(trained.panel, SPLIT, (date(1999, 1, 1), date(1999, 2, 1)))
    with pytest.raises(ConfigError, match="no trading day"):
        day_range(trained.panel, SPLIT, (date(2020, 3, 1), date(2020, 2, 1)))


def test_a_checkpoint_of_other_features_is_refused(trained: Any, tmp_path: Path) -> None:
    content = load_checkpoint(trained.paths.best) | {"features_sha256": "0" * 64}
    save_checkpoint(tmp_path / "other.pt", content)
    with pytest.raises(CheckpointError, match="feature list 000000000000"):
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
