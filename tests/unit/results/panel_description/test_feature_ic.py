import numpy as np
import pytest

from atft_hpo.results.panel_description.feature_ic import t_statistics


def test_newey_west_equals_the_plain_t_without_lags_and_widens_under_persistence():
    x = np.random.default_rng(0).normal(0.1, 1, (500, 2))
    plain = x.mean(axis=0) / (x.std(axis=0) / np.sqrt(500))
    np.testing.assert_allclose(t_statistics(x, 0), plain)
    persistent = np.convolve(x[:, 0], np.ones(10) / 10, mode="valid")[:, None]
    assert abs(t_statistics(persistent, 10)) < 0.5 * abs(t_statistics(persistent, 0))


def test_newey_west_by_hand():
    x = np.arange(30.0)[:, None] % 4
    e = x[:, 0] - x[:, 0].mean()
    variance = (e @ e + 2 * (1 - 1 / 2) * (e[1:] @ e[:-1])) / 30
    assert t_statistics(x, 1)[0] == pytest.approx(x.mean() / np.sqrt(variance / 30))


def test_too_few_days_give_no_t():
    assert t_statistics(np.ones((5, 3)), 1).tolist() == [0, 0, 0]
