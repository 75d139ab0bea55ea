"""A program that fails, hangs or says nothing is an outcome like any other."""

import json
from pathlib import Path

import pytest
import typer

from bench import suite
from bench.cpu_set import parts
from bench.cpu_set.parts import Part, failure, run_part

GOOD = """
import json, pathlib, sys
print("working", sys.argv[1])
pathlib.Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps({"found": 3}))
"""
PROGRAMS = {
    "good": GOOD,
    "bad": "print('so far')\nraise ValueError('no panel')\n",
    "silent": "",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "late": GOOD + "raise SystemExit('only afterwards')\n",
    "slow": "import time\ntime.sleep(60)\n",
}


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    """Programs by name; they are run in place of the benchmarks."""
    for name, text in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(parts, "ROOT", tmp_path)
    return {name: Part("a title", name, ("--few",)) for name in PROGRAMS}


def test_a_program_gets_its_options_and_its_json_is_read(
    part: dict[str, Part], tmp_path: Path
) -> None:
    outcome = run_part(part["good"], tmp_path)
    assert outcome.result == {"found": 3}
    assert outcome.error == ""
    assert outcome.output == "working --few\n"
    assert outcome.part.command == "python -m good --few"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("bad", "ValueError: no panel"),
        ("silent", "wrote no result"),
        ("killed", "ended by signal 9"),
        ("late", "only afterwards"),
    ],
)
def test_a_failure_has_no_result(
    name: str, error: str, part: dict[str, Part], tmp_path: Path
) -> None:
    outcome = run_part(part[name], tmp_path)
    assert outcome.result is None
    assert outcome.error == error


def test_a_program_that_hangs_is_ended(part: dict[str, Part], tmp_path: Path) -> None:
    outcome = run_part(part["slow"], tmp_path, longest_seconds=0.2)
    assert outcome.result is None
    assert outcome.error == "not done after 0 s"


def test_a_failure_without_words_tells_its_status() -> None:
    assert failure(3, " \n") == "exit status 3"
    assert failure(0, "done") == ""


def test_the_suite_goes_on_and_tells_at_the_end(
    part: dict[str, Part], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "PARTS", part)
    outcomes = suite.run_all(["bad", "good"])
    assert [bool(outcome.error) for outcome in outcomes.values()] == [True, False]


def test_a_failed_part_is_the_exit_status(
    part: dict[str, Part], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "PARTS", {"search": part["bad"]})
    with pytest.raises(SystemExit, match="1"):
        suite.main("search", tmp_path / "out")
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["parts"]["search"]["error"] == "ValueError: no panel"
    assert "failed: ValueError: no panel" in (tmp_path / "out" / "table.md").read_text()


def test_parts_are_chosen_by_name_in_their_order() -> None:
    assert suite.chosen("search,step") == ["step", "search"]
    with pytest.raises(typer.BadParameter, match=r"gpu: expected some of step"):
        suite.chosen("step,gpu")
