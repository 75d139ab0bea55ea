import re
import subprocess
import sys

import pytest

from atft_hpo import __version__

COMMANDS = [
    "", "run", "worker", "resume", "status", "stop", "cancel", "export", "report", "dashboard",
    "train", "predict", "backtest", "evaluate", "explain", "study", "study check", "study schema",
    "panel", "panel build", "panel features", "panel synth", "panel describe",
    "storage", "storage init",
]  # fmt: skip
HEAVY = ("torch", "optuna", "sqlalchemy", "polars", "numpy", "plotly", "pyarrow", "matplotlib")
PROBE = f"""
import sys
from atft_hpo.cli import main
failures = []
for command in {COMMANDS!r}:
    sys.argv = ["atft-hpo", *command.split(), "--help"]
    try:
        main()
    except SystemExit as end:
        failures += [command] if end.code else []
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print("failures:", failures, "heavy:", heavy, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def helped() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=120
    )


def test_every_help_page_imports_nothing_heavy(helped: subprocess.CompletedProcess[str]) -> None:
    assert helped.stderr == "failures: [] heavy: []\n"


def test_every_command_has_a_help_page_that_says_what_it_does(
    helped: subprocess.CompletedProcess[str],
) -> None:
    pages = helped.stdout.split("Usage: ")[1:]
    assert len(pages) == len(COMMANDS)
    assert all(re.match(r"\S*atft[-_]hpo\s|\S+ -m atft_hpo\s", page) for page in pages)
    for command, page in zip(COMMANDS, pages, strict=True):
        first_words = page.split("\n\n")[1].strip()
        assert len(first_words) > 10, command


def test_list_of_commands_is_not_cut_off(helped: subprocess.CompletedProcess[str]) -> None:
    assert "..." not in helped.stdout.split("Usage: ")[1].partition("Commands:")[2]


def test_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "atft_hpo", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"atft-hpo {__version__}\n"
