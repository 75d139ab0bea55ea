"""The environment: where the database and the volume are, and which device. Read here only.

ATFT_HPO_STORAGE   Postgres URL; an embedded server in the volume when absent
ATFT_HPO_VOLUME    root of the shared volume (default: ./volume)
ATFT_HPO_DEVICE    "cpu", "cuda" or "auto" (default): CUDA when there is one

CUDA_VISIBLE_DEVICES, CUDA's own, is respected when GPUs are shared out among trials.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from atft_hpo.errors import ConfigError
from atft_hpo.paths import Volume

Device = Literal["auto", "cpu", "cuda"]
STORAGE_VARIABLE = "ATFT_HPO_STORAGE"
VOLUME_VARIABLE = "ATFT_HPO_VOLUME"
DEVICE_VARIABLE = "ATFT_HPO_DEVICE"
_FIRST_PROCESS = Path("/proc/1/environ")


@dataclass(frozen=True)
class Settings:
    """What a machine is told through its environment. Never a hyperparameter."""

    storage_url: str | None = field(repr=False)
    """Postgres URL as given; None = embedded server."""
    volume: Volume
    device: Device
    visible_gpus: tuple[str, ...] | None = None
    """CUDA_VISIBLE_DEVICES; None = all."""


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the process environment (or the mapping given).

    Raises:
        ConfigError: ATFT_HPO_DEVICE has another value than auto, cpu, cuda.
    """
    env = os.environ if environment is None else environment
    device = env.get(DEVICE_VARIABLE) or "auto"
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"{DEVICE_VARIABLE} is {device!r}; expected auto, cpu or cuda")
    root = Path(env.get(VOLUME_VARIABLE) or "volume").expanduser().absolute()
    visible = env.get("CUDA_VISIBLE_DEVICES")
    gpus = None if visible is None else tuple(g.strip() for g in visible.split(",") if g.strip())
    return Settings(env.get(STORAGE_VARIABLE) or None, Volume(root), cast(Device, device), gpus)


def variables_to_repeat(
    environment: Mapping[str, str] | None = None, first_process: Path = _FIRST_PROCESS
) -> dict[str, str | None]:
    """Variables without which another shell would find another volume or database than this.

    Nobody can tell whether they were exported or given to this process alone. What the machine's
    first process has, every process has: in a container nothing needs repeating.

    Returns:
        By name; None stands for a database URL with a password, which is not to be printed.
    """
    env = os.environ if environment is None else environment
    everywhere = _environment_of(first_process)
    found: dict[str, str | None] = {}
    url, root = env.get(STORAGE_VARIABLE), env.get(VOLUME_VARIABLE)
    if url and url != everywhere.get(STORAGE_VARIABLE):
        found[STORAGE_VARIABLE] = None if re.search(r"//[^/]*:.*@|password", url) else url
    if root and root != everywhere.get(VOLUME_VARIABLE):
        found[VOLUME_VARIABLE] = str(Path(root).expanduser())
    return found


def child_environment(storage_url: str, settings: Settings) -> dict[str, str]:
    """Environment of a trial process: this one's, with the database and the volume spelled out.

    The URL travels in the environment, not in the arguments, where any user could read it.
    """
    return os.environ | {
        STORAGE_VARIABLE: storage_url,
        VOLUME_VARIABLE: str(settings.volume.root),
        DEVICE_VARIABLE: settings.device,
    }


@contextmanager
def environment_with(values: Mapping[str, str]) -> Iterator[None]:
    """`values` in this process's environment meanwhile, for what is started."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        replace_environment(before)


def replace_environment(values: Mapping[str, str]) -> None:
    """Let this process have exactly the environment `values`."""
    os.environ.clear()
    os.environ.update(values)


def _environment_of(process: Path) -> dict[str, str]:
    """What a process was started with; nothing where that is not ours to read."""
    try:
        pairs = process.read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(os.fsdecode(pair).partition("=")[::2] for pair in pairs if b"=" in pair)
