"""Statistics of daily series against SciPy and by hand."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import rankdata

from atft_hpo.evaluation.mean_error import t_of_mean
from atft_hpo.evaluation.series import (
    Centred,
    Ranked,
    correlation_summary,
    daily_correlation,
    masked_ranks,
)


def test_a_correlation_with_a_constant_is_undefined() -> None:
    a = np.arange(6.0)[None].repeat(2, axis=0)
    b = np.stack([np.ones(6), np.arange(6.0)])
    found = daily_correlation(a, b, np.ones((2, 6), dtype=bool))
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(1.0)


@given(st.integers(0, 10_000), st.sampled_from([0, 1, 3]))
@settings(max_examples=30, deadline=None)
def test_correlations_are_numpys_whether_of_values_or_of_ranks(seed: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    a_DN, b_DN = np.round(100.0 + rng.normal(size=(2, 4, 30)), decimals)
    mask_DN = rng.random((4, 30)) < rng.uniform(0.1, 1.0)
    a_DN[~mask_DN] = np.nan
    values = Centred.of(a_DN, mask_DN).correlation(Centred.of(b_DN, mask_DN))
    count_D = mask_DN.sum(axis=1)
    a, b = (Ranked.of(masked_ranks(x_DN, mask_DN), count_D) for x_DN in (a_DN, b_DN))
    ranks = a.correlation(b)
    for day, mask in enumerate(mask_DN):
        pair = np.stack([a_DN[day, mask], b_DN[day, mask]])
        varied = mask.any() and np.ptp(pair, axis=1).all()
        ranked = rankdata(pair, axis=1)
        expected = (np.corrcoef(pair)[0, 1], np.corrcoef(ranked)[0, 1]) if varied else (np.nan,) * 2
        assert ranks[day] == pytest.approx(expected[1], abs=1e-12, nan_ok=True)
        assert a.square_D[day] == pytest.approx(mask.sum() * np.var(ranked[0]) if mask.any() else 0)
        if varied:
            assert values[day] == pytest.approx(expected[0], abs=1e-9)


def test_ranks_that_are_all_tied_have_no_variance_at_all() -> None:
    for count in (1, 2, 1001, 4000):
        values_DN = np.full((1, 5000), 0.1, dtype=np.float32)
        mask_DN = np.arange(5000)[None] < count
        assert Ranked.of(masked_ranks(values_DN, mask_DN), mask_DN.sum(axis=1)).square_D == 0.0


def test_ranks_are_those_of_the_masked_stocks_alone() -> None:
    rng = np.random.default_rng(0)
    values_DN = np.round(rng.normal(size=(5, 30)), 1)
    mask_DN = rng.random((5, 30)) < 0.7
    found_DN = masked_ranks(values_DN, mask_DN)
    for values, mask, found in zip(values_DN, mask_DN, found_DN, strict=True):
        np.testing.assert_array_equal(found[mask], rankdata(values[mask]))
        assert np.isnan(found[~mask]).all()


def test_a_summary_names_mean_std_ratio_and_t() -> None:
    values = np.array([0.1, 0.3, -0.1, 0.2])
    found = correlation_summary("rank_ic", values, 1)
    assert found == {
        "rank_ic": pytest.approx(0.125),
        "rank_ic_std": pytest.approx(values.std(ddof=1)),
        "rank_icir": pytest.approx(0.125 / values.std(ddof=1)),
        "rank_ic_t": pytest.approx(t_of_mean(values, 1)),
    }
