"""The commands that a session ends with run as they are printed, however it was started."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_study import MARKET

from atft_hpo.config.settings import DEVICE_VARIABLE, STORAGE_VARIABLE, VOLUME_VARIABLE, Settings

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[2]
SCRIPT = f"""#!{sys.executable}
import sys
from atft_hpo.cli import main
if __name__ == "__main__":
    sys.exit(main())
"""
QUICK_TRIALS = """
import sys
if {"run", "resume"} & set(sys.orig_argv):
    import quick_trial
    from atft_hpo.service.agent import session
    Launcher = session.LocalLauncher
    session.LocalLauncher = lambda *a: Launcher(*a[:2], quick_trial.main, ["quick_trial"])
"""
"""`sitecustomize.py`: trials are quick, the panel and everything else is real."""
STUDY = f"""
[study]
name = "race"
{MARKET}[phases]
baseline = {{ epochs = 1 }}
adaptive_norm = {{ epochs = 0 }}
gat = {{ epochs = 0 }}
fine_tuning = {{ epochs = 0 }}
augmentation = {{ epochs = 0 }}
[search.space]
"model.dropout" = {{ type = "float", low = 0.0, high = 0.5 }}
[search.sampler]
kind = "random"
"""
Shell = Callable[..., str]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory as `make` leaves it: the program in .venv/bin, not on the PATH; a study."""
    script = tmp_path / "here dir" / ".venv/bin/atft-hpo"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT)
    script.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / "here dir" / name)
    (script.parents[1] / ".runtime").touch()
    (tmp_path / "here dir" / "race.toml").write_text(STUDY)
    (tmp_path / "sitecustomize.py").write_text(QUICK_TRIALS)
    return tmp_path / "here dir"


@pytest.fixture
def shell(here: Path, tmp_path: Path) -> Shell:
    """shell(line, directory, **variables) → what the line prints; the variables are its alone."""
    ours = ("HPO_", "ATFT_HPO_", "MAKE", "VENV", "PYTHON")
    inherited = {key: text for key, text in os.environ.items() if not key.startswith(ours)}
    inherited["PYTHONPATH"] = f"{tmp_path}:{ROOT}:{ROOT / 'tests/process/stand_ins'}"

    def run(line: str, directory: Path = here, **variables: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=directory,
            env=inherited | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout

    return run


def suggested(printed: str) -> list[str]:
    """The commands after `next:`."""
    return re.findall(r"^    (.+)$", printed.partition("next:\n")[2], re.MULTILINE)


@pytest.fixture
def done_by_make(shell: Shell, settings: Settings) -> str:
    """What `make` prints when it has run the study; the database is told to it alone."""
    make = "make --no-print-directory hpo-run HPO_STUDY=race.toml HPO_TRIALS=1 HPO_WORKERS=2"
    alone = {STORAGE_VARIABLE: settings.storage_url or "", DEVICE_VARIABLE: "cpu"}
    return shell(make, **alone)


def test_what_make_suggests_runs_as_printed(done_by_make: str, shell: Shell) -> None:
    export, train, resume = suggested(done_by_make)
    assert export.endswith(" .venv/bin/atft-hpo export race --out best.toml")
    assert train == ".venv/bin/atft-hpo train best.toml --device cpu"
    assert resume.endswith(" .venv/bin/atft-hpo resume race --trials 11 --workers 2 --device cpu")
    assert "to train it:\n    .venv/bin/atft-hpo train best.toml\n" in shell(export)
    (evaluate,) = suggested(shell(train))
    assert "from        run best of the configuration of trial 0" in shell(evaluate)
    assert "all 11 trials are done" in shell(resume)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["path", "name", "module"])
def test_however_it_is_started(
    done_by_make: str, here: Path, shell: Shell, settings: Settings, tmp_path: Path, way: str
) -> None:
    script = f"'{here}/.venv/bin/atft-hpo'"
    start, directory, path, printed = {
        "path": (script, here / ".venv", {}, "bin/atft-hpo"),
        "name": (
            "atft-hpo",
            tmp_path,
            {"PATH": f"{here}/.venv/bin:{os.environ['PATH']}"},
            "atft-hpo",
        ),
        "module": (f"{sys.executable} -m atft_hpo", tmp_path, {}, "-m atft_hpo"),
    }[way]
    alone = {STORAGE_VARIABLE: settings.storage_url or "", VOLUME_VARIABLE: str(here / "volume")}
    export, *_ = suggested(shell(f"{start} resume race", directory, **alone, **path))
    assert export.endswith(f" {printed} export race --out best.toml")
    assert "trial 0 of race; to train it" in shell(export, directory, **path)
    assert (directory / "best.toml").is_file()
