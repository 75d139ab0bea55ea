import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.config.data_schema import GraphConfig
from atft_hpo.data.sampling.edges import build_graph, load_graph, strongest, trailing_correlation
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import VolumeError

EVERY, NO_SECTOR = np.ones((80, 12), bool), np.zeros((80, 12), int)
CONFIG = GraphConfig(window_days=20, refresh_days=7, neighbours=4, min_correlation=0.1)


@pytest.fixture
def returns():
    """[80, 12] returns with two factors and some missing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 12)) + 1.5 * rng.normal(size=(80, 1)) * np.repeat([1, -1, 0], 4)
    x[rng.random(x.shape) < 0.1] = np.nan
    return (x / 50).astype(np.float32)


def test_correlation_is_pearson_over_common_days(returns):
    rho = trailing_correlation(returns[:20], returns[:20], 10)
    for i in range(12):
        for j in range(12):
            both = ~np.isnan(returns[:20, i]) & ~np.isnan(returns[:20, j])
            expected = np.corrcoef(returns[:20, i][both], returns[:20, j][both])[0, 1]
            assert rho[i, j] == pytest.approx(expected, abs=1e-6)


def test_correlation_without_enough_common_days_or_variation_is_zero(returns):
    window = returns[:20].copy()
    window[:11, 0] = np.nan
    window[:, 1] = 0.01
    window[:, 2] = np.nan
    rho = trailing_correlation(window, window, 10)
    assert (rho[[0, 1, 2]] == 0).all()
    assert (rho[:, [0, 1, 2]] == 0).all()
    assert abs(rho[4, 5]) > 0.3


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
def test_strongest_are_those_of_a_full_sort(stocks, count, threshold, seed):
    rho = np.random.default_rng(seed).uniform(-1, 1, (stocks, stocks))
    np.fill_diagonal(rho, 0.0)
    places, strength = strongest(rho, count, threshold)
    for i in range(stocks):
        others = sorted((j for j in range(stocks) if j != i), key=lambda j: -abs(rho[i, j]))
        expected = [j for j in others[:count] if abs(rho[i, j]) >= threshold]
        assert [j for j in places[i] if j >= 0] == expected
        np.testing.assert_array_equal(strength[i, : len(expected)], rho[i, expected])


def test_edges_carry_shrunk_correlation_and_sector(returns):
    alive = np.ones(returns.shape, dtype=bool)
    sector = np.tile(np.arange(12) % 2, (80, 1))
    graph = build_graph(returns, alive, alive, sector, CONFIG)
    rho = trailing_correlation(returns[7:27], returns[7:27], 10) * (1 - CONFIG.shrinkage)
    for i in range(12):
        for k in range(4):
            j = graph.neighbours_GNK[1, i, k]
            assert j != i
            assert graph.edges_GNKE[1, i, k, 0] == pytest.approx(rho[i, j], abs=1e-6)
            assert graph.edges_GNKE[1, i, k, 1] == (i % 2 == j % 2)


def test_a_day_uses_the_latest_graph_and_none_before_the_first_window(returns):
    graph = build_graph(returns, EVERY, EVERY, NO_SECTOR, CONFIG)
    assert graph.graph_of_day_D[:19].tolist() == [-1] * 19
    assert graph.graph_of_day_D[[19, 25, 26, 32, 33]].tolist() == [0, 0, 1, 1, 2]
    assert len(graph.neighbours_GNK) == graph.graph_of_day_D[-1] + 1


def test_only_stocks_of_the_universe_at_the_refresh_are_neighbours(returns):
    present, alive = EVERY.copy(), EVERY.copy()
    alive[26, [3, 5]] = False
    present[26, 3] = False
    graph = build_graph(returns, present, alive, NO_SECTOR, CONFIG)
    assert (graph.neighbours_GNK[1, 3] == -1).all()
    assert (graph.neighbours_GNK[1, 5] >= 0).any(), "present: it may enter before the next graph"
    assert not np.isin(graph.neighbours_GNK[1], [3, 5]).any()
    assert np.isin(graph.neighbours_GNK[0], [3, 5]).any()
    assert (graph.edges_GNKE[graph.neighbours_GNK < 0] == 0).all()


def test_a_newcomer_is_scored_with_its_past_and_with_edges_on_its_first_day(pack, market, config):
    """It enters the universe five days after a graph was made."""
    days = market["date"].unique().sort()
    entered = (pl.col("code") != "S004") | (pl.col("date") >= days[104])
    panel = pack(market.with_columns(alive=entered), "entering")
    graph = config.graph
    refreshed = range(graph.window_days - 1, 160, graph.refresh_days)
    assert 104 not in refreshed, "or the test says nothing"
    source = SliceSource(panel, config, torch.device("cpu"))
    (index,) = source.evaluation_plan(range(100, 110))
    batch = source.batch(index)
    own = batch.stocks.tolist().index(panel.manifest.codes.index("S004"))
    assert batch.present_NT[own].all()
    assert (batch.x_NTF[own] != 0).any(dim=1).all(), "context from before it entered"
    assert batch.alive_NS[own].tolist() == [False] * 4 + [True] * 6
    assert (batch.neighbours_SNK[:4, own] == -1).all()
    assert (batch.neighbours_SNK[4:, own] >= 0).any(dim=1).all()
    assert batch.label_NSQ[own, :4].isnan().all()
    assert batch.label_NSQ[own, 4:].isfinite().all()


@settings(max_examples=10, deadline=None)
@given(after=st.integers(19, 78), seed=st.integers(0, 99))
def test_changing_the_future_changes_no_graph_before_it(after, seed):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(80, 8)) + rng.normal(size=(80, 1))).astype(np.float32)
    alive = rng.random(x.shape) > 0.1
    y, other = x.copy(), alive.copy()
    y[after + 1 :] = rng.normal(size=y[after + 1 :].shape)
    other[after + 1 :] ^= True
    sector = rng.integers(2, size=x.shape)
    later = sector.copy()
    later[after + 1 :] = 1 - later[after + 1 :]
    a = build_graph(x, alive, alive, sector, CONFIG)
    b = build_graph(y, other, other, later, CONFIG)
    np.testing.assert_array_equal(a.graph_of_day_D, b.graph_of_day_D)
    known = a.graph_of_day_D[after] + 1
    np.testing.assert_array_equal(a.neighbours_GNK[:known], b.neighbours_GNK[:known])
    np.testing.assert_array_equal(a.edges_GNKE[:known], b.edges_GNKE[:known])


def test_shorter_than_a_window_gives_no_graph(returns):
    graph = build_graph(returns[:10], EVERY[:10], EVERY[:10], NO_SECTOR[:10], CONFIG)
    assert graph.neighbours_GNK.shape == (0, 12, 4)
    assert (graph.graph_of_day_D == -1).all()


def same(a, b):
    return all(
        np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
    )


@pytest.fixture
def own_panel(pack, market):
    return pack(market)


def cached(panel: Panel):
    return list(panel.root.glob("graph-*.npz"))


def test_a_graph_is_cached_per_configuration(own_panel):
    first = load_graph(own_panel, CONFIG)
    assert first.edge_count > 0
    stamp = cached(own_panel)[0].stat().st_mtime_ns
    assert same(load_graph(own_panel, CONFIG), first)
    assert cached(own_panel)[0].stat().st_mtime_ns == stamp
    load_graph(own_panel, CONFIG.model_copy(update={"neighbours": 2}))
    assert len(cached(own_panel)) == 2
    assert not list(own_panel.root.glob(".*"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"text"])
def test_a_damaged_cache_is_rebuilt(own_panel, content):
    first = load_graph(own_panel, CONFIG)
    cached(own_panel)[0].write_bytes(content)
    assert same(load_graph(own_panel, CONFIG), first)
    assert same(load_graph(own_panel, CONFIG), first)


def test_a_cache_that_cannot_be_written_is_named(own_panel, file_size_limit):
    with (
        file_size_limit(100),
        pytest.raises(VolumeError, match=r"graph-.*\.npz: cannot be written"),
    ):
        load_graph(own_panel, CONFIG)
    assert not [path for path in own_panel.root.iterdir() if "graph" in path.name]
