import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import median_abs_deviation

from atft_hpo.data.normalise import (
    NORMALISERS,
    DayNormaliser,
    normalisation_of,
    rank_gauss,
    robust_z,
    scale_only,
    unscaled,
)
from atft_hpo.data.panel import FeatureSpec

CLIP = 8.0
DAYS = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 15)),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, 0.0, 1.0]),
)


def test_robust_z_is_median_and_mad_by_hand():
    x = np.random.default_rng(0).standard_t(3, size=(4, 51)).astype(np.float32)
    x[0, :10] = np.nan
    centre = np.nanmedian(x, axis=-1, keepdims=True)
    mad = median_abs_deviation(x, axis=-1, nan_policy="omit")[:, None]
    expected = np.nan_to_num(np.clip((x - centre) / (1.4826 * mad), -3, 3))
    np.testing.assert_allclose(robust_z(x, 3.0), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=200, deadline=None)
@given(x=DAYS)
def test_robust_z_is_median_and_mad_of_any_values(x):
    rows = [row[~np.isnan(row)] for row in x]
    out = robust_z(x, 1e9)
    for row, values, found in zip(rows, x, out, strict=True):
        if not len(row):
            continue
        centred = values - np.median(row).astype(np.float32)
        mad = np.median(np.abs(centred[~np.isnan(values)]))
        if mad > 0:
            with np.errstate(over="ignore"):
                expected = np.clip(centred / (np.float32(1.4826) * mad), -1e9, 1e9)
            expected = np.nan_to_num(expected)
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_robust_z_falls_back_to_the_standard_deviation():
    x = np.array([[0.0] * 9 + [10.0]], dtype=np.float32)
    assert robust_z(x, CLIP)[0, -1] == pytest.approx(10 / x.std(), rel=1e-5)


def test_scale_only_keeps_the_level():
    x = np.array([[2.0, 2.0, 4.0, -2.0]], dtype=np.float32)
    np.testing.assert_allclose(scale_only(x, CLIP), x / (1.4826 * 2.0), rtol=1e-5)


def test_scale_only_of_mostly_zeros_uses_the_root_mean_square():
    x = np.array([[0.0, 0.0, 0.0, 4.0]], dtype=np.float32)
    np.testing.assert_allclose(scale_only(x, CLIP), [[0, 0, 0, 2]], rtol=1e-5)


def test_unscaled_clips_and_fills():
    x = np.array([[0.5, np.nan, -99.0]], dtype=np.float32)
    np.testing.assert_array_equal(unscaled(x, 2.0), [[0.5, 0.0, -2.0]])


@pytest.mark.parametrize("normalise", [rank_gauss, robust_z, scale_only])
def test_values_equal_for_all_stocks_become_zero(normalise):
    x = np.array([[0.1, 0.1, 0.1, np.nan], [-7.0] * 4], dtype=np.float32)
    np.testing.assert_array_equal(normalise(x, CLIP), 0.0)


@pytest.mark.parametrize("kind", sorted(NORMALISERS))
@settings(max_examples=40, deadline=None)
@given(x=DAYS, seed=st.integers(0, 99))
def test_any_day_gives_finite_bounded_values_in_any_stock_order(kind, x, seed):
    out = NORMALISERS[kind](x, CLIP)
    order = np.random.default_rng(seed).permutation(x.shape[1])
    assert out.dtype == np.float32
    assert np.abs(out).max() <= CLIP
    assert (out[np.isnan(x)] == 0).all()
    np.testing.assert_allclose(NORMALISERS[kind](x[:, order], CLIP), out[:, order], rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(x=DAYS)
def test_rank_gauss_is_invariant_to_monotone_maps(x):
    mapped = np.cbrt(x.astype(np.float64)) + 5
    np.testing.assert_array_equal(rank_gauss(mapped, CLIP), rank_gauss(x, CLIP))


def test_day_normaliser_gives_each_feature_its_own():
    specs = [
        FeatureSpec(name=kind, family="f", normalisation=kind)
        for kind in reversed(list(NORMALISERS))
    ]
    x_FN = np.random.default_rng(1).normal(size=(len(specs), 25)).astype(np.float32)
    out_FN = DayNormaliser(specs, CLIP)(x_FN)
    for f, spec in enumerate(specs):
        expected = NORMALISERS[spec.normalisation](x_FN[f][None], CLIP)[0]
        np.testing.assert_array_equal(out_FN[f], expected)


def test_families_choose_their_normalisation():
    kinds = [
        normalisation_of(f, ("returns",), ("ranks",)) for f in ("returns", "ranks", "calendar", "x")
    ]
    assert kinds == ["scale_only", "rank_gauss", "none", "robust_z"]
