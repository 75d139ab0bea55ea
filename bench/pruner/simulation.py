"""A drawn study under a rule: who is ended, and what that saves and costs.

simulate(draw(World(), trials=40, seed=0), rules()["median"]()).used
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from atft_hpo.search.records import EpochRecord
from bench.pruner.rules import Rule
from bench.pruner.studies import Trials


@dataclass(frozen=True)
class Result:
    """What one pruner did to one study; `bench.pruner` says what the figures are."""

    used: float
    killed: float
    regret: float
    ended: float


def simulate(trials: Trials, rule: Rule, parallel: int = 4) -> Result:
    """Run the study under `rule`, `parallel` trials at a time, in lockstep."""
    waiting = list(range(len(trials.records)))
    running = [waiting.pop(0) for _ in range(min(parallel, len(waiting)))]
    done: dict[int, list[EpochRecord]] = {}
    ended: set[int] = set()
    while running:
        for trial in tuple(running):
            epochs = done.setdefault(trial, [])
            epochs.append(trials.records[trial][len(epochs)])
            if rule(trial, done):
                ended.add(trial)
            if trial in ended or len(epochs) == len(trials.records[trial]):
                running.remove(trial)
                running += [waiting.pop(0)] if waiting else []
    return _result(trials, done, ended)


def _result(trials: Trials, done: Mapping[int, Sequence[EpochRecord]], ended: set[int]) -> Result:
    count = len(trials.truth)
    best = np.argsort(-trials.truth)[: max(1, count // 10)]
    finished = [m for m in done if m not in ended]
    picked = max(finished, key=lambda m: done[m][-1].smoothed)
    return Result(
        used=sum(map(len, done.values())) / sum(map(len, trials.records)),
        killed=float(np.mean([m in ended for m in best])),
        regret=float(trials.truth.max() - trials.truth[picked]),
        ended=len(ended) / count,
    )
