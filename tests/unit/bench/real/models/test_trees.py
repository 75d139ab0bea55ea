"""LightGBM's seeds, and labels that belong to another stock."""

import numpy as np
import pytest

from bench.real.models import trees
from bench.real.models.registry import MODELS


def test_all_tricks_of_the_nets_trees_are_in_the_rival(telling_prices, make_task, monkeypatch):
    """Kinds, weights and horizons as they reach LightGBM."""
    fits = []
    real = trees.lgb.train

    def train(parameters, data, rounds, **rest):
        fits.append((parameters, data.get_field("weight").copy(), rounds))
        return real(parameters, data, rounds, **rest)

    monkeypatch.setattr(trees.lgb, "train", train)
    task = make_task(telling_prices, seeds=2, horizons="1,5", max_rounds=30)
    found = MODELS["lightgbm_plus"].forecast(task)
    assert [bool(p.get("extra_trees")) for p, *_ in fits[:4]] == [False, False, True, True]
    forecasting = fits[4:]
    assert len(forecasting) == 2 * 2 * 2, "seeds × kinds × horizons"
    assert [p["seed"] for p, *_ in forecasting] == [0] * 4 + [1] * 4
    assert sum(bool(p.get("extra_trees")) for p, *_ in forecasting) == 4
    weight_R, day_R = forecasting[0][1], task.rows(task.fold.train).day_R
    known = {day: set(weight_R[(day_R == day) & (weight_R > 0)].tolist()) for day in (40, 140)}
    assert all(len(weights) == 1 for weights in known.values())
    assert known[140].pop() / known[40].pop() == pytest.approx(2.0), "half_life_days = 100"
    assert (
        np.isfinite(found).all(axis=2).sum()
        == task.panel.alive[task.fold.days.start :][: len(task.fold.days)].sum()
    )


def test_mixed_horizons_begin_as_the_nets_correction(telling_prices, make_task, monkeypatch):
    task = make_task(telling_prices, horizons="1,5", max_rounds=30)
    mixed = MODELS["lightgbm_plus"].forecast(task)
    monkeypatch.setattr(trees, "mixed_horizons", lambda horizons: np.eye(horizons, dtype="f4"))
    single = MODELS["lightgbm_plus"].forecast(task)

    def likeness(score_DNQ):
        known = np.isfinite(score_DNQ[..., 0])
        return np.corrcoef(score_DNQ[known].T)[0, 1]

    assert likeness(mixed) > likeness(single)


def test_trees_average_their_seeds_and_are_the_same_again(telling_prices, make_task):
    one, again, two = (
        MODELS["lightgbm"].forecast(make_task(telling_prices, seeds=n)) for n in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert 0.5 < np.corrcoef(one.ravel(), two.ravel())[0, 1] < 0.9999


def test_shuffled_labels_stay_within_their_day():
    day_R = np.repeat(np.arange(4), 50)
    label_RQ = np.stack([np.arange(200), np.arange(200) * 2], axis=1).astype(np.float32)
    mixed = trees.shuffle_within_days(label_RQ, day_R, np.random.default_rng(0))
    assert (mixed[:, 1] == 2 * mixed[:, 0]).all()
    assert (np.sort(mixed.reshape(4, 50, 2), axis=1) == label_RQ.reshape(4, 50, 2)).all()
    assert (mixed != label_RQ).mean() > 0.9
