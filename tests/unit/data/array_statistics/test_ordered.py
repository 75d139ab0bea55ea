import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atft_hpo.data.array_statistics.ordered import Ordered

ROWS = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 14)),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, -np.nan, 0.0, 1.0]),
)


@settings(max_examples=150, deadline=None)
@given(x=ROWS)
def test_what_is_read_off_the_order_equals_numpys(x):
    ordered = Ordered.of(x.copy())
    np.testing.assert_array_equal(ordered.ascending_RN, np.sort(x, axis=-1))
    for row, values in enumerate(x):
        present = values[~np.isnan(values)]
        assert ordered.counts[row] == len(present)
        found = [ordered.lows[row], ordered.highs[row], ordered.medians[row]]
        if not len(present):
            assert np.isnan(found).all()
            continue
        median = np.float32(np.median(present.astype(np.float64)))
        np.testing.assert_allclose(
            found, [present.min(), present.max(), median], rtol=1e-6, atol=1e-37
        )


@settings(max_examples=150, deadline=None)
@given(x=ROWS, zero=st.booleans())
def test_median_deviation_equals_numpys(x, zero):
    ordered = Ordered.of(x.copy())
    centre = np.zeros(len(x), np.float32) if zero else ordered.medians
    found = ordered.median_deviation(centre)
    for values, middle, deviation in zip(x, centre, found, strict=True):
        distances = np.abs(values[~np.isnan(values)] - middle)
        if len(distances):
            expected = np.median(distances.astype(np.float64))
            np.testing.assert_allclose(deviation, expected, rtol=1e-6, atol=1e-37)
        else:
            assert np.isnan(deviation)
