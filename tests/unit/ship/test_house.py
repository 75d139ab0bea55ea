"""The layout that docs/design.md draws: folders that one can survey, and names that exist."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = sorted(
    folder
    for top in ("atft_hpo", "bench")
    for folder in (ROOT / top, *(ROOT / top).rglob("*"))
    if folder.is_dir() and (folder / "__init__.py").is_file()
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHARED_NAMES = {"explain", "market", "panel", "ranks", "terminal"}
"""File names of the package that stand in two folders, each of which makes them unmistakable."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def files_of(folder: Path) -> list[str]:
    return [file.stem for file in folder.glob("*.py") if file.stem != "__init__"]


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_a_folder_has_three_to_twelve_files(folder: Path) -> None:
    has_folders = any(folder in other.parents for other in FOLDERS)
    assert (0 if has_folders else 3) <= len(files_of(folder)) <= 12


def test_a_file_name_stands_once_unless_its_folder_makes_it_unmistakable() -> None:
    package = [folder for folder in FOLDERS if ROOT / "atft_hpo" in (folder, *folder.parents)]
    counts = Counter(name for folder in package for name in files_of(folder))
    assert {name for name, count in counts.items() if count > 1} == SHARED_NAMES


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_pages_name_exist(page: Path) -> None:
    here = [f"/{file.relative_to(ROOT)}" for top in ("atft_hpo", "bench", "tests", "docker")
            for file in (ROOT / top).rglob("*.py")]  # fmt: skip
    wanted = re.findall(r"[`( ]((?:\w+/)*\w+\.py)\b", page.read_text(encoding="utf-8"))
    assert [name for name in wanted if not any(file.endswith(f"/{name}") for file in here)] == []


def test_folders_that_the_design_names_exist() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    here = [f"/{folder.relative_to(ROOT)}/" for folder in FOLDERS]
    wanted = re.findall(r"`((?:[a-z_]+/)+)`", text)
    assert wanted
    assert [name for name in wanted if not any(at.endswith(f"/{name}") for at in here)] == []
