"""The project's own files, read once; a Makefile in a directory of its own."""

import os
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@dataclass(frozen=True)
class Workshop:
    """A directory with the Makefile and what its targets are made from, and a path of programs."""

    root: Path
    programs: Path

    def program(self, name: str, script: str) -> Path:
        """An executable shell script."""
        path = self.programs / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    @property
    def environment(self) -> dict[str, str]:
        """The workshop's programs first on the path, and no variables of ours.

        With the VENV of whoever runs the tests, a target would install into it.
        """
        ours = ("HPO_", "ATFT_HPO_", "MAKE", "VENV", "PYTHON", "TEST_ARGS", "BENCH_ARGS")
        environment = {key: text for key, text in os.environ.items() if not key.startswith(ours)}
        environment["PATH"] = f"{self.programs}:{environment['PATH']}"
        return environment

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run make there."""
        return subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def log(self) -> str:
        """What the programs wrote to $LOG."""
        path = self.root / "log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    programs = tmp_path / "programs"
    programs.mkdir()
    return Workshop(tmp_path, programs)


@pytest.fixture
def installed(workshop: Workshop) -> Callable[[str], Workshop]:
    """Makes the workshop look set up, with the shell script given as `atft-hpo`."""

    def set_up(script: str) -> Workshop:
        bin_directory = workshop.root / ".venv/bin"
        bin_directory.mkdir(parents=True)
        shutil.copy(workshop.program("atft-hpo", script), bin_directory / "atft-hpo")
        for stamp in (".runtime", ".dev"):
            (workshop.root / ".venv" / stamp).touch()
        return workshop

    return set_up
