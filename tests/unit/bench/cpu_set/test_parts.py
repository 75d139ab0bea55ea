"""A program that fails, hangs or says nothing is an outcome like any other."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.cpu_set.parts import PARTS, Part, failure, run_part


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


@pytest.mark.parametrize("name", PARTS)
def test_a_part_names_a_program(name: str) -> None:
    found = find_spec(PARTS[name].program)
    assert found is not None
    if found.submodule_search_locations is not None:  # a package is run by its __main__
        assert find_spec(f"{PARTS[name].program}.__main__") is not None
