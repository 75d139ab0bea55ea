"""The Makefile: its targets, the commands they run, what they install, and Ctrl-C."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

TARGETS = {
    "help", "setup", "check", "test", "test-slow", "bench", "clean", "image-test",
    "hpo-run", "hpo-resume", "hpo-status", "hpo-export", "hpo-stop", "hpo-dashboard", "hpo-report",
}  # fmt: skip
ECHO = 'echo atft-hpo "$@"\n'
PYTHON = """
case "$1" in
  -c) exit 0 ;;
  --version) echo Python 3.11.9 ;;
esac
if [ "$2" = venv ]; then
  for last in "$@"; do :; done
  mkdir -p "$last/bin"
  echo "venv" >> log
  printf '#!/bin/sh\\n[ "$3" = --version ] || echo "$@" >> log\\n' > "$last/bin/python"
  chmod +x "$last/bin/python"
fi
"""


def test_every_target_is_listed_by_help_which_is_the_default(workshop):
    listed = re.findall(r"^  ([a-z-]+) +\S", workshop.make().stdout, re.MULTILINE)
    assert set(listed) == TARGETS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["hpo-run"], "run studies/quickstart.toml --trials 20"),
        (
            ["hpo-run", "HPO_TRIALS=3", "HPO_STUDY=studies/x.toml", "HPO_WORKERS=2"],
            "run studies/x.toml --trials 3 --workers 2",
        ),
        (
            ["hpo-run", "HPO_DATA=a b.parquet"],
            "run studies/quickstart.toml --trials 20 --data a b.parquet",
        ),
        (["hpo-resume"], "resume studies/quickstart.toml"),
        (["hpo-status"], "status studies/quickstart.toml"),
        (["hpo-export", "HPO_OUT=b.toml"], "export studies/quickstart.toml --out b.toml"),
        (["hpo-stop"], "stop studies/quickstart.toml"),
        (["hpo-dashboard", "HPO_PORT=9"], "dashboard --port 9"),
        (["hpo-report"], "report studies/quickstart.toml"),
    ],
)
def test_a_search_target_runs_its_command(installed, arguments, expected):
    done = installed(ECHO).make(*arguments)
    assert done.stdout == f"atft-hpo {expected}\n"
    assert done.returncode == 0


def test_a_failing_command_fails_the_target(installed):
    assert installed("exit 5").make("hpo-status").returncode != 0


def test_the_first_python_that_runs_makes_the_environment(workshop):
    workshop.program("stub", "exit 127")
    workshop.program("good", PYTHON)
    done = workshop.make("hpo-run", "PYTHON=absent stub good", "HPO_TRIALS=1")
    assert "making .venv with good, Python 3.11.9" in done.stdout
    assert workshop.log.splitlines() == [
        "venv",
        "-m pip install --disable-pip-version-check -c constraints.txt -e .",
    ]


def test_nothing_is_installed_twice_until_a_pin_changes(workshop):
    workshop.program("good", PYTHON)
    workshop.make("setup", "PYTHON=good")
    assert workshop.log.count("install") == 1
    assert workshop.log.count("-e .[dev]") == 1
    workshop.make("setup", "PYTHON=good")
    workshop.make("hpo-status", "PYTHON=good")  # the development environment holds the runtime's
    assert workshop.log.count("install") == 1
    later = time.time() + 5
    os.utime(workshop.root / "constraints.txt", (later, later))
    workshop.make("setup", "PYTHON=good")
    assert workshop.log.count("install") == 2
    assert workshop.log.count("venv") == 1


def test_without_a_python_the_error_says_what_to_do(workshop):
    done = workshop.make("setup", "PYTHON=absent")
    assert done.returncode != 0
    assert "error: no Python 3.11 or newer with venv and ensurepip among: absent" in done.stderr
    assert "make setup PYTHON=" in done.stderr
    assert not (workshop.root / ".venv").exists()


def test_an_interrupted_installation_is_done_again(workshop):
    workshop.program(
        "good", PYTHON.replace('|| echo "$@" >> log', '|| { echo "$@" >> log; exit 1; }')
    )
    assert workshop.make("setup", "PYTHON=good").returncode != 0
    assert workshop.make("setup", "PYTHON=good").returncode != 0
    assert workshop.log.count("install") == 2


def test_ctrl_c_reaches_the_search_and_make_waits_for_it(installed: Callable, tmp_path: Path):
    workshop = installed(
        "trap 'sleep 0.3; echo saved; exit 0' INT\n: > ready\nwhile :; do sleep 0.05; done\n"
    )
    process = subprocess.Popen(
        ["make", "hpo-run"],
        cwd=workshop.root,
        env=workshop.environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while not (tmp_path / "ready").exists():
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate()[0] == "saved\n"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
