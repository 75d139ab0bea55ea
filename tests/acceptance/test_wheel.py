"""A wheel of the package, used outside of the checkout, is all that a search wants."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def away() -> Iterator[Path]:
    """A directory outside of the checkout with a short path, which Postgres's socket wants."""
    root = Path(tempfile.mkdtemp(prefix="atft-wheel-"))
    yield root
    shutil.rmtree(root)


@pytest.fixture
def package(away: Path) -> Path:
    """Where the content of a newly built wheel lies."""
    source = away / "source"
    parts = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "atft_hpo", source / "atft_hpo", ignore=parts)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ("--quiet", "--no-deps", "--no-build-isolation")
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", away, source]
    subprocess.run(command, check=True)
    shutil.rmtree(source)
    (wheel,) = away.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(away / "package")
    return away / "package"


def test_the_quickstart_runs_from_a_wheel(away: Path, package: Path) -> None:
    work = away / "work"
    work.mkdir()
    shutil.copy(ROOT / "studies" / "quickstart.toml", work)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(away), "PYTHONPATH": str(package),
        "ATFT_HPO_VOLUME": str(away / "volume"), "ATFT_HPO_DEVICE": "cpu",
    }  # fmt: skip

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=work, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = call("-c", "import atft_hpo; print(atft_hpo.__file__)")
    assert Path(where.strip()).parents[1] == package
    said = call("-m", "atft_hpo", "run", "quickstart.toml", "--trials", "2")
    assert "all 2 trials are done" in said
    report = Path(call("-m", "atft_hpo", "report", "quickstart").strip())
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
