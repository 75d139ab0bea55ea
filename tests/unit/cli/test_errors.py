import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atft_hpo.config.shell import program
from atft_hpo.errors import ConfigError

Invoke = Callable[..., Any]
QUICKSTART = Path(__file__).parents[3] / "studies" / "quickstart.toml"


def assert_one_line(done: Any, code: int, words: str) -> None:
    assert done.code == code, done
    assert words in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_absent_file(invoke: Invoke, tmp_path: Path) -> None:
    assert_one_line(invoke("run", tmp_path / "absent.toml"), 2, "absent.toml: cannot be read")


def test_wrong_key_names_the_nearest(invoke: Invoke, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text("[model]\nhiden = 3\n")
    assert_one_line(invoke("study", "check", study), 2, "did you mean 'hidden'?")


def test_wrong_space(invoke: Invoke, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('[search.space]\n"model.x" = { type = "int", low = 1, high = 2 }\n')
    assert_one_line(invoke("run", study), 2, "search.space")


def test_data_for_a_synthetic_market(invoke: Invoke) -> None:
    done = invoke("run", QUICKSTART, "--data", "prices.parquet")
    assert_one_line(done, 2, 'data.source = "synthetic"')


def test_wrong_device(invoke: Invoke) -> None:
    done = invoke("run", QUICKSTART, "--device", "tpu")
    assert_one_line(done, 2, "'tpu'; expected auto, cpu or cuda")


def test_unreachable_database_is_masked(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATFT_HPO_STORAGE", "sqlite:///secret.db")
    assert_one_line(invoke("status"), 4, "expected postgresql://")


@pytest.mark.parametrize("days", ["yesterday", "2018-01-01", "2018-01-01:soon"])
def test_wrong_days(invoke: Invoke, days: str) -> None:
    from atft_hpo.cli.model import chosen_days

    with pytest.raises(ConfigError, match="expected validation, test, live, or FROM:TO"):
        chosen_days(days)


def test_absent_checkpoint(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("predict", tmp_path / "x.pt", "--out", tmp_path / "p.parquet")
    assert_one_line(done, 7, "x.pt")


def test_usage_error_is_code_2(invoke: Invoke) -> None:
    assert invoke("run").code == 2
    assert invoke("nonsense").code == 2
    assert invoke("run", QUICKSTART, "--trials", "0").code == 2


def test_usage_errors_name_a_command_that_can_be_pasted(invoke: Invoke) -> None:
    assert f"Try '{program()} run --help' for help." in invoke("run").err


def fail_with(error: Exception) -> Callable[..., Any]:
    def read(*_: Any) -> Any:
        raise error

    return read


def test_full_volume_is_code_6(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/volume/x")
    monkeypatch.setattr("atft_hpo.config.toml.load_config", fail_with(full))
    assert_one_line(invoke("study", "check", QUICKSTART), 6, "/volume/x: No space left on device")


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    from atft_hpo.cli import app as cli

    monkeypatch.setattr(cli, "_debug", [])
    monkeypatch.setattr(sys, "argv", ["atft-hpo", "--debug", "study", "check", str(tmp_path)])
    with pytest.raises(ConfigError):
        cli.main()
