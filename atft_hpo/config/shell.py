"""Commands of this program as a person can paste them, where this process was started.

    shell_command("export", "quickstart", "--out", "best.toml")

        atft-hpo export …                          when that name on the PATH is this program
        .venv/bin/atft-hpo export …                below the current directory, as `make` starts it
        /opt/tool/bin/atft-hpo export …            elsewhere
        .venv/bin/python -m atft_hpo export …      started so
        ATFT_HPO_VOLUME=/data atft-hpo export …    with a volume that another shell may not know of

Every command line that a message suggests is written here. What is kept for other machines to read
(files, rows of the database) names a command without saying how this machine calls it.
"""

import shlex
import shutil
import sys
from pathlib import Path

from atft_hpo.config.settings import VOLUME_VARIABLE, Device, variables_to_repeat

PROGRAM = "atft-hpo"
MODULE = "atft_hpo"
_WITHOUT_VOLUME = frozenset({"study"})
_WITH_DATABASE = frozenset(
    ("run", "worker", "resume", "status", "stop", "cancel", "export", "report", "dashboard")
)


def shell_command(*arguments: str, device: Device = "auto", workers: int | None = None) -> str:
    """A line for the shell that runs this program with `arguments`.

    Args:
        arguments: the command and what it is given; placeholders such as STUDY.toml are fine.
        device: as it was asked for, for commands that have `--device`.
        workers: as asked for, for commands that have `--workers`.
    """
    options = ["--workers", str(workers)] if workers else []
    options += ["--device", device] if device != "auto" else []
    words = [*_variables(arguments[0]), program()]
    return " ".join([*words, *map(shlex.quote, [*arguments, *options])])


def program() -> str:
    """What calls this program from the current directory, quoted for a shell."""
    started, interpreter = Path(sys.argv[0]), Path(sys.executable)
    if started.name == "__main__.py" and started.parent.name == MODULE:
        return _module(interpreter)
    if started.name != PROGRAM or not started.is_file():  # imported, not started as a command
        started = interpreter.with_name(PROGRAM)
    if not started.is_file():
        return _module(interpreter)
    found = shutil.which(PROGRAM)
    return PROGRAM if found and started.samefile(found) else _called(started)


def withheld() -> str:
    """Words about a variable that commands need and that is not printed; "" when there is none."""
    names = [name for name, text in variables_to_repeat().items() if text is None]
    return f" (with {names[0]} set as it is here; it holds a password)" if names else ""


def _module(interpreter: Path) -> str:
    found = shutil.which(interpreter.name)
    # An interpreter's environment is told by the directory it is called in, not by its own file.
    is_found = found is not None and Path(found).parent.samefile(interpreter.parent)
    return f"{interpreter.name if is_found else _called(interpreter)} -m {MODULE}"


def _called(file: Path) -> str:
    """A path that a shell does not look for on the PATH."""
    path = _nearby(file)
    return shlex.quote(path if "/" in path else f"./{path}")


def _variables(command: str) -> list[str]:
    if command in _WITHOUT_VOLUME:
        return []
    known = variables_to_repeat()
    if command not in _WITH_DATABASE:
        known = {name: text for name, text in known.items() if name == VOLUME_VARIABLE}
    if volume := known.get(VOLUME_VARIABLE):
        known[VOLUME_VARIABLE] = _nearby(Path(volume))
    return [f"{name}={shlex.quote(text)}" for name, text in known.items() if text is not None]


def _nearby(path: Path) -> str:
    """`path` from the current directory when it lies below, else in full."""
    try:
        here = Path.cwd()
        real = path.parent.resolve() / path.name
    except FileNotFoundError:  # somebody has removed the directory that we are in
        return str(path)
    for full in (here / path, real):
        if ".." not in full.parts and full.is_relative_to(here) and here.name:
            return str(full.relative_to(here))
    return str(real)
