"""What benchmarks keep is computed again when a package that decides it has changed."""

import re
from pathlib import Path

import atft_hpo
from bench.measuring.program import TRAINING, program_sha256


def test_all_that_training_imports_decides() -> None:
    root = Path(str(atft_hpo.__file__)).parent
    imported = {
        name
        for package in TRAINING
        for file in (root / package).rglob("*.py")
        for name in re.findall(r"^\s*from atft_hpo\.(\w+)", file.read_text("utf-8"), re.MULTILINE)
        if (root / name).is_dir()
    }
    assert imported == set(TRAINING)


def test_packages_have_hashes_of_their_own() -> None:
    found = {program_sha256((package,)) for package in TRAINING} | {program_sha256(TRAINING)}
    assert len(found) == len(TRAINING) + 1
