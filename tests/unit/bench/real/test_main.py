"""`python -m bench.real` as a person runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from atft_hpo.errors import ConfigError
from bench.real import __main__ as real
from bench.real.plan import Plan
from bench.real.simulated import write_market

ROOT = Path(__file__).parents[4]
REAL_DATA = "ATFT_HPO_TEST_DATA"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """run(*arguments): the program in a volume of its own."""
    environment = os.environ | {"ATFT_HPO_VOLUME": str(tmp_path), "ATFT_HPO_DEVICE": "cpu"}

    def program(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench.real", *map(str, arguments)]
        return subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )

    return program


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """Three years of fifty stocks: numbers as codes, no sector, a universe column."""
    path = write_market(tmp_path / "plain.parquet", days=750, stocks=50)
    frame = pl.read_parquet(path).drop("sector")
    number = pl.col("code").str.slice(1).cast(pl.Int64)
    member = (number % 10 > 0) | (pl.col("date").dt.year() > 2018)
    frame.with_columns(number.alias("code"), member.alias("member")).write_parquet(path)
    return path


QUICK = ("--profile", "quick", "--features", "12", "--models", "ridge,random", "--horizons", "1,5")


@pytest.mark.slow  # half a minute
@pytest.mark.timeout(600)
def test_any_prices_are_compared_and_the_same_command_continues(run, prices, tmp_path, monkeypatch):
    asked = (prices, *QUICK, "--out", tmp_path / "out")
    done = run(*asked, "--json", tmp_path / "result.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["horizons"]["1"]["models"]["ridge"]["rank_ic_t"] > 4
    assert result["horizons"]["1"]["models"]["ridge"]["pure_rank_ic_t"] > 4
    assert len(result["folds"]) == 2
    assert result["look"] is None
    assert "1 day ahead" in done.stdout
    assert "| ridge |" in (tmp_path / "out" / "walk-forward.md").read_text()
    monkeypatch.setenv("ATFT_HPO_VOLUME", str(tmp_path))
    again = CliRunner().invoke(real.app, [str(argument) for argument in asked])
    assert again.exit_code == 0, again.output
    kept = len(list((tmp_path / "out" / "forecasts").rglob("*.npz")))
    assert kept == 4
    assert not (tmp_path / "out" / "test-looks.json").exists()


def test_each_look_at_the_test_range_is_recorded(prices, tmp_path, monkeypatch):
    monkeypatch.setenv("ATFT_HPO_VOLUME", str(tmp_path))
    arguments = [str(prices), *QUICK, "--test", "--workers", "1", "--out", str(tmp_path / "out")]
    for number in (1, 2):
        done = CliRunner().invoke(real.app, arguments)
        assert done.exit_code == 0, done.output
        looks = json.loads((tmp_path / "out" / "test-looks.json").read_text())
        assert [look["models"] for look in looks] == [["ridge", "random"]] * number
    result = json.loads((tmp_path / "out" / "test.json").read_text())
    assert result["look"] == 2
    assert result["range"] == "test range"
    assert result["days"][1] == str(pl.read_parquet(prices)["date"].max())


def test_a_market_with_delistings_is_compared_with_the_nets_own_trees(
    leaving_prices, study, tmp_path, monkeypatch
):
    monkeypatch.setenv("ATFT_HPO_VOLUME", str(tmp_path))
    monkeypatch.setenv("ATFT_HPO_DEVICE", "cpu")
    profile = ("--profile", "quick", "--folds", "1", "--features", "12", "--workers", "1")
    models = ("--models", "full,own_trees,lightgbm_plus", "--horizons", "1")
    place = ("--study", str(study), "--out", str(tmp_path / "out"))
    done = CliRunner().invoke(real.app, [str(leaving_prices), *profile, *models, *place])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "walk-forward.md").read_text()
    assert "- 1 day ahead, neighbours and net add to its own trees: pure RankIC" in text
    assert ", its best rival, by pure RankIC on these days:" in text
    assert "- 10 of 40 stocks" in text
    result = json.loads((tmp_path / "out" / "walk-forward.json").read_text())
    assert result["departures"][0] == 10
    assert result["horizons"]["1"]["best_rival"] in ("own_trees", "lightgbm_plus")


def test_without_trees_there_are_none_to_compare_with(study, leaving_prices, tmp_path):
    bare = tmp_path / "bare.toml"
    bare.write_text(study.read_text().replace("rounds = 20", "rounds = 0"))
    asked = (leaving_prices, bare, "1")
    rest = ("quick", {}, None, "cpu")
    assert "own_trees" not in Plan.of(*asked, None, *rest).models
    assert "own_trees" in Plan.of(leaving_prices, study, "1", None, *rest).models
    with pytest.raises(ConfigError, match="own_trees: the study has none"):
        Plan.of(*asked, "own_trees", *rest)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.parquet"], "error: absent.parquet: no such file"),
        (["{prices}", "--models", "rigde"], "did you mean 'ridge'"),
        (["{prices}", "--profile", "fast"], "error: --profile fast"),
        (["{prices}", "--study", "absent.toml"], "error: absent.toml: cannot be read"),
        (["{prices}", "--folds", "40"], "give longer data, fewer folds"),
    ],
)
def test_errors_are_one_sentence(prices, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ATFT_HPO_VOLUME", str(tmp_path))
    arguments = [part.format(prices=prices) for part in arguments]
    with pytest.raises(SystemExit) as ended:
        real.app(arguments)
    assert ended.value.code in (2, 3)
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_on_real_prices_controls_stay_within_three_errors(run, tmp_path):
    folder = os.environ.get(REAL_DATA)
    if not folder or not (Path(folder) / "us_sp500_daily.parquet").is_file():
        pytest.skip(f"{REAL_DATA} does not name a folder with us_sp500_daily.parquet")
    arguments = ("--profile", "quick", "--models", "ridge,random,shuffled", "--features", "24")
    done = run(Path(folder) / "us_sp500_daily.parquet", *arguments, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "walk-forward.json").read_text())
    assert all(result["horizons"][h]["controls_within_3_se"] for h in ("1", "5"))
    assert abs(result["horizons"]["1"]["models"]["ridge"]["rank_ic"]) < 0.06  # more is a leak
    assert result["departures"][1] < 0.01, "survivors"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_prices_of_which_a_tenth_of_the_stocks_ends_early(run, tmp_path):
    folder = os.environ.get(REAL_DATA)
    if not folder or not (Path(folder) / "us_sp500_daily.parquet").is_file():
        pytest.skip(f"{REAL_DATA} does not name a folder with us_sp500_daily.parquet")
    prices, gone = cut_short(Path(folder) / "us_sp500_daily.parquet", tmp_path / "cut.parquet")
    arguments = ("--profile", "quick", "--models", "own_trees,ridge,lightgbm_plus,random")
    done = run(prices, *arguments, "--features", "24", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "walk-forward.json").read_text())
    assert gone <= result["departures"][0] < gone + 10
    assert result["horizons"]["1"]["best_rival"] in ("ridge", "lightgbm_plus")


def cut_short(prices: Path, path: Path) -> tuple[Path, int]:
    """A tenth of the stocks end on random days, a month before the end at the latest."""
    frame, rng = pl.read_parquet(prices), np.random.default_rng(0)
    codes, days = frame["code"].unique().sort(), frame["date"].unique().sort()
    gone = rng.choice(len(codes), len(codes) // 10, replace=False)
    last = days.gather(rng.integers(len(days) // 5, len(days) - 30, len(gone)))
    ends = pl.DataFrame({"code": codes.gather(gone), "last": last})
    kept = frame.join(ends, on="code", how="left").filter(
        pl.col("last").is_null() | (pl.col("date") <= pl.col("last"))
    )
    kept.drop("last").write_parquet(path)
    return path, len(gone)
