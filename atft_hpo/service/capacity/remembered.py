"""The layout of a study's trials on this machine: measured once, kept in the volume.

    chosen = kept_layout(volume, study, gpus, cores, measurement(study, gpus, cores, probe))

Measured is where nothing is said: on a CPU how the cores are divided among trials, unless the study
has runtime.threads; on GPUs how many trials share one, which is measured on the first and holds for
all. What was measured is kept by study, panel and machine, so that the next session, and another
agent of this machine, work alike: on a CPU the number of threads shapes the bits.
"""

import hashlib
import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

import atft_hpo
from atft_hpo.files import write_atomically
from atft_hpo.paths import Volume
from atft_hpo.service.capacity.density import (
    Chosen,
    Layout,
    Measured,
    SideBySide,
    cpu_split,
    gpu_density,
)
from atft_hpo.service.studies.study import OpenStudy

_SHAPING = {"model", "data", "slices", "graph", "loss", "optim", "portfolio", "phases", "runtime"}
"""Sections of a configuration on which the cost of a step may depend."""


def kept_layout(
    volume: Volume,
    study: OpenStudy,
    gpus: tuple[str, ...],
    cores: int,
    measure: Callable[[], Chosen],
) -> Chosen:
    """What was measured of this study on this machine before; else `measure()`, which is kept.

    Agents of one machine that ask at the same time measure once.

    Raises:
        ProbeFailedError: see `measure`.
        VolumeError: the volume cannot be written.
    """
    path = volume.probe(_digest(study, gpus, cores))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        found = _read(path)
        if found is None:
            found = measure()
            write_atomically(path, json.dumps(asdict(found), indent=2).encode())
        return found


def measurement(
    study: OpenStudy, gpus: tuple[str, ...], cores: int, probe: SideBySide
) -> Callable[[], Chosen]:
    """What is to be measured here: a division of the cores, or how many trials share a GPU.

    A GPU's trials get their part of the cores, or runtime.threads.
    """
    threads = study.config.runtime.threads
    if not gpus:
        return lambda: cpu_split(cores, probe)
    return lambda: gpu_density(lambda n: threads or max(1, cores // (n * len(gpus))), probe)


def _digest(study: OpenStudy, gpus: tuple[str, ...], cores: int) -> str:
    content = {
        "config": study.config.model_dump(mode="json", include=_SHAPING),
        "panel": study.panel_fingerprint,
        "machine": [platform.node(), cores, *gpus],
        "version": atft_hpo.__version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Chosen | None:
    """None where there is none, or an unreadable one: it is measured again."""
    try:
        content = json.loads(path.read_bytes())
        tried = (
            Measured(**{**measured, "layout": Layout(**measured["layout"])})
            for measured in content["tried"]
        )
        return Chosen(Layout(**content["layout"]), tuple(tried))
    except (OSError, ValueError, KeyError, TypeError):
        return None
