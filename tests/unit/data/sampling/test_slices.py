import numpy as np
import polars as pl
import pytest
import torch

from atft_hpo.config.data_schema import SliceConfig
from atft_hpo.config.training_schema import LossConfig
from atft_hpo.data.array_statistics.ranks import uniform_ranks
from atft_hpo.data.neutralization.pure import pure_label
from atft_hpo.data.neutralization.styles import style_ranks
from atft_hpo.data.sampling.edges import Graph
from atft_hpo.data.sampling.slices import SliceSource, evaluation_cuts
from atft_hpo.data.store.trading import Trading
from atft_hpo.errors import DataError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def source(panel, config):
    return SliceSource(panel, config, CPU)


def with_slices(config, **changes):
    slices = config.slices.model_dump() | changes
    return config.model_copy(update={"slices": SliceConfig(**slices)})


def seen(source, plan):
    """How often each live (day, stock) stands on a slice day of the plan."""
    count_DN = np.zeros(source.panel.alive.shape, dtype=int)
    for index in plan:
        batch = source.batch(index)
        live_NS = batch.alive_NS.numpy()
        days = np.arange(batch.first_day, batch.first_day + live_NS.shape[1])
        count_DN[np.ix_(days, batch.stocks.numpy())] += live_NS.T
    return count_DN


@pytest.mark.parametrize("stocks", [None, 12, 1])
def test_an_epoch_holds_every_live_training_cell_once(panel, config, stocks):
    source = SliceSource(panel, with_slices(config, stocks=stocks), CPU)
    expected = np.where(np.isin(np.arange(160), source.split.train)[:, None], panel.alive, False)
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        plan = source.training_plan(generator)
        np.testing.assert_array_equal(seen(source, plan), expected.astype(int))
        if stocks is not None:
            assert max(len(index.stocks) for index in plan) <= stocks


def test_epochs_differ_and_a_seed_repeats_them(source):
    def epochs(seed):
        generator = torch.Generator().manual_seed(seed)
        return [[i.days for i in source.training_plan(generator)] for _ in range(4)]

    assert epochs(1) == epochs(1)
    first = epochs(1)
    assert len({tuple(sorted(map(str, plan))) for plan in first}) > 1
    assert any(plan != sorted(plan, key=lambda days: days.start) for plan in first)


def test_no_training_label_reaches_validation(source, panel):
    reach = max(panel.manifest.horizons_days) + panel.manifest.delay_days
    for index in source.training_plan(torch.Generator().manual_seed(0)):
        batch = source.batch(index)
        labelled = ~torch.isnan(batch.label_NSQ).all(dim=2).all(dim=0)
        last = batch.first_day + int(labelled.nonzero().max())
        assert last in source.split.train
        assert last + reach < source.split.validation.start


def test_pure_labels_are_ranks_of_what_sectors_and_styles_leave(panel, config):
    # 30 stocks less 3 sectors and 7 styles leave 20: just enough on the days when all are alive.
    pure = config.model_copy(update={"loss": LossConfig(label="pure")})
    source = SliceSource(panel, pure, CPU)
    batch = source.batch(source.evaluation_plan(range(60, 80))[0])
    days = slice(batch.first_day, batch.first_day + batch.label_NSQ.shape[1])
    label_SN = batch.label_NSQ[..., 0].T.numpy()
    expected_DN = pure_label(
        np.array(panel.targets[..., 0]), panel.alive, panel.sector, style_ranks(panel)
    )
    np.testing.assert_array_equal(label_SN, uniform_ranks(expected_DN)[days][:, batch.stocks])
    plain = SliceSource(panel, config, CPU).batch(source.evaluation_plan(range(60, 80))[0])
    assert not torch.equal(batch.label_NSQ, plain.label_NSQ)
    assert torch.equal(batch.return_NS.nan_to_num(), plain.return_NS.nan_to_num())


def test_a_panel_too_small_for_pure_labels_is_an_error(pack, market, config):
    few = pack(market.filter(pl.col("code") <= "S024"))
    pure = config.model_copy(update={"loss": LossConfig(label="pure")})
    with pytest.raises(DataError, match=r"at most 25 stocks, 7 styles.*loss.label = \"rank\""):
        SliceSource(few, pure, CPU)


def test_evaluation_covers_its_days_in_order_with_context(source):
    for part in (source.split.validation, range(0, 160)):
        plan = source.evaluation_plan(part)
        assert [day for index in plan for day in index.days] == list(part)
        assert all(index.context == min(20, index.days.start) for index in plan)


def test_evaluation_slices_are_long_whatever_the_training_slices():
    seed = range(1448, 1896)
    for days in (20, 120):
        cuts = evaluation_cuts(seed, SliceConfig(days=days))
        assert cuts == [range(1448, 1688), range(1688, 1896)]
    assert evaluation_cuts(seed, SliceConfig(days=400)) == [seed]
    assert evaluation_cuts(range(10, 60), SliceConfig()) == [range(10, 60)]


def test_whole_slices_cover_days_in_the_length_asked(source, panel):
    plan = source.whole_slices(range(20, 140), 60)
    assert [index.days for index in plan] == [range(20, 80), range(80, 140)]
    alive = panel.alive[60:140].any(axis=0)  # 20 days of context
    np.testing.assert_array_equal(plan[1].stocks, np.flatnonzero(alive))


def test_batch_shapes_and_types(source):
    batch = source.batch(source.evaluation_plan(range(40, 70))[0])
    n, t, s, k = len(batch.stocks), 50, 30, 4
    assert batch.x_NTF.shape == (n, t, 5)
    assert batch.x_NTF.dtype == torch.float16
    assert batch.x_NTF.is_contiguous()
    assert batch.present_NT.shape == (n, t)
    assert batch.present_NT.dtype == torch.bool
    assert batch.label_NSQ.shape == (n, s, 2)
    assert batch.return_NS.shape == batch.executable_NS.shape == batch.alive_NS.shape == (n, s)
    assert batch.neighbours_SNK.shape == (s, n, k)
    assert batch.edge_SNKE.shape == (s, n, k, 2)
    assert batch.sector_NT.dtype == batch.neighbours_SNK.dtype == batch.stocks.dtype == torch.int64
    assert (batch.context, batch.first_day) == (20, 40)


def test_batch_holds_the_panels_numbers(source, panel):
    batch = source.batch(source.evaluation_plan(range(40, 70))[0])
    stocks = batch.stocks.numpy()
    x = panel.features[20:70][:, stocks].astype(np.float32).transpose(1, 0, 2)
    np.testing.assert_array_equal(batch.x_NTF, x)
    np.testing.assert_array_equal(batch.present_NT, panel.present[20:70][:, stocks].T)
    np.testing.assert_array_equal(batch.alive_NS, panel.alive[40:70][:, stocks].T)
    np.testing.assert_array_equal(batch.slice_sectors, panel.sector[40:70][:, stocks].T)
    trading = Trading.of(panel, range(40, 70))
    np.testing.assert_array_equal(batch.return_NS, trading.position_DN[:, stocks].T)
    np.testing.assert_array_equal(batch.executable_NS, trading.executable_DN[:, stocks].T)


def test_a_base_comes_along_with_the_days_it_is_known_of(panel, config):
    source = SliceSource(panel, config, torch.device("cpu"))
    days = source.split.validation
    first, second = source.evaluation_plan(days)[0], source.evaluation_plan(source.split.train)[0]
    assert source.batch(first).base_NSQ is None
    assert not source.has_base(days)
    shape = (len(days), source.stock_count, len(panel.manifest.horizons_days))
    base_DNQ = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    source.set_base(days, base_DNQ)
    assert source.has_base(days)
    assert not source.has_base(range(days.start - 1, days.stop))
    found_NSQ = source.batch(first).base_NSQ
    expected = base_DNQ[: len(first.days), first.stocks]
    assert np.array_equal(found_NSQ.transpose(0, 1), expected)
    assert source.batch(second).base_NSQ.isnan().all()


def test_labels_are_standardised_ranks_over_the_whole_universe(panel, config):
    whole = SliceSource(panel, config, CPU)
    batch = whole.batch(whole.evaluation_plan(range(60, 80))[0])
    assert torch.nanmean(batch.label_NSQ).abs() < 1e-6
    return_N = torch.from_numpy(panel.targets[63, batch.stocks, 1])
    order = return_N.nan_to_num(-9).argsort()
    assert (batch.label_NSQ[order, 3, 1].nan_to_num(-9).diff() >= 0).all()
    by_cell = {
        int(stock): batch.label_NSQ[i, :, 0].tolist() for i, stock in enumerate(batch.stocks)
    }
    subset = SliceSource(panel, with_slices(config, stocks=7), CPU)
    index = subset.training_plan(torch.Generator().manual_seed(0))[0]
    part = subset.batch(index)
    for i, stock in enumerate(part.stocks):
        for s in range(part.label_NSQ.shape[1]):
            day = part.first_day + s
            if 60 <= day < 80:
                expected = by_cell[int(stock)][day - 60]
                assert float(part.label_NSQ[i, s, 0]) == pytest.approx(expected, nan_ok=True)


def test_stocks_never_alive_in_a_slice_are_left_out(source, panel):
    early = source.batch(source.evaluation_plan(range(0, 45))[0])
    late = source.batch(source.evaluation_plan(range(115, 160))[0])
    codes = panel.manifest.codes
    assert "S001" not in {codes[n] for n in early.stocks}
    assert "S002" not in {codes[n] for n in late.stocks}
    assert "S001" in {codes[n] for n in late.stocks}


@pytest.mark.parametrize("stocks", [None, 11])
def test_edges_are_those_of_the_day_in_local_positions(panel, config, stocks):
    source = SliceSource(panel, with_slices(config, stocks=stocks), CPU)
    graph: Graph = source.graph
    edges = 0
    for index in source.training_plan(torch.Generator().manual_seed(1)):
        batch = source.batch(index)
        member = batch.stocks.tolist()
        for s, day in enumerate(index.days):
            g = graph.graph_of_day_D[day]
            for n, stock in enumerate(member):
                for k in range(4):
                    far = graph.neighbours_GNK[g, stock, k] if g >= 0 else -1
                    real = far in member and panel.alive[day, far] and panel.alive[day, stock]
                    near = int(batch.neighbours_SNK[s, n, k])
                    assert near == (member.index(far) if real else -1)
                    if real:
                        edges += 1
                        expected = graph.edges_GNKE[g, stock, k]
                        np.testing.assert_array_equal(batch.edge_SNKE[s, n, k], expected)
                    else:
                        assert (batch.edge_SNKE[s, n, k] == 0).all()
    assert edges > 100


def test_a_panel_shorter_than_the_graph_window_has_no_edges(panel, config):
    graph = config.graph.model_copy(update={"window_days": 200})
    source = SliceSource(panel, config.model_copy(update={"graph": graph}), CPU)
    batch = source.batch(source.evaluation_plan(range(30, 60))[0])
    assert (batch.neighbours_SNK == -1).all()
    assert (batch.edge_SNKE == 0).all()
    assert batch.edge_SNKE.shape == (*batch.neighbours_SNK.shape, 2)


def test_a_panel_too_short_to_split_can_still_be_predicted(panel, config):
    split = config.split.model_copy(update={"embargo_days": 60})
    source = SliceSource(panel, config.model_copy(update={"split": split}), CPU)
    assert [index.days for index in source.evaluation_plan(range(160))] == [range(160)]
    with pytest.raises(DataError, match="for the validation range"):
        source.training_plan(torch.Generator())


def test_features_stay_on_disk_without_cuda(source):
    assert not source.features_resident


def test_writing_into_a_batch_leaves_the_panel_alone(panel, config):
    source = SliceSource(panel, config, CPU)
    index = source.evaluation_plan(range(40, 70))[0]
    before = source.batch(index)
    after = source.batch(index)
    for tensor in (after.x_NTF, after.label_NSQ, after.edge_SNKE, after.return_NS):
        tensor.fill_(7)
    again = source.batch(index)
    assert torch.equal(again.x_NTF, before.x_NTF)
    assert torch.equal(again.label_NSQ.nan_to_num(), before.label_NSQ.nan_to_num())
    assert torch.equal(again.return_NS.nan_to_num(), before.return_NS.nan_to_num())
    assert torch.equal(again.edge_SNKE, before.edge_SNKE)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_batch_on_cuda_equals_one_on_cpu(panel, config):
    cuda = SliceSource(panel, config, torch.device("cuda"))
    assert cuda.features_resident
    index = cuda.evaluation_plan(range(40, 70))[0]
    there, here = cuda.batch(index).to(CPU), SliceSource(panel, config, CPU).batch(index)
    for name, tensor in vars(here).items():
        if isinstance(tensor, torch.Tensor):
            torch.testing.assert_close(getattr(there, name), tensor, rtol=0, atol=0, equal_nan=True)
