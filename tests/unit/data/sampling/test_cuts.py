import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.data.sampling.cuts import day_cuts, stock_groups


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 50), st.integers(1, 200), st.integers(1, 40), st.data())
def test_cuts_cover_the_days_once_without_crumbs(start, count, length, data):
    days = range(start, start + count)
    cuts = day_cuts(days, length, data.draw(st.integers(1, length)))
    assert [day for part in cuts for day in part] == list(days)
    assert max(map(len, cuts)) <= 1.5 * length
    if count >= length / 4:
        assert min(map(len, cuts)) >= length / 4


def test_offset_moves_the_cuts():
    assert day_cuts(range(100), 40, 40) == [range(40), range(40, 80), range(80, 100)]
    assert day_cuts(range(100), 40, 15) == [range(15), range(15, 55), range(55, 100)]
    assert day_cuts(range(100), 40, 5) == [range(45), range(45, 85), range(85, 100)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 80), st.integers(1, 30), st.integers(1, 6), st.integers(0, 99))
def test_groups_cover_the_stocks_once_within_the_limit(count, limit, sectors, seed):
    stocks = np.arange(count) * 2 + 1
    sector = np.random.default_rng(seed).integers(0, sectors, 2 * count + 1)
    groups = stock_groups(stocks, sector, limit, generator(seed))
    assert sorted(np.concatenate(groups)) == stocks.tolist()
    assert max(map(len, groups)) <= limit
    assert len(groups) == -(-count // limit)
    assert all((np.diff(group) > 0).all() for group in groups)


def test_sectors_stay_whole_where_they_fit():
    sector = np.repeat([0, 1, 2, 3], 5)
    groups = stock_groups(np.arange(20), sector, 10, generator())
    assert [len(np.unique(sector[group])) for group in groups] == [2, 2]


def test_groups_differ_from_draw_to_draw():
    sector = np.repeat(np.arange(8), 5)
    source = generator()
    draws = {tuple(stock_groups(np.arange(40), sector, 10, source)[0]) for _ in range(5)}
    assert len(draws) > 1
