"""Hash of the program text that what a benchmark keeps depends on: other text, computed again."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import atft_hpo

TRAINING: Final = ("config", "data", "evaluation", "model", "training")
"""Packages that decide what a training comes to: `training`, and all that it imports."""


@cache
def program_sha256(packages: tuple[str, ...]) -> str:
    """Of the sources in these packages of the product."""
    root = Path(str(atft_hpo.__file__)).parent
    digest = hashlib.sha256()
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
