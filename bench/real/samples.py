"""What every model learns from and forecasts: one panel, one label, one fold.

    task = Task(setup, fold, seed)
    x_RF, label_RQ, day_R = task.rows(fold.train)     # live cells, features as the panel has them
    table_DNQ = task.table(fold.days, score_RQ)       # rows back on the grid, NaN where dead

All models read `Task.panel` and `Task.labels`; none sees the raw returns. Shape legend as in
docs/shapes.md; R counts rows, one for each live cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.data.array_statistics.ranks import normal_scores
from atft_hpo.data.neutralization.loss_labels import loss_labels
from atft_hpo.data.sampling.splits import dated, leave_out_late_exits, scored_returns
from atft_hpo.data.store.panel import Panel
from bench.real.folds import Fold, split_for
from bench.real.profiles import Profile

Scores = NDArray[np.float32]


class Rows(NamedTuple):
    """The live cells of a range of days, day after day."""

    x_RF: NDArray[np.float32]
    label_RQ: NDArray[np.float32]
    """NaN where missing."""
    day_R: NDArray[np.int64]
    """Index of the day in the panel, ascending."""

    def of(self, days: range) -> "Rows":
        """Those of `days`: views, no copies."""
        first, stop = np.searchsorted(self.day_R, [days.start, days.stop])
        part = slice(first, stop)
        return Rows(self.x_RF[part], self.label_RQ[part], self.day_R[part])


@dataclass(frozen=True)
class Setup:
    """What all jobs of a run share; travels to their processes."""

    store: Path
    """The panel store."""
    config: Config
    """The study's, with the benchmark's data."""
    profile: Profile
    device: str


@dataclass(frozen=True)
class Task:
    """One model's work on one fold with one seed."""

    setup: Setup
    fold: Fold
    seed: int
    scratch: Path
    """Where a model may keep files of its own, also across interruptions."""
    shared: Path
    """Where models keep what they have in common."""

    @cached_property
    def panel(self) -> Panel:
        return Panel.open(self.setup.store)

    @cached_property
    def config(self) -> Config:
        """The study's configuration with this fold, as dates, and seed."""
        split = split_for(self.fold, len(self.panel.dates)).model_dump(mode="json")
        config = with_values(self.setup.config, {"split": split, "seed": self.seed})
        return dated(config, self.panel)

    @cached_property
    def labels(self) -> NDArray[np.float32]:
        """[D, N, Q] label of all days, NaN where a stock is dead, has none, or none to train on."""
        return_DNQ = scored_returns(self.panel)
        leave_out_late_exits(return_DNQ, self.panel, self.fold.train, self.fold.days.start)
        return loss_labels(self.panel, return_DNQ, self.setup.config.loss)

    @property
    def device(self) -> torch.device:
        return torch.device(self.setup.device)

    @property
    def horizons(self) -> int:
        """Q."""
        return len(self.setup.config.data.horizons_days)

    def rows(self, days: range, ranked: bool = False) -> Rows:
        """The live cells of `days`; `ranked`: each feature as normal scores of its day."""
        alive_DN = np.asarray(self.panel.alive[days.start : days.stop])
        count_D = alive_DN.sum(axis=1)
        x_RF = np.empty((int(count_D.sum()), len(self.panel.feature_names)), dtype=np.float32)
        first = 0
        for alive_N, day, count in zip(alive_DN, days, count_D, strict=True):
            x_NF = self._features(day)[alive_N]
            x_RF[first : first + count] = normal_scores(x_NF.T).T if ranked else x_NF
            first += count
        label_RQ = self.labels[days.start : days.stop][alive_DN]
        return Rows(x_RF, label_RQ, np.repeat(np.asarray(days), count_D))

    def table(self, days: range, score_RQ: NDArray[Any]) -> Scores:
        """[D, N, Q] from one row per live cell of `days`."""
        alive_DN = np.asarray(self.panel.alive[days.start : days.stop])
        table_DNQ = np.full((*alive_DN.shape, score_RQ.shape[1]), np.nan, dtype=np.float32)
        table_DNQ[alive_DN] = score_RQ
        return table_DNQ

    def _features(self, day: int) -> NDArray[np.float32]:
        x_NF = self.panel.features_tensor(slice(day, day + 1))[0].float().numpy()
        return np.asarray(x_NF, dtype=np.float32)


def ensemble(members: Sequence[Scores]) -> Scores:
    """Mean over members of the forecasts, each brought to mean 0 and variance 1 per day."""
    total = np.zeros_like(members[0])
    for score_DNQ in members:
        known = np.isfinite(score_DNQ)
        count = np.maximum(known.sum(axis=1, keepdims=True), 1)
        exact = np.where(known, score_DNQ, 0.0)
        centred = np.where(known, exact - exact.sum(axis=1, keepdims=True) / count, 0.0)
        spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
        total += np.where(known, centred / np.where(spread > 0, spread, 1.0), np.nan)
    return np.asarray(total / len(members), dtype=np.float32)


def daily_ic(score_R: NDArray[Any], label_R: NDArray[Any], day_R: NDArray[np.int64]) -> float:
    """Mean over days of the correlation of rows of a day; rows without a label are left out.

    Not `evaluation.series.daily_correlation`, which wants a grid of days × stocks: rows would have
    to go back on it for every penalty and every boosting round. Days on which one side is constant
    are left out; 0.0 where no day is scored, so that something can be chosen all the same.
    """
    known_R = np.isfinite(label_R)
    score_R, label_R, day_R = score_R[known_R], label_R[known_R], day_R[known_R]
    count_D = np.maximum(np.bincount(day_R), 1)  # days without rows are left out below
    a_R = score_R - (np.bincount(day_R, score_R) / count_D)[day_R]
    b_R = label_R - (np.bincount(day_R, label_R) / count_D)[day_R]
    size_D = np.sqrt(np.bincount(day_R, a_R**2) * np.bincount(day_R, b_R**2))
    scored_D = size_D > 0
    if not scored_D.any():
        return 0.0
    return float((np.bincount(day_R, a_R * b_R)[scored_D] / size_D[scored_D]).mean())
