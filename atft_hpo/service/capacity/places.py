"""What this machine can carry: where trials run, and how many at a time.

GPUs × 1, or cores / threads on the CPU, where nothing else is said or measured (`remembered`). GPUs
are counted by NVML without loading torch; the list in CUDA_VISIBLE_DEVICES is respected.
"""

import importlib.metadata
import os
from collections.abc import Collection, Iterable

from atft_hpo.config.settings import Settings
from atft_hpo.errors import ConfigError
from atft_hpo.service.process.launchers import Place


class Places:
    """The places of an agent, of which it may give up some while it works."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = list(places)

    def free(self, taken: Collection[Place]) -> list[Place]:
        """Those that are not among `taken`."""
        return [place for place in self._places if place not in taken]

    def count(self, gpu: str | None) -> int:
        """How many there are on a GPU, or on the CPU."""
        return sum(place.gpu == gpu for place in self._places)

    def give_up(self, place: Place, fewest: int) -> None:
        """Have one place fewer on its GPU, or on the CPU, unless only `fewest` are left there."""
        if place in self._places and self.count(place.gpu) > fewest:
            self._places.remove(place)


def plan_places(
    settings: Settings, threads: int | None, workers: int | None, gpus: tuple[str, ...], cores: int
) -> tuple[Place, ...]:
    """Places for trials: one per GPU, or as many CPU trials as `cores` feed; or `workers` of them.

    `threads` is runtime.threads; `gpus` are those that may be used.

    Raises:
        ConfigError: CUDA is asked for but there is none, or `workers` is below 1.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers is {workers}; expected at least 1")
    if settings.device == "cuda" and not gpus:
        raise ConfigError("device is cuda, but no CUDA GPU can be used here; use cpu or auto")
    usable = () if settings.device == "cpu" else gpus
    count = workers or len(usable) or max(1, cores // (threads or 1))
    share = threads or max(1, cores // count)
    return tuple(Place(i, usable[i % len(usable)] if usable else None, share) for i in range(count))


def machine_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_gpus(settings: Settings) -> tuple[str, ...]:
    """GPUs torch could use, as CUDA_VISIBLE_DEVICES names them; empty when torch has no CUDA."""
    if settings.device == "cpu" or importlib.metadata.version("torch").endswith("+cpu"):
        return ()
    if settings.visible_gpus is not None:
        return settings.visible_gpus
    return tuple(str(i) for i in range(_count_gpus()))


def _count_gpus() -> int:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
