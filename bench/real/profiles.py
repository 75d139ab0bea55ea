"""How much is computed: `quick` a look, `cpu` for two cores, `gpu` all there is."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Profile:
    """What a run may spend."""

    folds: int
    """Walk-forward folds."""
    seeds: int
    """Members of each seed ensemble."""
    features: int | None
    """First so many of the product's features; all when None."""
    net_steps: int
    """Optimiser steps of the baseline nets, slices of 20 days each."""
    max_rounds: int
    """Trees of LightGBM at most; early stopping takes fewer."""
    workers: int
    """Processes at a time."""
    threads: int
    """Of each process. One on a CPU: threads that wait for one another wait long on busy cores."""


PROFILES: Final = {
    "quick": Profile(
        folds=2, seeds=1, features=32, net_steps=60, max_rounds=150, workers=2, threads=1
    ),
    "cpu": Profile(
        folds=4, seeds=2, features=96, net_steps=200, max_rounds=300, workers=2, threads=1
    ),
    "gpu": Profile(
        folds=6, seeds=8, features=None, net_steps=400, max_rounds=600, workers=4, threads=4
    ),
}
