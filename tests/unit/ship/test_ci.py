"""The CI script, with a make that only notes what it is asked for."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

MAKE = """
echo "$@" >> "$LOG"
[ "$1" != "$FAILS" ] || exit 2
case "$1" in
  hpo-export) echo "[study]" > "${2#HPO_OUT=}" ;;
  hpo-report)
    mkdir -p "$ATFT_HPO_VOLUME/studies/quickstart"
    echo "<html>" > "$ATFT_HPO_VOLUME/studies/quickstart/report.html" ;;
esac
echo "$VENV" > "$LOG.venv"
echo "${ATFT_HPO_STORAGE-none} $ATFT_HPO_VOLUME" > "$LOG.storage"
"""


@pytest.fixture
def run(root: Path, tmp_path: Path, workshop) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a copy of .ci/run; what make was asked for is in <tmp_path>/log."""
    workshop.program("make", MAKE)
    (tmp_path / ".ci").mkdir()
    script = shutil.copy(root / ".ci/run", tmp_path / ".ci/run")

    def run_ci(fails: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if k != "CI_SLOW"}
        environment = inherited | {
            "PATH": f"{workshop.programs}:{os.environ['PATH']}",
            "LOG": str(tmp_path / "log"),
            "FAILS": fails,
            "TMPDIR": str(tmp_path),
        }
        return subprocess.run(
            ["bash", script],
            cwd="/",
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run_ci


def test_ci_checks_tests_and_runs_the_quickstart(run, workshop):
    done = run(CI_SLOW="0")
    assert done.returncode == 0, done.stderr
    targets = [line.split()[0] for line in workshop.log.splitlines()]
    assert targets[:3] == ["setup", "check", "test"]
    assert targets[3:] == ["hpo-run", "hpo-run", "hpo-status", "hpo-export", "hpo-report"]
    durations = done.stdout.partition("== durations\n")[2].splitlines()
    assert len(durations) == len(targets) + 1


def test_ci_runs_the_slow_tests_when_there_is_time(run, workshop):
    assert run(CI_SLOW="1").returncode == 0
    assert "test-slow" in workshop.log.splitlines()


def test_ci_leaves_nothing_behind(run, tmp_path):
    run(CI_SLOW="0")
    virtual_environment = Path((tmp_path / "log.venv").read_text().strip())
    assert virtual_environment.is_relative_to(tmp_path)
    assert not virtual_environment.parent.exists()


@pytest.mark.parametrize("target", ["check", "test", "hpo-run", "hpo-report"])
def test_ci_fails_with_the_first_step_that_fails(run, workshop, target):
    assert run(fails=target, CI_SLOW="0").returncode != 0
    assert workshop.log.splitlines()[-1].split()[0] == target


def test_ci_uses_a_database_and_a_volume_of_its_own(run, tmp_path):
    run(CI_SLOW="0", ATFT_HPO_STORAGE="postgresql://theirs", ATFT_HPO_VOLUME="/theirs")
    storage, volume = (tmp_path / "log.storage").read_text().split()
    assert storage == "none"
    assert Path(volume).is_relative_to(tmp_path)
