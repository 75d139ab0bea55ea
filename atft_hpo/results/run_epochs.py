"""Walking through a run's epochs: by phase, the one whose weights were kept, a metric over them.

Takes `EpochReport`s of a run and `EpochRecord`s of the database alike. Which epoch is best is
decided by `training.phases.objective`, so that a report names the epoch that the checkpoint holds.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

import numpy as np

from atft_hpo.config.search_schema import ObjectiveConfig
from atft_hpo.training.phases.objective import best_epoch


class Epoch(Protocol):
    """What an EpochReport and an EpochRecord have in common."""

    @property
    def phase(self) -> int: ...
    @property
    def phase_name(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def metrics(self) -> dict[str, float]: ...
    @property
    def train(self) -> dict[str, float]: ...


E = TypeVar("E", bound=Epoch)


def by_phase(epochs: Sequence[E]) -> list[list[E]]:
    """The epochs of each phase, in order; phases without epochs are left out."""
    return [list(rows) for _, rows in groupby(epochs, key=lambda e: e.phase)]


def kept_epoch(epochs: Sequence[E], planned: int, objective: ObjectiveConfig) -> E:
    """The epoch of one phase whose weights count: the end of its best full window.

    `epochs` (at least one) are those of the phase so far, `planned` what it takes at most. While
    no window is full it is the latest.
    """
    found = best_epoch([e.value for e in epochs], planned, objective)
    return epochs[-1 if found is None else found]


def values(epochs: Sequence[E], metric: str) -> list[float]:
    """A validation metric over epochs, where it was recorded and is finite."""
    return _finite([e.metrics for e in epochs], metric)


def train_values(epochs: Sequence[E], fact: str) -> list[float]:
    """A training fact over epochs, where it was recorded and is finite."""
    return _finite([e.train for e in epochs], fact)


def gradient_norms(epochs: Sequence[E]) -> dict[str, float]:
    """Mean gradient norm per loss term over epochs, for the terms that were recorded."""
    prefix = "grad_norm_"
    names = sorted({key for e in epochs for key in e.train if key.startswith(prefix)})
    found = {name.removeprefix(prefix): train_values(epochs, name) for name in names}
    return {term: float(np.mean(norms)) for term, norms in found.items() if norms}


def _finite(rows: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [row[name] for row in rows if name in row and np.isfinite(row[name])]
