import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atft_hpo.data.store.labels import forward_returns

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
