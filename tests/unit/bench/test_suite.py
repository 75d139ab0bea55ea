"""A part that fails is told, and the others go on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bench import suite
from bench.cpu_set.parts import Part

ROOT = Path(__file__).parents[3]


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


@pytest.mark.parametrize("program", [("-m", "bench.suite"), ("bench/suite.py",)], ids=" ".join)
def test_it_runs_as_a_module_and_by_its_path(program: tuple[str, ...]) -> None:
    command = [sys.executable, *program, "--parts", "gpu"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert "expected some of step" in " ".join(done.stderr.split()), done.stderr
