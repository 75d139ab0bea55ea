"""LightGBM's seeds, and labels that belong to another stock."""

import numpy as np

from bench.real.models import trees
from bench.real.models.registry import MODELS


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
