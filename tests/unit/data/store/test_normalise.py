from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import median_abs_deviation

from atft_hpo.config.data_schema import PackConfig
from atft_hpo.data.array_statistics.ordered import Ordered
from atft_hpo.data.array_statistics.ranks import normal_scores, score_table, scores_among
from atft_hpo.data.ingest.row_blocks import Block
from atft_hpo.data.store.normalise import SCALED, Normaliser, bounded, normalisation_of, scale
from atft_hpo.data.store.panel import FeatureSpec, Normalisation

CLIP = 8.0
KINDS = get_args(Normalisation)
TINY = 1e-30
"""Differences of anything larger can be halved in float32."""
DAYS = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 15)),
    elements=st.floats(-1e6, 1e6, width=32).map(lambda v: v if abs(v) > TINY else 0.0)
    | st.sampled_from([np.nan, 0.0, 1.0]),
)


def normalised(kind, x, clip):
    """What becomes of the values, before they are stored in 16 bits."""
    x = x.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        if kind == "rank_gauss":
            x = scores_among(x, np.ones(x.shape, np.bool_)).score_RN
        elif kind in SCALED:
            ordered = Ordered.of(x.copy())
            scale(x, *SCALED[kind](x, ordered, np.full(len(x), x.shape[1])))
    return bounded(x, clip).numpy()


def test_robust_z_is_median_and_mad_by_hand():
    x = np.random.default_rng(0).standard_t(3, size=(4, 51)).astype(np.float32)
    x[0, :10] = np.nan
    centre = np.nanmedian(x, axis=-1, keepdims=True)
    mad = median_abs_deviation(x, axis=-1, nan_policy="omit")[:, None]
    expected = np.nan_to_num(np.clip((x - centre) / (1.4826 * mad), -3, 3))
    np.testing.assert_allclose(normalised("robust_z", x, 3.0), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=200, deadline=None)
@given(x=DAYS)
def test_robust_z_is_median_and_mad_of_any_values(x):
    rows = [row[~np.isnan(row)] for row in x]
    out = normalised("robust_z", x, 1e9)
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
    assert normalised("robust_z", x, CLIP)[0, -1] == pytest.approx(10 / x.std(), rel=1e-5)


def test_scale_only_keeps_the_level():
    x = np.array([[2.0, 2.0, 4.0, -2.0]], dtype=np.float32)
    np.testing.assert_allclose(normalised("scale_only", x, CLIP), x / (1.4826 * 2.0), rtol=1e-5)


def test_scale_only_of_mostly_zeros_uses_the_root_mean_square():
    x = np.array([[0.0, 0.0, 0.0, 4.0]], dtype=np.float32)
    np.testing.assert_allclose(normalised("scale_only", x, CLIP), [[0, 0, 0, 2]], rtol=1e-5)


def test_unscaled_clips_and_fills():
    x = np.array([[0.5, np.nan, -99.0]], dtype=np.float32)
    np.testing.assert_array_equal(normalised("none", x, 2.0), [[0.5, 0.0, -2.0]])


@pytest.mark.parametrize("kind", ["rank_gauss", "robust_z", "scale_only"])
def test_values_equal_for_all_stocks_become_zero(kind):
    x = np.array([[0.1, 0.1, 0.1, np.nan], [-7.0] * 4], dtype=np.float32)
    np.testing.assert_array_equal(normalised(kind, x, CLIP), 0.0)


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=40, deadline=None)
@given(x=DAYS, seed=st.integers(0, 99))
def test_any_day_gives_finite_bounded_values_in_any_stock_order(kind, x, seed):
    out = normalised(kind, x, CLIP)
    order = np.random.default_rng(seed).permutation(x.shape[1])
    assert out.dtype == np.float32
    assert np.abs(out).max() <= CLIP
    assert (out[np.isnan(x)] == 0).all()
    np.testing.assert_allclose(normalised(kind, x[:, order], CLIP), out[:, order], rtol=1e-5)


@settings(max_examples=100, deadline=None)
@given(x=DAYS)
def test_rank_gauss_is_normal_scores(x):
    expected = np.nan_to_num(normal_scores(x))
    np.testing.assert_array_equal(normalised("rank_gauss", x, 1e9), expected)


@settings(max_examples=30, deadline=None)
@given(x=DAYS)
def test_rank_gauss_is_invariant_to_monotone_maps(x):
    found = normalised("rank_gauss", x * np.float32(-0.5), CLIP)
    np.testing.assert_allclose(-found, normalised("rank_gauss", x, CLIP), atol=1e-6)


def as_block(x_FDN, members_D, stocks_D):
    """The values by place, slot after slot, then NaN; and the days as a block of them."""
    features, days, slots = x_FDN.shape
    none = days * slots
    place_DS = np.arange(none).reshape(days, slots)
    place_DS = np.where(np.arange(slots) < np.reshape(stocks_D, (-1, 1)), place_DS, none)
    place_DS = place_DS[:, : max(stocks_D)]
    block = Block(0, members_D, stocks_D, place_DS, np.zeros_like(place_DS), none)
    return np.pad(x_FDN.reshape(features, none), ((0, 0), (0, 1)), constant_values=np.nan), block


def block_of(kind_of_column, x_FDN, stocks_D, config):
    specs = [FeatureSpec(name=f"{i}", family="f", normalisation=kind) for i, kind in
             enumerate(kind_of_column)]  # fmt: skip
    normalise = Normaliser(specs, config)
    return normalise(range(len(specs)), *as_block(x_FDN, stocks_D, stocks_D))[0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_each_feature_gets_its_own_on_each_day(dtype, monkeypatch):
    monkeypatch.setattr("atft_hpo.data.store.normalise._CELLS_AT_ONCE", 150)
    kinds = [*KINDS, *reversed(KINDS)]
    x_FDN = np.random.default_rng(1).normal(size=(len(kinds), 3, 25)).astype(np.float32)
    bits_FDN = block_of(kinds, x_FDN, np.full(3, 25), PackConfig(dtype=dtype))
    stored = torch.from_numpy(bits_FDN).view(getattr(torch, dtype))
    for f, kind in enumerate(kinds):
        expected = torch.from_numpy(normalised(kind, x_FDN[f], CLIP)).to(getattr(torch, dtype))
        assert torch.equal(stored[f], expected)


@settings(max_examples=60, deadline=None)
@given(x=DAYS, more=st.integers(1, 9))
def test_other_days_of_the_block_change_no_bit(x, more):
    """A day with fewer stocks than others is padded; what it becomes does not depend on that."""
    days, stocks = x.shape
    kinds = list(KINDS)
    alone = block_of(kinds, np.stack([x] * 4), np.full(days, stocks), PackConfig())
    padded = np.full((4, days + 1, stocks + more), np.nan, np.float32)
    padded[:, :days, :stocks] = x
    padded[:, days] = np.arange(stocks + more)
    among = block_of(kinds, padded, np.array([stocks] * days + [stocks + more]), PackConfig())
    np.testing.assert_array_equal(among[:, :days, :stocks], alone)


def test_families_choose_their_normalisation():
    kinds = [
        normalisation_of(f, ("returns",), ("ranks",)) for f in ("returns", "ranks", "calendar", "x")
    ]
    assert kinds == ["scale_only", "rank_gauss", "none", "robust_z"]


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_others_stand_where_they_would_among_members_who_do_not_notice(kind, seed):
    """Three days with members, others and gaps; others repeat values of members, or are beyond."""
    rng = np.random.default_rng(seed)
    members_D, stocks_D = np.array([7, 5, 8]), np.array([9, 9, 8])
    x_DN = np.round(rng.normal(size=(3, 9)), 1).astype(np.float32)
    x_DN[0, 7], x_DN[1, 5:7] = x_DN[0, 2], [x_DN[1, 4], np.inf]
    x_DN[0, 8], x_DN[1, 7:] = 99.0, [-99.0, np.nan]
    x_DN[2, 8], x_DN[2, 3] = np.nan, np.nan
    specs = [FeatureSpec(name="a", family="f", normalisation=kind)]

    def run(counts_D):
        normalise = Normaliser(specs, PackConfig())
        bits, found = normalise(range(1), *as_block(x_DN[None], members_D, counts_D))
        return bits[0].view(np.float16).astype(np.float32), found

    (whole, found), (alone, _) = run(stocks_D), run(members_D)
    for day, count in enumerate(members_D):
        np.testing.assert_array_equal(whole[day, :count], alone[day, :count])
    assert whole[0, 7] == whole[0, 2]
    assert whole[1, 5] == whole[1, 4]
    assert whole[1, 6] == whole[1, 8] == 0.0, "infinite and missing"
    assert found.infinite_F[0] == 0
    if kind != "none":
        assert whole[0, 8] >= whole[0, :7].max()
        assert whole[1, 7] <= whole[1, :5].min()
    if kind == "rank_gauss":
        assert whole[0, 8] <= score_table(7)[-1] + 1e-3, "within the members' extremes"
