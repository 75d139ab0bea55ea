"""Runs the command in this process, as the console script would."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from atft_hpo.cli import app as cli


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Invoke = Callable[..., Done]


@pytest.fixture
def invoke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Invoke:
    monkeypatch.setenv("ATFT_HPO_VOLUME", str(tmp_path / "volume"))
    monkeypatch.setenv("ATFT_HPO_DEVICE", "cpu")
    monkeypatch.delenv("ATFT_HPO_STORAGE", raising=False)
    monkeypatch.setattr(cli, "_debug", [])

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["atft-hpo", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        output = capsys.readouterr()
        code = end.value.code
        return Done(code if isinstance(code, int) else 0, output.out, output.err)

    return run
