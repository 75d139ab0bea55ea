import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from atft_hpo.data.store.labels import forward_returns, ranked_labels

PRICES = arrays(
    np.float64,
    st.tuples(st.integers(1, 12), st.integers(1, 3)),
    elements=st.floats(1, 1e5) | st.just(np.nan),
)


@settings(max_examples=80, deadline=None)
@given(PRICES, st.integers(1, 6), st.integers(0, 3))
def test_forward_returns_follow_the_definition(close, horizon, delay):
    found = forward_returns(close, horizon, delay)
    for d in range(len(close)):
        for n in range(close.shape[1]):
            expected = np.nan
            if d + delay + horizon < len(close):
                expected = close[d + delay + horizon, n] / close[d + delay, n] - 1
            np.testing.assert_equal(found[d, n], expected)


def test_ranked_labels_rank_live_stocks_within_each_day():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(6, 40, 2)).astype(np.float32)
    targets[rng.random(targets.shape) < 0.1] = np.nan
    alive = rng.random((6, 40)) > 0.2
    labels = ranked_labels(targets, alive)
    for d in range(6):
        for q in range(2):
            known = alive[d] & ~np.isnan(targets[d, :, q])
            assert (np.isfinite(labels[d, :, q]) == known).all()
            assert labels[d, known, q].mean() == pytest.approx(0, abs=1e-6)
            assert labels[d, known, q].std() == pytest.approx(1, rel=1e-5)
            rho = spearmanr(labels[d, known, q], targets[d, known, q]).statistic
            assert rho == pytest.approx(1)
