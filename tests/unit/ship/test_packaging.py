"""Dependencies are pinned and installed as pinned; metadata, hooks and CI call the same tools."""

import importlib.metadata
import os
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# Platforms a user may have; the tests themselves run on one of them.
ENVIRONMENTS = [
    {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": platform}
    | {"platform_system": system, "platform_machine": "x86_64", "extra": ""}
    for python in ("3.11", "3.12", "3.13")
    for platform, system in (("linux", "Linux"), ("darwin", "Darwin"))
]


@cache
def pins(root: Path) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text().splitlines()
    entries = [line.split("==") for line in lines if not line.startswith("#")]
    assert all(len(entry) == 2 for entry in entries)
    return {canonicalize_name(name): version for name, version in entries}


def applies(marker: Marker | None, extras: frozenset[str], environment: dict[str, str]) -> bool:
    return marker is None or any(
        marker.evaluate(environment | {"extra": extra}) for extra in extras | {""}
    )


def pinned_by_torch(name: str) -> bool:
    """Whether only torch's CUDA build asks for it, which states exact versions."""
    return name.startswith(("nvidia-", "cuda-")) and name != "nvidia-ml-py"


def requirements_of(name: str) -> list[str]:
    """What an installed distribution asks for; nothing of one for another platform."""
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def needed(direct: Sequence[str], environment: dict[str, str]) -> set[str]:
    """Names of everything the direct requirements bring on a platform."""
    waiting, seen = list(map(Requirement, direct)), set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen or pinned_by_torch(name):
            continue
        seen.add((name, extras))
        brought = map(Requirement, requirements_of(name))
        waiting += [r for r in brought if applies(r.marker, extras, environment)]
    return {name for name, _ in seen}


@pytest.fixture
def direct(pyproject) -> list[str]:
    project = pyproject["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


@pytest.mark.parametrize(
    "environment", ENVIRONMENTS, ids=lambda e: f"{e['python_version']}-{e['sys_platform']}"
)
def test_everything_needed_is_pinned(root, direct, environment):
    assert needed(direct, environment) - pins(root).keys() == set()


def test_nothing_is_pinned_that_nothing_needs(root, direct):
    anywhere = set().union(*(needed(direct, environment) for environment in ENVIRONMENTS))
    assert pins(root).keys() - anywhere == set()


def test_what_is_installed_is_what_is_pinned(root, direct):
    versions = {
        name: Version(importlib.metadata.version(name)).public
        for name in needed(direct, ENVIRONMENTS[0]) & pins(root).keys()
    }
    assert versions == {name: pins(root)[name] for name in versions}


def test_the_torch_pin_fits_cpu_and_cuda_builds(root):
    assert Version(pins(root)["torch"]).local is None


def test_pins_satisfy_the_lower_bounds(root, direct):
    for text in direct:
        requirement = Requirement(text)
        assert pins(root)[canonicalize_name(requirement.name)] in requirement.specifier, text


def test_every_direct_dependency_is_explained(root, direct):
    rows = re.findall(r"^\| ([a-z0-9-]+) \| \S", (root / "docs/dependencies.md").read_text(), re.M)
    assert set(rows) - {"package", "---"} == {Requirement(text).name for text in direct}


def test_hooks_run_the_pinned_tools(root):
    (repository,) = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    checks = (root / "Makefile").read_text()
    for hook in repository["hooks"]:
        tool = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert f"$(VENV)/bin/{tool}" in checks


def test_ci_runs_what_the_readme_says(root):
    script = root / ".ci/run"
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)
    text = script.read_text()
    for command in (
        "make check",
        "make test",
        "make hpo-run",
        "make hpo-status",
        "make hpo-export",
    ):
        assert f"step {command}" in text
    targets = set(re.findall(r"\bmake ([a-z-]+)", text)) - {"and"}
    makefile = (root / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in targets)
    assert "make hpo-run HPO_TRIALS=" in (root / "README.md").read_text()


def test_the_license_text_is_the_declared_license(root, pyproject):
    assert pyproject["project"]["license"] == "Apache-2.0"
    assert (
        "Apache License\n                           Version 2.0" in (root / "LICENSE").read_text()
    )


def test_the_changelog_starts_with_unreleased(root):
    headings = re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_files_beside_the_code_are_part_of_the_package(root, pyproject):
    declared = {
        path
        for package, patterns in pyproject["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in (root / package.replace(".", "/")).glob(pattern)
    }
    present = {path for path in (root / "atft_hpo").rglob("*") if path.is_file()}
    assert {path for path in present if path.suffix not in (".py", ".pyc")} == declared
