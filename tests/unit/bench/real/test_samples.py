"""Rows of live cells, members of an ensemble, daily correlations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr

from bench.real.samples import daily_ic, ensemble

RNG = np.random.default_rng(0)


def test_rows_are_the_live_cells_and_go_back_where_they_came_from(noise_prices, make_task):
    task = make_task(noise_prices)
    days = range(150, 170)
    rows = task.rows(days)
    assert (rows.day_R == np.repeat(days, task.panel.alive[150:170].sum(axis=1))).all()
    back = task.table(days, rows.x_RF)
    grid = task.panel.features_tensor(slice(150, 170)).float().numpy()
    np.testing.assert_array_equal(back, np.where(task.panel.alive[150:170, :, None], grid, np.nan))
    ranked = task.rows(days, ranked=True)
    assert np.abs(ranked.x_RF[:40].mean(axis=0)).max() < 0.05


def test_daily_ic_is_the_mean_of_each_days_correlation():
    rng = np.random.default_rng(0)
    day_R = np.repeat(np.arange(3), 40)
    score_R, label_R = rng.standard_normal((2, 120))
    label_R[:5] = np.nan
    known = np.isfinite(label_R)
    each = [
        pearsonr(score_R[known & (day_R == d)], label_R[known & (day_R == d)]).statistic
        for d in range(3)
    ]
    assert daily_ic(score_R, label_R, day_R) == pytest.approx(np.mean(each))
    assert daily_ic(np.ones(120), label_R, day_R) == 0.0
    assert daily_ic(score_R, score_R, day_R) == pytest.approx(1)


def test_members_count_alike_whatever_their_scale():
    a, b = (RNG.standard_normal((3, 30, 2)).astype(np.float32) for _ in range(2))
    one = ensemble([a, b])
    np.testing.assert_allclose(one, ensemble([100 * a + 7, b]), rtol=1e-3, atol=1e-4)
    z = [(m - m.mean(1, keepdims=True)) / m.std(1, keepdims=True) for m in (a, b)]
    np.testing.assert_allclose(one, (z[0] + z[1]) / 2, rtol=1e-4, atol=1e-5)


def test_dead_cells_stay_empty_and_take_no_part():
    a = RNG.standard_normal((2, 30, 1)).astype(np.float32)
    a[0, :10] = np.nan
    one = ensemble([a])
    assert np.isnan(one[0, :10]).all()
    np.testing.assert_allclose(one[0, 10:].std(), 1, rtol=1e-5)


@given(arrays(np.float32, (2, 25, 1), elements=st.floats(-8, 8, width=32)))
def test_ensembles_of_equal_members_keep_the_order_of_the_stocks(a):
    one = ensemble([a, a])
    first, second = np.argsort(a[0, :, 0], kind="stable"), one[0, :, 0]
    assert (np.diff(second[first]) >= -1e-5).all()
