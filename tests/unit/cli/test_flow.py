"""From a synthetic market to forecasts, with the real model at its smallest."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiny_study import MARKET

from atft_hpo.config.toml import load_config
from atft_hpo.paths import PanelPaths, RunPaths

Invoke = Callable[..., Any]
CONFIG = f"""
{MARKET}[phases]
baseline = {{ epochs = 2, lr = 5e-3 }}
adaptive_norm = {{ epochs = 0 }}
gat = {{ epochs = 0 }}
fine_tuning = {{ epochs = 0 }}
augmentation = {{ epochs = 0 }}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG)
    return path


def test_panel_commands(invoke: Invoke, config: Path, tmp_path: Path) -> None:
    built = invoke("panel", "build", config)
    assert built.code == 0, built.err
    store = Path(built.out.splitlines()[-1])
    assert PanelPaths(store).manifest.is_file()
    again = invoke("panel", "build", config)
    assert again.out == f"{store}\n", "built once"
    described = invoke("panel", "describe", config, "--json")
    assert json.loads(described.out)["stocks"] == 24
    assert "24" in invoke("panel", "describe", store).out
    market = tmp_path / "market.parquet"
    assert invoke("panel", "synth", "--config", config, "--out", market).code == 0
    assert {"date", "code", "close"} <= set(pl.read_parquet_schema(market))


def test_train_evaluate_predict_backtest(invoke: Invoke, config: Path, tmp_path: Path) -> None:
    trained = invoke("train", config)
    assert trained.code == 0, trained.err
    assert "tiny · baseline 2 · epoch 2/2" in trained.out
    run = RunPaths(tmp_path / "volume" / "runs" / "tiny")
    assert run.summary.is_file()
    dates = load_config(run.config).split.dates
    assert dates is not None
    assert "split.dates" in run.config.read_text()
    assert "is complete" in invoke("train", config).out
    assert "is complete" in invoke("train", run.config, "--name", "tiny").out, "the same days"
    assert "choose another --name" in invoke("train", config, "--max-epochs", "1").err
    assert invoke("train", config, "--max-epochs", "1", "--name", "short").code == 0

    assert f"checkpoint  {run.best}\n" in trained.out
    metrics = json.loads(invoke("evaluate", run.best, "--json").out)
    assert {"ic", "rank_ic_t", "icir", "sharpe_daily", "ic_5d", "icir_5d"} <= metrics.keys()
    history = pl.read_parquet(run.metrics)
    assert any(np.isclose(metrics["ic"], value, rtol=1e-5) for value in history["ic"])

    screen = invoke("evaluate", run.best).out
    assert f"checkpoint  {run.best}\nfrom        run tiny\n" in screen
    assert "1 d*      5 d" in screen
    assert f"{metrics['rank_ic']:+.4f}  {metrics['rank_ic_5d']:+.4f}\n" in screen
    assert "icir" not in screen

    out = tmp_path / "forecasts.parquet"
    assert invoke("predict", run.best, "--out", out).code == 0
    assert {"date", "code", "score_1d", "q50_5d"} <= set(pl.read_parquet_schema(out))
    refused = invoke("predict", run.best, "--out", out, "--days", "test")
    assert refused.code == 2
    assert f"test range, which begins on {dates.test_first}" in refused.err
    later = invoke("predict", run.best, "--out", out, "--days", "live")
    assert later.code == 2
    assert f"no live day: the data of the checkpoint's study end on {dates.test_last}" in later.err
    done = invoke("backtest", run.best, "--out", tmp_path / "backtest")
    assert done.code == 0
    assert done.out.startswith(screen), "the same table"
    assert Path(done.out.splitlines()[-1]).is_file()


def test_an_undefined_metric_is_null(
    invoke: Invoke, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("train", config, "--max-epochs", "1").code == 0
    found = SimpleNamespace(metrics={"ic": 0.25, "sharpe": float("nan")})
    monkeypatch.setattr("atft_hpo.training.forecasting.forecast.evaluate_table", lambda *_: found)
    best = RunPaths(tmp_path / "volume" / "runs" / "tiny").best
    told = invoke("evaluate", best, "--json").out
    assert told == '{\n  "ic": 0.25,\n  "sharpe": null\n}\n'
    sharpe = next(line for line in invoke("evaluate", best).out.splitlines() if "Sharpe, n" in line)
    assert sharpe.split()[-2:] == ["–", "–"]


def test_features_from_prices(invoke: Invoke, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    days = np.busday_offset("2020-01-01", np.arange(60), roll="forward")
    close_DN = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (60, 3)), axis=0))
    frame = pl.DataFrame(
        {
            "date": np.repeat(days, 3),
            "code": ["A", "B", "C"] * 60,
            "open": close_DN.ravel(),
            "high": 1.01 * close_DN.ravel(),
            "low": 0.99 * close_DN.ravel(),
            "close": close_DN.ravel(),
            "volume": rng.uniform(1e5, 2e5, 180),
        }
    )
    prices, out = tmp_path / "prices.parquet", tmp_path / "features.parquet"
    frame.write_parquet(prices)
    done = invoke("panel", "features", prices, "--out", out)
    assert done.code == 0, done.err
    assert out.exists()
