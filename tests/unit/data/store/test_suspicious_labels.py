import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atft_hpo.data.store.labels import exit_prices, forward_returns, next_tradable
from atft_hpo.data.store.suspicious_labels import mask_returns, mask_spans

FLAGS = arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 3)))


@settings(max_examples=80, deadline=None)
@given(FLAGS, st.integers(0, 3))
def test_a_label_is_masked_where_a_day_of_its_span_is_suspicious(flags, delay):
    horizons = (1, 2, 5)
    target = np.arange(flags.size * 3, dtype=np.float32).reshape(*flags.shape, 3)
    always = np.arange(len(flags))[:, None].repeat(flags.shape[1], axis=1)
    masked = mask_spans(flags, target, always, horizons, delay)
    for d in range(len(flags)):
        for q, horizon in enumerate(horizons):
            span = flags[d + delay + 1 : d + delay + horizon + 1].any(axis=0)
            np.testing.assert_equal(masked[d, :, q], np.where(span, np.nan, target[d, :, q]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 2), st.floats(1.5, 10))
def test_what_is_left_is_what_adjusted_prices_give(seed, horizon, delay, ratio):
    rng = np.random.default_rng(seed)
    adjusted = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (40, 2)), axis=0))
    raw = adjusted.copy()
    raw[:20, 0] *= ratio
    flags = np.zeros((40, 2), bool)
    flags[20, 0] = True
    tradable = rng.random((40, 2)) > 0.1
    right, wrong = (
        forward_returns(np.where(tradable, x, np.nan), exit_prices(x, tradable), horizon, delay)[
            ..., None
        ]
        for x in (adjusted, raw)
    )
    masked = mask_spans(flags, wrong, next_tradable(tradable), (horizon,), delay)
    kept = ~np.isnan(masked)
    np.testing.assert_allclose(masked[kept], right[kept])
    lost = np.flatnonzero(np.isnan(masked[:, 0, 0]) & ~np.isnan(right[:, 0, 0]))
    for d in lost:
        assert d + delay < 20 <= next_tradable(tradable)[d + delay + horizon, 0]
    assert not (np.isnan(masked[:, 1]) & ~np.isnan(right[:, 1])).any()


def test_returns_are_masked_on_their_day_and_the_given_ones_stay_as_they_are():
    returns = np.array([[0.1, np.nan], [0.2, 0.3]], np.float32)
    flags = np.array([[False, True], [True, False]])
    masked = mask_returns(flags, returns)
    np.testing.assert_array_equal(masked, np.array([[0.1, np.nan], [np.nan, 0.3]], np.float32))
    assert masked.dtype == np.float32
    assert returns[1, 0] == np.float32(0.2)
