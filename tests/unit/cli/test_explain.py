"""`atft-hpo explain`, from training to files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tiny_study import MARKET

from atft_hpo.paths import RunPaths, Volume
from atft_hpo.training.state.checkpoint import checkpoint_sha256

Invoke = Callable[..., Any]
CONFIG = f"""
{MARKET}[phases]
baseline = {{ epochs = 1, lr = 5e-3 }}
adaptive_norm = {{ epochs = 0 }}
gat = {{ epochs = 1, lr = 5e-3 }}
fine_tuning = {{ epochs = 0 }}
augmentation = {{ epochs = 0 }}
"""


@pytest.fixture
def run(invoke: Invoke, tmp_path: Path) -> RunPaths:
    config = tmp_path / "tiny.toml"
    config.write_text(CONFIG)
    assert invoke("train", config).code == 0
    return RunPaths(tmp_path / "volume" / "runs" / "tiny")


def test_from_training_to_files(invoke: Invoke, run: RunPaths, tmp_path: Path) -> None:
    shown = invoke("explain", run.best)
    assert shown.code == 0, shown.err
    place = Volume(tmp_path / "volume").explanation("run", checkpoint_sha256(run.best))
    assert shown.out.splitlines()[-1] == str(place / "explain.png")
    for word in ("by selection weight", "graph attention", "parts switched off", "lag_kernel"):
        assert word in shown.out
    assert "shuffled" not in shown.out
    assert {file.suffix for file in place.iterdir()} == {".png", ".parquet"}

    out = tmp_path / "explained"
    told = invoke("explain", run.best, "--out", out, "--permute", 3, "--json")
    summary = json.loads(told.out)
    assert {Path(file) for file in summary["files"]} == set(out.iterdir())
    attention = pl.read_parquet(out / "attention.parquet")
    by_lag = attention.filter(pl.col("channel").is_null())
    assert summary["attention"] == by_lag.to_dicts()
    assert len(by_lag.filter(path="kernel").drop_nulls("lag")) == 8
    assert summary["selection"] == pl.read_parquet(out / "selection.parquet").to_dicts()
    shuffled = [row["name"] for row in summary["effects"] if row["kind"] == "feature"]
    assert sorted(shuffled) == sorted(row["feature"] for row in summary["selection"][:3])
    assert summary["modules"] == ["fan", "graph", "san"]


def test_errors_are_one_line(
    invoke: Invoke, run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "explained"
    for arguments, code, message in (
        ((run.last,), 7, "no trained model in it"),
        ((run.root / "absent.pt",), 7, "cannot be read"),
        ((run.best, "--days", "yesterday"), 2, "expected validation, test, live, or FROM:TO"),
        ((run.best, "--days", "test"), 2, "reach into the test range"),
        ((run.best, "--panel", tmp_path), 3, "manifest"),
    ):
        done = invoke("explain", *arguments, "--out", out)
        assert (done.code, done.err.count("\n")) == (code, 1), done.err
        assert message in done.err
    assert not out.exists()

    looks: list[tuple[Any, ...]] = []
    monkeypatch.setattr("atft_hpo.cli.explain.note_look", lambda *given: looks.append(given))
    done = invoke("explain", run.best, "--days", "test", "--allow-test", "--out", out)
    assert done.code == 0, done.err
    [(allowed, checkpoint, _, days, command, _)] = looks
    assert (allowed, checkpoint, days, command) == (True, run.best, "test", "explain")
