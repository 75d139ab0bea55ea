"""Percentiles among the day's universe, against SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from atft_hpo.data.features.cross_section import CrossSection
from atft_hpo.data.ingest.prices import Prices


def rows_of(present_DN: np.ndarray, alive_DN: np.ndarray) -> Prices:
    """Prices whose rows are the present cells, stock by stock; only places matter here."""
    stock, day = np.nonzero(present_DN.T)
    counts = present_DN.sum(axis=0)
    any_price = np.ones(len(day))
    return Prices(
        dates=np.datetime64("2020-01-01") + np.arange(len(present_DN)),
        codes=tuple(f"S{n}" for n in range(present_DN.shape[1])),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        day_R=day.astype(np.int32),
        open_R=any_price,
        high_R=any_price,
        low_R=any_price,
        close_R=any_price,
        volume_R=any_price,
        traded_value_R=any_price,
        tradable_R=np.ones(len(day), np.bool_),
        alive_R=alive_DN.T[stock, day],
        sector_names=(),
        sector_R=np.full(len(day), -1, np.int32),
        report={},
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_ranks_equal_scipys_over_the_universe_of_each_day(seed: int) -> None:
    rng = np.random.default_rng(seed)
    present, alive = rng.random((140, 7)) < 0.8, rng.random((140, 7)) < 0.7
    prices = rows_of(present, alive)
    values = rng.integers(0, 4, len(prices.day_R)).astype(np.float32)  # ties
    values[rng.random(len(values)) < 0.1] = np.nan
    values[rng.random(len(values)) < 0.05] = np.inf
    ranked = values.copy()
    CrossSection(prices).rank(ranked)
    for day in range(140):
        today = prices.day_R == day
        inside = today & prices.alive_R & np.isfinite(values)
        expected = (stats.rankdata(values[inside]) - 0.5) / max(inside.sum(), 1)
        assert ranked[inside] == pytest.approx(expected, abs=1e-6)
        outside = today & ~prices.alive_R & np.isfinite(values)
        members = values[inside] if inside.any() else [np.nan]
        expected = [stats.percentileofscore(members, v, "mean") / 100 for v in values[outside]]
        assert ranked[outside] == pytest.approx(expected, abs=1e-6, nan_ok=True)
        assert np.isnan(ranked[today & ~np.isfinite(values)]).all()


def test_a_stock_outside_is_placed_among_members_and_moves_none_of_them() -> None:
    alive = np.array([[True, True, True, False, False]])
    values = np.array([10, 20, 30, 20, 35], np.float32)
    alone, ranked = values[:3].copy(), values.copy()
    CrossSection(rows_of(np.ones((1, 3), bool), alive[:, :3])).rank(alone)
    CrossSection(rows_of(np.ones((1, 5), bool), alive)).rank(ranked)
    assert alone == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert ranked == pytest.approx([1 / 6, 1 / 2, 5 / 6, 1 / 2, 1])


def test_an_empty_universe_ranks_nothing() -> None:
    prices = rows_of(np.ones((3, 2), bool), np.zeros((3, 2), bool))
    values = np.ones(6, np.float32)
    CrossSection(prices).rank(values)
    assert np.isnan(values).all()
