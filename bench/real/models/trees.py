"""LightGBM, and its control: the same on labels shuffled within each day.

Rounds are those with the best mean daily IC on the end of the training range, trained without that
end; then all of the training range is trained for as many rounds, once per seed. Each horizon by
itself. Squared error would stop within some twenty rounds on such noise, long before the order of
the stocks is as good as it gets (measured on Japan: IC .035 instead of .041).
"""

from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

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
PATIENCE: Final = 60
LEAST_ROUNDS: Final = 20
"""A first tree that happens to be the best is no forecast."""
SHUFFLED_ROUNDS: Final = 100
"""Fixed: on shuffled labels early stopping would leave nothing to judge."""


def lightgbm(task: Task) -> Scores:
    """Forecasts [D, N, Q] of the fold's days, the seeds' averaged."""
    rows = task.rows(task.fold.train)
    rounds = _best_rounds(task, rows)
    return _forecast(task, rows, rounds, range(task.setup.profile.seeds))


def shuffled(task: Task) -> Scores:
    """Forecasts [D, N, Q] after training on labels that belong to another stock of the day.

    What it learns is a function of the features all the same, if a meaningless one: where one of
    them has a strong effect throughout, it holds a lucky or unlucky bet on it as long as the fold.
    """
    rows = task.rows(task.fold.train)
    label_RQ = shuffle_within_days(rows.label_RQ, rows.day_R, np.random.default_rng(task.seed))
    rounds = [min(SHUFFLED_ROUNDS, task.setup.profile.max_rounds)] * task.horizons
    return _forecast(task, rows._replace(label_RQ=label_RQ), rounds, range(1))


def shuffle_within_days(
    label_RQ: NDArray[np.float32], day_R: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """The rows of each day in random order; all horizons of a row stay together."""
    order_R = np.lexsort((rng.random(len(day_R)), day_R))
    return label_RQ[order_R]


def _best_rounds(task: Task, rows: Rows) -> list[int]:
    """Per horizon, the rounds with the best daily IC on the end of the training range."""
    fit, stop = task.fold.inner()
    outer = rows.of(stop)
    data = _dataset(task, rows.of(fit))
    empty_R = np.zeros(len(outer.x_RF), dtype=np.float32)
    watched = data.create_valid(outer.x_RF, empty_R, params=_parameters(task, seed=0)).construct()
    return [_rounds(task, data, watched, rows.of(fit), outer, q) for q in range(task.horizons)]


def _rounds(
    task: Task, data: lgb.Dataset, watched: lgb.Dataset, inner: Rows, outer: Rows, q: int
) -> int:
    label_R = outer.label_RQ[:, q]

    def ic(score_R: NDArray[np.float64], _: lgb.Dataset) -> tuple[str, float, bool]:
        return "ic", daily_ic(score_R, label_R, outer.day_R), True

    booster = lgb.train(
        _parameters(task, seed=0),
        _labelled(data, inner, q),
        task.setup.profile.max_rounds,
        valid_sets=[watched],
        feval=ic,
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return max(booster.best_iteration, LEAST_ROUNDS)


def _forecast(task: Task, rows: Rows, rounds: list[int], seeds: range) -> Scores:
    data, ahead = _dataset(task, rows), task.rows(task.fold.days)
    members = []
    for seed in seeds:
        columns = []
        for q, count in enumerate(rounds):
            booster = lgb.train(_parameters(task, seed), _labelled(data, rows, q), count)
            columns.append(booster.predict(ahead.x_RF))
        members.append(task.table(task.fold.days, np.stack(columns, axis=1)))
    return ensemble(members)


def _dataset(task: Task, rows: Rows) -> lgb.Dataset:
    """Binned once for all horizons and seeds."""
    empty_R = np.zeros(len(rows.x_RF), dtype=np.float32)
    return lgb.Dataset(rows.x_RF, empty_R, params=_parameters(task, seed=0)).construct()


def _labelled(data: lgb.Dataset, rows: Rows, q: int) -> lgb.Dataset:
    """`data` with the labels of a horizon; rows without one weigh nothing."""
    known_R = np.isfinite(rows.label_RQ[:, q])
    data.set_label(np.where(known_R, rows.label_RQ[:, q], np.float32(0.0)))
    # `set_weight` takes weights of all ones for none, and leaves those of the horizon before.
    data.set_field("weight", known_R.astype(np.float32))
    return data


def _parameters(task: Task, seed: int) -> dict[str, Any]:
    # Leaves as small as a few days' worth of stocks: a small panel cannot fill larger ones.
    rows = int(task.panel.alive[: task.fold.train.stop].sum())
    leaf = max(20, min(PARAMETERS["min_data_in_leaf"], rows // 200))
    own = {"min_data_in_leaf": leaf, "seed": seed, "num_threads": task.setup.profile.threads}
    return {**PARAMETERS, **own}
