"""The continuation experiment: files, parts, scaling, windows, metrics, the program."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from atft_hpo.errors import ConfigError, DataError, NonFiniteError
from bench.fan import __main__ as fan
from bench.fan.series import Series, drifting_cycles, random_walk, read_series
from bench.fan.task import (
    K_BY_NAME,
    LENGTH,
    choose_k,
    choose_slice,
    count_frequencies,
    make_task,
    split,
    standardise,
)
from bench.fan.training import METHODS, Settings, errors, run

ROOT = Path(__file__).parents[4]
CPU = torch.device("cpu")
SETTINGS = Settings(k=2, slice_length=6, epochs=2, residual_loss=False)


def ramp(rows: int, channels: int = 2) -> Series:
    """Value = row + 1000 × channel, so that a window tells where it was cut."""
    values = np.arange(rows)[:, None] + 1000.0 * np.arange(channels)
    return Series("ramp", tuple(f"c{i}" for i in range(channels)), values)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def _write(text: str) -> Path:
        path = tmp_path / "ETTh1.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


# --- reading ---------------------------------------------------------------------------------


def test_reads_numbers_and_leaves_the_date_out(write: Callable[[str], Path]) -> None:
    series = read_series(write("date,a,b\n2020-01-01,1,2.5\n2020-01-02,2,3.5\n"))
    assert (series.name, series.channels) == ("ETTh1", ("a", "b"))
    assert series.values_NC.tolist() == [[1.0, 2.5], [2.0, 3.5]]


def test_first_column_of_numbers_is_a_channel(write: Callable[[str], Path]) -> None:
    assert read_series(write("a\n1\n2\n")).values_NC.tolist() == [[1.0], [2.0]]


def test_file_without_header_keeps_its_first_line(write: Callable[[str], Path]) -> None:
    series = read_series(write("0.5,0.5,3\n2,1,4\n"))
    assert series.values_NC.tolist() == [[0.5, 0.5, 3.0], [2.0, 1.0, 4.0]]


def test_reads_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"when": ["a", "b"], "v": [1, 2]}).write_parquet(path)
    assert read_series(path).values_NC.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,a\nx,1\ny,\nz,NaN\n", "column 'a' has 2 missing values, the first in row 2"),
        ("a,b\n1,2\n2,oops\n", "column 'b' is not numeric .'oops' in row 2"),
        ("a,b\n1,2\n2,inf\n", "column 'b' has 1 infinite values"),
        ("a,b\n1,7\n2,7\n", "column 'b' is constant .7 in all rows"),
        ("date\nx\ny\n", "no numeric column"),
        ("a,b\n", "no numeric column with values"),
        ("", "cannot be read"),
    ],
)
def test_bad_files_say_column_and_count(
    write: Callable[[str], Path], text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_series(write(text))


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read"):
        read_series(tmp_path / "nowhere.csv")


# --- parts, windows, scaling -----------------------------------------------------------------


def test_parts_are_seven_two_one() -> None:
    parts = split(17420, 720)
    assert (parts.train_end, parts.validation_end, parts.rows) == (12194, 15678, 17420)


def test_windows_cover_each_part_once() -> None:
    rows, ahead = 1000, 24
    task = make_task(ramp(rows), ahead, "train", CPU)
    assert len(task.train) == 700 - LENGTH - ahead + 1
    assert len(task.validation) == 200 - ahead + 1
    assert len(task.test) == 100 - ahead + 1
    mean, std = np.arange(700).mean(), np.arange(700).std()
    for part, first, end in (("train", LENGTH, 700), ("validation", 700, 900), ("test", 900, 1000)):
        windows = getattr(task, part)
        x, y = (torch.cat(side) for side in zip(*windows.batches(32), strict=True))
        begins, ends = x[:, 0, 0] * std + mean, y[:, 0, -1] * std + mean
        targets = y[:, 0, 0] * std + mean
        assert (x.shape, y.shape) == ((len(windows), 2, LENGTH), (len(windows), 2, ahead))
        assert torch.allclose(targets, torch.arange(first, end - ahead + 1.0), atol=1e-2)
        assert torch.allclose(begins, targets - LENGTH, atol=1e-2)
        assert ends.max() == pytest.approx(end - 1, abs=1e-2)


def test_shuffled_batches_hold_every_window_once() -> None:
    windows = make_task(ramp(1000), 24, "train", CPU).train
    shuffled = list(windows.batches(32, torch.Generator().manual_seed(0)))
    begins = torch.cat([x[:, 0, 0] for x, _ in shuffled])
    assert len(shuffled[-1][0]) == len(windows) % 32
    assert not torch.equal(begins, begins.sort().values)
    assert torch.equal(
        begins.sort().values, torch.cat([x[:, 0, 0] for x, _ in windows.batches(32)])
    )


def test_scaling_on_the_training_part_ignores_what_comes_after() -> None:
    series = random_walk(1000, 3)
    changed = Series("w", series.channels, series.values_NC.copy())
    changed.values_NC[700:] += 50.0
    kept, moved = (standardise(s, 700)[:700] for s in (series, changed))
    assert np.array_equal(kept, moved)
    assert np.allclose(kept.mean(0), 0)
    assert np.allclose(kept.std(0), 1)
    everything = standardise(changed, 1000)
    assert np.allclose(everything.std(0), 1)
    assert not np.allclose(everything[:700], kept)


def test_column_constant_where_the_scale_is_fitted() -> None:
    series = random_walk(1000, 2)
    series.values_NC[:700, 1] = 4.0
    with pytest.raises(DataError, match="'c1' is constant in the 700 rows"):
        make_task(series, 24, "train", CPU)
    assert make_task(series, 24, "all", CPU).channels == 2


@pytest.mark.parametrize(("rows", "short"), [(230, "validation part 46 of 96, test part 23 of 96")])
def test_too_short_for_a_horizon(rows: int, short: str) -> None:
    with pytest.raises(DataError, match=f"horizon 96: .* 230 rows; .*{short}.*about 960 rows"):
        split(rows, 96)
    split(960, 96)


# --- choices ---------------------------------------------------------------------------------


def test_data_sets_are_known_by_name() -> None:
    named = {
        n: Series(n, ("a",), np.zeros((1, 1))) for n in ("ETTm1", "exchange_rate", "TRAFFIC-h")
    }
    assert [choose_k(s)[0] for s in named.values()] == [11, 2, 30]
    assert [choose_slice(s)[0] for s in named.values()] == [12, 6, 24]
    assert set(K_BY_NAME.values()) == {4, 3, 11, 5, 2, 30}


def test_k_counts_the_frequencies_that_stand_out() -> None:
    rng, t = np.random.default_rng(0), np.arange(2000)
    wave = sum(a * np.sin(2 * np.pi * b * t / LENGTH) for a, b in ((1, 4), (0.5, 8), (0.05, 12)))
    series = Series("eclipse", ("a",), (wave + 0.01 * rng.standard_normal(2000))[:, None])
    assert count_frequencies(series) == 2
    assert choose_k(series)[0] == 2


# --- training --------------------------------------------------------------------------------


def test_errors_are_means_over_everything() -> None:
    class Last(nn.Module):
        def forward(self, x_BCL: Tensor) -> Tensor:
            return x_BCL[..., -1:].expand(-1, -1, 24)

    series = random_walk(1000, 3)
    scaled = standardise(series, 700)
    gaps = np.concatenate([scaled[s : s + 24] - scaled[s - 1] for s in range(900, 977)])
    mse, mae = errors(Last(), make_task(series, 24, "train", CPU).test)
    assert mse == pytest.approx((gaps**2).mean(), rel=1e-5)
    assert mae == pytest.approx(np.abs(gaps).mean(), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_runs_repeat_and_learn(method: str) -> None:
    task = make_task(drifting_cycles(1000, 1), 24, "train", CPU)
    once, again = run(method, task, SETTINGS, 0), run(method, task, SETTINGS, 0)
    assert (once.mse, once.mae, once.epochs) == (again.mse, again.mae, again.epochs)
    one_epoch = run(method, task, Settings(2, 6, 1, False), 0)
    assert once.validation_mse <= one_epoch.validation_mse


def test_best_weights_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.fan.training.RATE", 0.5)
    task = make_task(drifting_cycles(1000, 1), 24, "train", CPU)
    full = run("none", task, Settings(2, 6, 20, False), 0)
    assert full.epochs == min(20, full.best_epoch + 5)
    best = run("none", task, Settings(2, 6, full.best_epoch, False), 0)
    assert full.mse == best.mse


def test_diverged_training_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.fan.training.RATE", 1e30)
    task = make_task(drifting_cycles(1000, 1), 24, "train", CPU)
    with pytest.raises(NonFiniteError, match="validation loss is"):
        run("none", task, SETTINGS, 0)


# --- the program -----------------------------------------------------------------------------


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
