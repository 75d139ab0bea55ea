"""The program: what it prints, writes and refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from atft_hpo.errors import ConfigError, DataError
from bench.fan import __main__ as fan
from bench.fan.series import drifting_cycles

ROOT = Path(__file__).parents[4]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "exchange_rate.csv"
    pl.DataFrame({"a": drifting_cycles(800, 1).values_NC[:, 0]}).write_csv(path)
    return path


def test_program_prints_both_scalings_and_writes_json(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    fan.main(path, horizons="24,48", methods="none,fan", epochs=1, seeds="0,1", json_path=out)
    shown = capsys.readouterr().out
    assert "K = 2 (the paper's for exchange)" in " ".join(shown.split())
    report = json.loads(out.read_text())["series"][0]
    assert (report["rows"], report["channels"]) == (800, 1)
    assert set(report["mean"]) == {"train", "all"}
    assert set(report["mean"]["train"]) == {"24", "48"}
    runs = [r["mse"] for r in report["runs"] if (r["scaling"], r["horizon"]) == ("all", 48)]
    mean = report["mean"]["all"]["48"]
    assert (mean["none"]["mse"] + mean["fan"]["mse"]) * 2 == pytest.approx(sum(runs))
    assert f"{mean['fan']['mse']:.4f}" in shown


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"methods": "none,fun"}, "expected some of none, revin, san, fan"),
        ({"horizons": "ninety"}, "expected whole numbers"),
        ({"horizons": "25", "methods": "none,san"}, "do not divide 96 values in and 25 ahead"),
        ({"horizons": "24", "k": 30}, "k is 30; 96 values in and 24 ahead allow 0 to 12"),
        ({"device": "abacus"}, "expected auto, cpu, or cuda"),
    ],
)
def test_program_refuses_before_it_trains(
    path: Path, choices: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan, "run", None)
    with pytest.raises(ConfigError, match=message):
        fan.main(path, **choices)


def test_program_refuses_in_one_line(path: Path) -> None:
    program = [sys.executable, "-m", "bench.fan", str(path), "--horizons", "720"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == DataError.exit_code
    assert done.stderr.startswith("error: horizon 720: the series is too short, 800 rows;")
    assert "Traceback" not in done.stderr
