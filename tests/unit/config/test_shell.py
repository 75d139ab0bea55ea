"""Commands as a shell where this process was started can run them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from atft_hpo.config import shell
from atft_hpo.config.settings import STORAGE_VARIABLE, VOLUME_VARIABLE, variables_to_repeat
from atft_hpo.config.shell import program, shell_command, withheld

URL = "postgresql://atft@db.example:5432/atft"
Started = Callable[..., Path]


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory of its own, nothing of ours on the path or in the environment."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", str(tmp_path / "absent"))
    for name in (STORAGE_VARIABLE, VOLUME_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """started(argv0, interpreter=…) → this process was started so; both files are there."""

    def start(argv0: str, interpreter: str | None = None) -> Path:
        script = Path(argv0)
        python = Path(interpreter) if interpreter else script.with_name("python")
        for file in (script, python):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            file.chmod(0o755)
        monkeypatch.setattr(sys, "argv", [argv0])
        monkeypatch.setattr(sys, "executable", str(python.absolute()))
        return script

    return start


def test_below_the_current_directory(started: Started) -> None:
    started(".venv/bin/atft-hpo")
    line = shell_command("export", "quickstart", "--out", "best.toml")
    assert line == ".venv/bin/atft-hpo export quickstart --out best.toml"


def test_its_full_path_is_shortened_too(started: Started) -> None:
    started(str(Path.cwd() / ".venv/bin/atft-hpo"))
    assert program() == ".venv/bin/atft-hpo"


def test_in_the_current_directory_itself(started: Started) -> None:
    started(str(Path.cwd() / "atft-hpo"))
    assert program() == "./atft-hpo"


def test_below_the_root_of_all_in_full(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    script = started(str(Path.cwd() / ".venv/bin/atft-hpo"))
    monkeypatch.chdir("/")
    assert program() == str(script)


@pytest.mark.parametrize("argv0", ["../venv/bin/atft-hpo", "sub/../../venv/bin/atft-hpo"])
def test_elsewhere_in_full(started: Started, tmp_path: Path, argv0: str) -> None:
    Path("sub").mkdir()
    started(argv0)
    assert program() == f"{tmp_path}/venv/bin/atft-hpo"


def test_a_linked_environment_keeps_its_name(started: Started, tmp_path: Path) -> None:
    started(str(tmp_path / "envs" / "bin" / "atft-hpo"))
    Path(".venv").symlink_to(tmp_path / "envs")
    started(".venv/bin/atft-hpo")
    assert program() == ".venv/bin/atft-hpo"


def test_by_name_where_the_path_leads_to_it(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(str(tmp_path / "venv/bin/atft-hpo"))
    monkeypatch.setenv("PATH", str(tmp_path / "venv/bin"))
    assert program() == "atft-hpo"
    links = tmp_path / "links"
    links.mkdir()
    (links / "atft-hpo").symlink_to(tmp_path / "venv/bin/atft-hpo")
    monkeypatch.setenv("PATH", str(links))
    assert program() == "atft-hpo", "a link to it is it"


def test_not_by_name_where_the_path_leads_to_another(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(str(tmp_path / "other/atft-hpo"))
    started(".venv/bin/atft-hpo")
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert program() == ".venv/bin/atft-hpo"


def test_as_a_module(started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = str(tmp_path / "source" / "atft_hpo" / "__main__.py")
    started(package, interpreter=".venv/bin/python")
    assert shell_command("status") == ".venv/bin/python -m atft_hpo status"
    monkeypatch.setenv("PATH", str(Path(".venv/bin").absolute()))
    assert program() == "python -m atft_hpo"


def test_an_interpreter_is_known_by_its_directory(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment's python is a link to the one it was made with, but not that one."""
    base = started(str(tmp_path / "usr/bin/python3"), interpreter=str(tmp_path / "usr/bin/python3"))
    link = tmp_path / "venv/bin/python3"
    link.parent.mkdir(parents=True)
    link.symlink_to(base)
    started(str(tmp_path / "source/atft_hpo/__main__.py"), interpreter=str(link))
    monkeypatch.setenv("PATH", str(tmp_path / "usr/bin"))
    assert program() == f"{link} -m atft_hpo"


@pytest.mark.parametrize("argv0", ["-c", "", "/x/pytest/__main__.py", "atft-hpo"])
def test_imported_it_is_the_script_beside_the_interpreter(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv0: str
) -> None:
    script = started(".venv/bin/atft-hpo")
    monkeypatch.setattr(sys, "argv", [argv0])
    assert program() == ".venv/bin/atft-hpo"
    script.unlink()
    assert program() == ".venv/bin/python -m atft_hpo"


def test_words_are_quoted_for_a_shell(started: Started) -> None:
    started("my tools/bin/atft-hpo")
    line = shell_command("train", "a b's.toml")
    assert line == """'my tools/bin/atft-hpo' train 'a b'"'"'s.toml'"""


def test_what_was_asked_for_is_repeated(started: Started) -> None:
    started(".venv/bin/atft-hpo")
    line = shell_command("resume", "race", device="cpu", workers=2)
    assert line == ".venv/bin/atft-hpo resume race --workers 2 --device cpu"
    assert shell_command("resume", "race") == ".venv/bin/atft-hpo resume race"


def test_a_volume_and_a_database_of_its_own_are_said(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(".venv/bin/atft-hpo")
    monkeypatch.setenv(VOLUME_VARIABLE, str(tmp_path / "a volume"))
    monkeypatch.setenv(STORAGE_VARIABLE, URL)
    volume = f"ATFT_HPO_VOLUME='{tmp_path}/a volume'"
    run = ".venv/bin/atft-hpo"
    assert shell_command("status") == f"ATFT_HPO_STORAGE={URL} {volume} {run} status"
    assert shell_command("train", "x.toml") == f"{volume} {run} train x.toml"
    assert shell_command("study", "schema") == f"{run} study schema"
    monkeypatch.setenv(VOLUME_VARIABLE, "data/volume")
    assert shell_command("train", "x.toml") == f"ATFT_HPO_VOLUME=data/volume {run} train x.toml"
    monkeypatch.setenv(VOLUME_VARIABLE, "data")
    assert shell_command("train", "x.toml") == f"ATFT_HPO_VOLUME=data {run} train x.toml"
    for default in (str(Path("volume").absolute()), "../here/volume"):
        monkeypatch.setenv(VOLUME_VARIABLE, default)  # the shell may have exported another one
        assert shell_command("train", "x.toml") == f"ATFT_HPO_VOLUME=volume {run} train x.toml"
    monkeypatch.delenv(VOLUME_VARIABLE)
    assert shell_command("train", "x.toml") == f"{run} train x.toml"


def test_a_directory_that_was_removed_is_no_obstacle(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(".venv/bin/atft-hpo")
    program = Path(sys.argv[0]).resolve()
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv(VOLUME_VARIABLE, "/volume")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert shell_command("status") == f"ATFT_HPO_VOLUME=/volume {program} status"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pw@host/db", "postgresql://me:p@w@host/db", "postgresql://me:p/w@host/db",
        "postgresql://host/db?user=me&password=pw", "postgresql://host/db?sslpassword=pw",
    ],
)  # fmt: skip
def test_a_password_is_never_printed(
    started: Started, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    started(".venv/bin/atft-hpo")
    monkeypatch.setenv(STORAGE_VARIABLE, url)
    assert shell_command("status") == ".venv/bin/atft-hpo status"
    assert withheld() == " (with ATFT_HPO_STORAGE set as it is here; it holds a password)"
    assert variables_to_repeat() == {STORAGE_VARIABLE: None}


def test_without_a_password_nothing_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    assert withheld() == ""
    for url in (URL, "postgresql://postgres@/db?host=/tmp/x"):
        monkeypatch.setenv(STORAGE_VARIABLE, url)
        assert withheld() == ""
        assert variables_to_repeat() == {STORAGE_VARIABLE: url}


def test_what_every_process_of_a_container_has_is_not_repeated(tmp_path: Path) -> None:
    first = tmp_path / "environ"
    first.write_bytes(f"PATH=/bin\0ATFT_HPO_VOLUME=/volume\0{STORAGE_VARIABLE}={URL}\0x\0".encode())
    same = {VOLUME_VARIABLE: "/volume", STORAGE_VARIABLE: URL}
    assert variables_to_repeat(same, first) == {}
    other = {VOLUME_VARIABLE: "/other", STORAGE_VARIABLE: URL + "2"}
    assert variables_to_repeat(other, first) == {**other, STORAGE_VARIABLE: URL + "2"}
    assert variables_to_repeat(same, tmp_path / "unreadable") == same


def test_every_command_is_known_to_need_a_database_or_not() -> None:
    """A new command has to be sorted in."""
    from atft_hpo.cli.app import app

    names = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    files_only = {"train", "predict", "backtest", "evaluate", "explain"}
    assert names == files_only | shell._WITH_DATABASE
