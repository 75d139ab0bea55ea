"""LightGBM as people use it, with all that the net's own trees have, and on shuffled labels.

    lightgbm        trees that search their thresholds
    lightgbm_plus   besides: weights that halve every `loss.half_life_days`, as many boosters that
                    draw their thresholds, and horizons mixed as the net's correction begins
    shuffled        a control: labels shuffled within each day

Rounds are those with the best mean daily IC on the end of the training range, trained without that
end; then all of the training range is trained for as many rounds, once per seed. Each horizon by
itself. Squared error would stop within some twenty rounds on such noise, long before the order of
the stocks is as good as it gets (measured on Japan: IC .035 instead of .041).
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from atft_hpo.model.heads import mixed_horizons
from atft_hpo.training.loss.balance import recency
from bench.real.samples import Rows, Scores, Task, daily_ic, ensemble

PARAMETERS: Final[dict[str, Any]] = {
    "objective": "l2",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 1000,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.5,
    "bagging_freq": 1,
    "max_bin": 127,
    "metric": "None",
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}
SEARCHED: Final[dict[str, Any]] = {}
DRAWN: Final[dict[str, Any]] = {"extra_trees": True}
"""Extremely randomised trees (Geurts et al. 2006)."""
PATIENCE: Final = 60
LEAST_ROUNDS: Final = 20
"""A first tree that happens to be the best is no forecast."""
SHUFFLED_ROUNDS: Final = 100
"""Fixed: on shuffled labels early stopping would leave nothing to judge."""


def lightgbm(task: Task) -> Scores:
    """Forecasts [D, N, Q] of the fold's days, the seeds' averaged."""
    fit = _Fit(task, half_life_days=None)
    rounds_Q = fit.best_rounds(SEARCHED)
    return ensemble([fit.member(seed, [(SEARCHED, rounds_Q)]) for seed in _seeds(task)])


def lightgbm_plus(task: Task) -> Scores:
    """The same with every trick that the net's own trees have; both kinds of them per seed."""
    fit = _Fit(task, task.setup.config.loss.half_life_days)
    kinds = [(kind, fit.best_rounds(kind)) for kind in (SEARCHED, DRAWN)]
    mix_QQ = mixed_horizons(task.horizons)
    return ensemble([fit.member(seed, kinds) @ mix_QQ.T for seed in _seeds(task)])


def shuffled(task: Task) -> Scores:
    """Forecasts [D, N, Q] after training on labels that belong to another stock of the day.

    What it learns is a function of the features all the same, if a meaningless one: where one of
    them has a strong effect throughout, it holds a lucky or unlucky bet on it as long as the fold.
    """
    fit = _Fit(task, half_life_days=None)
    rng = np.random.default_rng(task.seed)
    label_RQ = shuffle_within_days(fit.rows.label_RQ, fit.rows.day_R, rng)
    fit.rows = fit.rows._replace(label_RQ=label_RQ)
    rounds_Q = [min(SHUFFLED_ROUNDS, task.setup.profile.max_rounds)] * task.horizons
    return ensemble([fit.member(0, [(SEARCHED, rounds_Q)])])


def shuffle_within_days(
    label_RQ: NDArray[np.float32], day_R: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """The rows of each day in random order; all horizons of a row stay together."""
    order_R = np.lexsort((rng.random(len(day_R)), day_R))
    return label_RQ[order_R]


class _Fit:
    """A fold's training rows, and boosters learned from them."""

    def __init__(self, task: Task, half_life_days: int | None) -> None:
        self._task, self._half_life_days = task, half_life_days
        self.rows = task.rows(task.fold.train)

    def best_rounds(self, kind: dict[str, Any]) -> list[int]:
        """Per horizon, the rounds with the best daily IC on the end of the training range."""
        inner, outer, data, watched = self._ends
        rounds = []
        for q in range(self._task.horizons):
            booster = lgb.train(
                self._parameters(0, kind),
                self._labelled(data, inner, q),
                self._task.setup.profile.max_rounds,
                valid_sets=[watched],
                feval=_ic_on(outer, q),
                callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
            )
            rounds.append(max(booster.best_iteration, LEAST_ROUNDS))
        return rounds

    def member(self, seed: int, kinds: Sequence[tuple[dict[str, Any], list[int]]]) -> Scores:
        """[D, N, Q] of the fold's days, in units of the label: the mean of a booster per kind."""
        total_RQ = np.zeros((len(self._ahead), self._task.horizons))
        for kind, rounds_Q in kinds:
            parameters = self._parameters(seed, kind)
            for q, count in enumerate(rounds_Q):
                booster = lgb.train(parameters, self._labelled(self._binned, self.rows, q), count)
                total_RQ[:, q] += booster.predict(self._ahead)
        return self._task.table(self._task.fold.days, total_RQ / len(kinds))

    @cached_property
    def _ends(self) -> tuple[Rows, Rows, lgb.Dataset, lgb.Dataset]:
        """The training range without its end, and that end: rows, and the same binned."""
        fit, stop = self._task.fold.inner()
        inner, outer = self.rows.of(fit), self.rows.of(stop)
        data = self._dataset(inner)
        empty_R = np.zeros(len(outer.x_RF), dtype=np.float32)
        watched = data.create_valid(outer.x_RF, empty_R, params=self._parameters(0, SEARCHED))
        return inner, outer, data, watched.construct()

    @cached_property
    def _binned(self) -> lgb.Dataset:
        return self._dataset(self.rows)

    @cached_property
    def _ahead(self) -> NDArray[np.float32]:
        return self._task.rows(self._task.fold.days).x_RF

    def _dataset(self, rows: Rows) -> lgb.Dataset:
        """Binned once for all horizons, kinds and seeds."""
        empty_R = np.zeros(len(rows.x_RF), dtype=np.float32)
        return lgb.Dataset(rows.x_RF, empty_R, params=self._parameters(0, SEARCHED)).construct()

    def _labelled(self, data: lgb.Dataset, rows: Rows, q: int) -> lgb.Dataset:
        """`data` with the labels of a horizon; rows without one weigh nothing."""
        known_R = np.isfinite(rows.label_RQ[:, q])
        data.set_label(np.where(known_R, rows.label_RQ[:, q], np.float32(0.0)))
        train = self._task.fold.train
        weight_R = recency(train, self._half_life_days)[rows.day_R - train.start]
        # `set_weight` takes weights of all ones for none, and leaves those of the horizon before.
        data.set_field("weight", np.where(known_R, weight_R, 0.0).astype(np.float32))
        return data

    def _parameters(self, seed: int, kind: dict[str, Any]) -> dict[str, Any]:
        # Leaves as small as a few days' worth of stocks: a small panel cannot fill larger ones.
        rows = int(self._task.panel.alive[: self._task.fold.train.stop].sum())
        leaf = max(20, min(PARAMETERS["min_data_in_leaf"], rows // 200))
        threads = self._task.setup.profile.threads
        own = {"min_data_in_leaf": leaf, "seed": seed, "num_threads": threads}
        return {**PARAMETERS, **own, **kind}


def _seeds(task: Task) -> range:
    return range(task.setup.profile.seeds)


def _ic_on(outer: Rows, q: int) -> Callable[..., tuple[str, float, bool]]:
    """LightGBM's measure of a round: mean daily IC with the labels of `outer`."""
    label_R = outer.label_RQ[:, q]

    def ic(score_R: NDArray[np.float64], _: lgb.Dataset) -> tuple[str, float, bool]:
        return "ic", daily_ic(score_R, label_R, outer.day_R), True

    return ic
