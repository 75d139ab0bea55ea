import warnings
from typing import get_args

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atft_hpo.config.data_schema import PackConfig
from atft_hpo.data.ingest.row_blocks import Block
from atft_hpo.data.store.column_statistics import ColumnStatistics
from atft_hpo.data.store.normalise import Normaliser
from atft_hpo.data.store.panel import FeatureSpec, Normalisation

STOCKS, FEATURES = 5, 4
VALUES = st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 0.0, 1.0, 2.0])
SPECS = [FeatureSpec(name=kind, family="f", normalisation=kind) for kind in get_args(Normalisation)]


def statistics_of(x_FDN, first_day):
    days = x_FDN.shape[1]
    counts_D, place_DS = np.full(days, STOCKS), np.arange(days * STOCKS).reshape(days, STOCKS)
    block = Block(first_day, counts_D, counts_D, place_DS, place_DS, days * STOCKS)
    x_FR = np.pad(x_FDN.reshape(FEATURES, -1), ((0, 0), (0, 1)), constant_values=np.nan)
    return Normaliser(SPECS, PackConfig())(range(FEATURES), x_FR, block)[1]


@settings(max_examples=150, deadline=None)
@given(
    x=arrays(np.float32, st.tuples(st.just(FEATURES), st.integers(2, 6), st.just(STOCKS)),
             elements=VALUES),
    data=st.data(),
)  # fmt: skip
def test_statistics_of_blocks_equal_numpys_over_all_days(x, data):
    days = x.shape[1]
    cut = data.draw(st.integers(1, days - 1))
    found = statistics_of(x[:, :cut], 0)
    found.add(statistics_of(x[:, cut:], cut))
    finite = np.where(np.isinf(x), np.nan, x)
    np.testing.assert_array_equal(found.present_F, (~np.isnan(finite)).sum(axis=(1, 2)))
    np.testing.assert_array_equal(found.infinite_F, np.isinf(x).sum(axis=(1, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's about days without any value
        low, high = np.nanmin(finite, axis=2), np.nanmax(finite, axis=2)
    np.testing.assert_array_equal(found.varies_F, (low < high).any(axis=1))
    for f in range(FEATURES):
        if np.isinf(x[f]).any():
            assert found.infinite_since_F[f] == np.flatnonzero(np.isinf(x[f]).any(axis=1))[0]
        if found.present_F[f]:
            assert (found.low_F[f], found.high_F[f]) == (np.nanmin(low[f]), np.nanmax(high[f]))


def test_statistics_of_some_columns_take_their_place():
    total, some = ColumnStatistics.empty(5), ColumnStatistics.empty(2)
    some.present_F += 7
    some.varies_F[1] = True
    total.put(slice(1, 3), some)
    assert total.present_F.tolist() == [0, 7, 7, 0, 0]
    assert total.varies_F.tolist() == [False, False, True, False, False]
