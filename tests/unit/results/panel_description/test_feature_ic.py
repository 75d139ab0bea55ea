import numpy as np
import pytest

from atft_hpo.evaluation.mean_error import t_of_means
from atft_hpo.results.panel_description.feature_ic import t_statistics


def test_each_feature_has_the_one_t_of_its_days_without_those_that_any_has_not():
    x = np.random.default_rng(0).normal(0.1, 1, (500, 2))
    x[[3, 77], [0, 1]] = np.nan
    known = x[np.isfinite(x).all(axis=1)]
    assert t_statistics(x, 5) == pytest.approx(t_of_means(known.T, 5, lasting=False))


def test_persistent_correlations_are_less_sure():
    x = np.random.default_rng(0).normal(0.3, 1, 600)
    persistent = np.convolve(x, np.ones(10) / 10, mode="valid")[:, None]
    plain = persistent.mean() / (persistent.std() / np.sqrt(len(persistent)))
    assert 0 < t_statistics(persistent, 10)[0] < 0.5 * plain


def test_too_few_days_or_constant_ones_give_no_t():
    assert t_statistics(np.ones((5, 3)), 1).tolist() == [0, 0, 0]
    assert t_statistics(np.ones((50, 3)), 1).tolist() == [0, 0, 0]
