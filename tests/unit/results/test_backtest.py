"""Backtest: the numbers of validation again, from the checkpoint alone."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.toml import dump_config, with_values
from atft_hpo.errors import ConfigError, DataError
from atft_hpo.results.backtest import backtest
from atft_hpo.training.state.checkpoint import load_checkpoint, save_checkpoint


def test_validation_is_reproduced(trained: Any, tmp_path: Path) -> None:
    found = backtest(trained.paths.best, trained.panel, "validation", tmp_path / "bt")
    assert found.metrics.keys() == trained.result.metrics.keys()
    for name, value in trained.result.metrics.items():
        assert found.metrics[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name
    kept = next(r for r in trained.result.history if r.step == trained.result.best_step)
    np.testing.assert_allclose(found.daily.return_net, kept.daily.return_net, rtol=1e-4, atol=1e-7)


def test_files_hold_the_same_numbers(trained: Any, tmp_path: Path) -> None:
    found = backtest(trained.paths.best, trained.panel, "validation", tmp_path / "bt")
    assert json.loads(found.files.metrics.read_text()) == found.metrics
    daily = pl.read_parquet(found.files.daily)
    series = ["ic", "rank_ic", "return_gross", "return_net", "turnover", "pure_rank_ic"]
    assert daily.columns == ["date", *series, "realised"]
    np.testing.assert_array_equal(daily["return_net"].to_numpy(), found.daily.return_net)
    page = found.files.report.read_text(encoding="utf-8")
    assert f"{found.metrics['sharpe']:.2f}" in page
    assert "outside the training and test ranges" in page
    assert "The book returned" in page


def test_the_page_names_training_and_test_days(trained: Any, tmp_path: Path) -> None:
    dates = trained.panel.dates
    early = (dates[20].astype(object), dates[60].astype(object))
    page = backtest(trained.paths.best, trained.panel, early, tmp_path / "a").files.report
    assert "trained on: no evidence of skill" in page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="test range"):
        backtest(trained.paths.best, trained.panel, "test", tmp_path / "b")
    late = backtest(trained.paths.best, trained.panel, "test", tmp_path / "c", allow_test=True)
    assert "reach into the test range" in late.files.report.read_text(encoding="utf-8")


def test_other_targets_are_refused(trained: Any, tmp_path: Path) -> None:
    config = with_values(trained.config, {"data.delay_days": 0})
    content = load_checkpoint(trained.paths.best) | {"config": dump_config(config)}
    save_checkpoint(tmp_path / "other.pt", content)
    with pytest.raises(DataError, match=r"delay 1, the checkpoint was trained for \[1, 5\] and 0"):
        backtest(tmp_path / "other.pt", trained.panel, "validation", tmp_path / "bt")


def test_other_sizings_are_those_of_training(trained: Any, tmp_path: Path) -> None:
    plain = backtest(trained.paths.best, trained.panel, "validation", tmp_path / "plain")
    for sizing in ("inverse_volatility", "uncertainty", "decile"):
        config = with_values(trained.config, {"portfolio.sizing": sizing})
        content = load_checkpoint(trained.paths.best) | {"config": dump_config(config)}
        save_checkpoint(tmp_path / f"{sizing}.pt", content)
        other = backtest(tmp_path / f"{sizing}.pt", trained.panel, "validation", tmp_path / sizing)
        assert other.metrics["rank_ic"] == plain.metrics["rank_ic"]
        assert other.metrics["sharpe_gross"] != plain.metrics["sharpe_gross"]


def test_results_are_frozen(trained: Any, tmp_path: Path) -> None:
    found = backtest(trained.paths.best, trained.panel, "validation", tmp_path / "bt")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.metrics = {}  # type: ignore[misc]
