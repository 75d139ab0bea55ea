"""LightGBM, and its control: the same on labels shuffled within each day.

Rounds are those with the best mean daily IC on the end of the training range, trained without that
end (seed of the ensemble's first member); then all of the training range is trained for as many
rounds, with the member's own seed. Each horizon by itself.
"""

from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from real_stocks.samples import Rows, Scores, Task, daily_ic

PARAMETERS: Final[dict[str, Any]] = {
    "objective": "l2",
    "learning_rate": 0.03,
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
PATIENCE: Final = 100
LEAST_ROUNDS: Final = 20
"""A first tree that happens to be the best is no forecast."""
SHUFFLED_ROUNDS: Final = 100
"""Fixed: on shuffled labels early stopping would leave nothing to judge."""


def lightgbm(task: Task) -> Scores:
    """Forecasts [D, N, Q] of the fold's days."""
    fit, stop = task.fold.inner()
    inner, outer = task.rows(fit), task.rows(stop)
    rounds = [_rounds(task, inner, outer, q) for q in range(task.horizons)]
    del inner, outer
    return _forecast(task, task.rows(task.fold.train), rounds)


def shuffled(task: Task) -> Scores:
    """Forecasts [D, N, Q] after training on labels that belong to another stock of the day."""
    rows = task.rows(task.fold.train)
    label_RQ = shuffle_within_days(rows.label_RQ, rows.day_R, np.random.default_rng(task.seed))
    rounds = [min(SHUFFLED_ROUNDS, task.setup.profile.max_rounds)] * task.horizons
    return _forecast(task, rows._replace(label_RQ=label_RQ), rounds)


def shuffle_within_days(
    label_RQ: NDArray[np.float32], day_R: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """The rows of each day in random order; all horizons of a row stay together."""
    order_R = np.lexsort((rng.random(len(day_R)), day_R))
    return label_RQ[order_R]


def _rounds(task: Task, inner: Rows, outer: Rows, q: int) -> int:
    """Rounds with the best daily IC on `outer`."""
    known_R = np.isfinite(outer.label_RQ[:, q])
    label_R, day_R = outer.label_RQ[known_R, q], outer.day_R[known_R]

    def ic(score_R: NDArray[np.float64], _: lgb.Dataset) -> tuple[str, float, bool]:
        return "ic", daily_ic(score_R, label_R, day_R), True

    data = _dataset(task, inner, q)
    watched = data.create_valid(outer.x_RF[known_R], label_R)
    booster = lgb.train(
        _parameters(task, seed=0),
        data,
        task.setup.profile.max_rounds,
        valid_sets=[watched],
        feval=ic,
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return max(booster.best_iteration, LEAST_ROUNDS)


def _forecast(task: Task, rows: Rows, rounds: list[int]) -> Scores:
    boosters = [
        lgb.train(_parameters(task, task.seed), _dataset(task, rows, q), count)
        for q, count in enumerate(rounds)
    ]
    ahead = task.rows(task.fold.days)
    score_RQ = np.stack([booster.predict(ahead.x_RF) for booster in boosters], axis=1)
    return task.table(task.fold.days, score_RQ)


def _dataset(task: Task, rows: Rows, q: int) -> lgb.Dataset:
    known_R = np.isfinite(rows.label_RQ[:, q])
    data = lgb.Dataset(
        rows.x_RF if known_R.all() else rows.x_RF[known_R],
        rows.label_RQ[known_R, q],
        params=_parameters(task, seed=0),
    )
    return data.construct()


def _parameters(task: Task, seed: int) -> dict[str, Any]:
    # Leaves as small as a few days' worth of stocks: a small panel cannot fill larger ones.
    rows = int(task.panel.alive[: task.fold.train.stop].sum())
    leaf = max(20, min(PARAMETERS["min_data_in_leaf"], rows // 200))
    return {**PARAMETERS, "min_data_in_leaf": leaf, "seed": seed, "num_threads": task.setup.threads}
