"""The assembled model: causality, isolation of stocks, zero starts, parameter groups, precision."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from atft_hpo.config.model_schema import GatConfig, ModelConfig
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.errors import ConfigError
from atft_hpo.model.atft import ATFT, KEPT_SHARE, MODULES, ModelInputs
from atft_hpo.model.heads import Forecast

Model = Callable[..., ATFT]
Slice = Callable[..., Batch]
kinds = pytest.mark.parametrize("kind", ["dft", "lsq"])


def equal(a: Forecast, b: Forecast) -> bool:
    return torch.equal(a.point_SNQ, b.point_SNQ) and torch.equal(a.quantiles_SNQP, b.quantiles_SNQP)


def loss(forecast: Forecast, batch: Batch) -> Tensor:
    label_SNQ = batch.label_NSQ.transpose(0, 1)
    error = (forecast.point_SNQ - label_SNQ).square().mean()
    return error + (forecast.quantiles_SNQP - label_SNQ.unsqueeze(-1)).abs().mean()


def train(model: ATFT, batch: Batch, steps: int) -> ATFT:
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(batch), batch).backward()
        optimizer.step()
    return model.eval()


def test_shapes_and_dtype(make_model: Model, make_batch: Slice, modules: tuple[str, ...]) -> None:
    point, quantiles = make_model(modules)(make_batch())
    assert point.shape == (12, 7, 2)
    assert quantiles.shape == (12, 7, 2, 5)
    assert point.dtype == quantiles.dtype == torch.float32
    assert point.isfinite().all()
    assert quantiles.isfinite().all()


@kinds
@torch.no_grad()
def test_the_future_changes_nothing(
    make_model: Model, make_batch: Slice, modules: tuple[str, ...], kind: str
) -> None:
    model, batch, day = make_model(modules, kind=kind, strengths=0.5), make_batch(), 6
    start = batch.context + day
    x_NTF, present_NT = batch.x_NTF.clone(), batch.present_NT.clone()
    x_NTF[:, start:] = torch.randn_like(x_NTF[:, start:])
    present_NT[:, start:] = torch.rand(present_NT[:, start:].shape) > 0.5
    neighbours, edges = batch.neighbours_SNK.clone(), batch.edge_SNKE.clone()
    neighbours[day:] = torch.randint(-1, 7, neighbours[day:].shape)
    edges[day:] += 1.0
    changed = dataclasses.replace(
        batch, x_NTF=x_NTF, present_NT=present_NT, neighbours_SNK=neighbours, edge_SNKE=edges
    )
    before, after = model(batch), model(changed)
    assert torch.allclose(before.point_SNQ[:day], after.point_SNQ[:day], atol=1e-6)
    assert not torch.allclose(before.point_SNQ[day:], after.point_SNQ[day:], atol=1e-3)
    # with the same cells alive the shapes are the same, and so is every bit
    changed = dataclasses.replace(changed, present_NT=batch.present_NT)
    after = model(changed)
    assert torch.equal(before.point_SNQ[:day], after.point_SNQ[:day])
    assert torch.equal(before.quantiles_SNQP[:day], after.quantiles_SNQP[:day])


@torch.no_grad()
def test_an_unconnected_stock_changes_nothing(make_model: Model, make_batch: Slice) -> None:
    model, batch = make_model(strengths=0.5), make_batch()
    neighbours = batch.neighbours_SNK.clone()
    neighbours[neighbours == 3] = -1  # nobody listens to stock 3
    neighbours[:, 0, 0] = 5  # stock 0 listens to stock 5, which does not listen to stock 4
    neighbours[:, 5] = -1
    neighbours[:, 0, 1:] = -1
    batch = dataclasses.replace(batch, neighbours_SNK=neighbours)
    x_NTF = batch.x_NTF.clone()
    x_NTF[3] += 1.0
    after = model(dataclasses.replace(batch, x_NTF=x_NTF)).point_SNQ
    before = model(batch).point_SNQ
    others = [0, 1, 2, 4, 5, 6]
    assert torch.equal(before[:, others], after[:, others])
    assert not torch.equal(before[:, 3], after[:, 3])
    x_NTF[5] += 1.0
    after = model(dataclasses.replace(batch, x_NTF=x_NTF)).point_SNQ
    assert not torch.equal(after[:, 0], before[:, 0])


def test_switching_on_changes_nothing(
    make_model: Model, make_batch: Slice, modules: tuple[str, ...]
) -> None:
    model, batch = make_model(()), make_batch()
    before = model(batch)
    model.enable(modules)
    assert model.active == set(modules)
    assert equal(before, model(batch))


def test_strengths_learn_from_the_first_step(make_model: Model, make_batch: Slice) -> None:
    model, batch = make_model(), make_batch()
    loss(model(batch), batch).backward()
    strengths = model.parameter_groups()["strengths"]
    assert len(strengths) == 4  # FAN's and SAN's channels, FAN's forecast, the graph
    for strength in strengths:
        assert not strength.any()
        assert strength.grad is not None
        assert (strength.grad != 0).all()


def test_every_parameter_has_a_gradient_once_modules_are_open(
    make_model: Model, make_batch: Slice
) -> None:
    model, batch = make_model(strengths=0.3), make_batch()
    loss(model(batch), batch).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_modules_that_are_off_are_not_computed(make_model: Model, make_batch: Slice) -> None:
    model, batch = make_model((), strengths=0.3), make_batch()
    loss(model(batch), batch).backward()
    idle = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is None}
    assert idle == {"selection", "graph", "main_forecast"}
    assert model.graph.join.weight.grad is None
    assert model.selection.networks.entry_weight.grad is not None


def test_without_fan_columns_fan_and_san_contribute_nothing(
    make_model: Model, make_batch: Slice
) -> None:
    model, batch = make_model((), fan_columns=(), strengths=0.3), make_batch()
    before = model(batch)
    model.enable(("fan", "san"))
    assert model.enabled == {"fan", "san"}
    assert model.active == frozenset()
    assert equal(before, model(batch))
    assert len(model.parameter_groups()["strengths"]) == 1


def test_unknown_module_is_refused(make_model: Model) -> None:
    with pytest.raises(ConfigError, match="gnn"):
        make_model(("gnn",))


@pytest.mark.parametrize("fan_columns", [(0, 3), ()])
def test_parameter_groups_are_disjoint_and_complete(
    make_model: Model, fan_columns: tuple[int, ...]
) -> None:
    model = make_model(fan_columns=fan_columns)
    groups = model.parameter_groups()
    grouped = [id(p) for group in groups.values() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    assert set(groups) == {"weights", "graph", "no_decay", "strengths", "kernels"}
    assert all(p.numel() == 0 or not p.any() for p in groups["strengths"])
    assert [tuple(p.shape) for p in groups["kernels"]] == [(8, 14), (8, 6)]
    assert id(model.heads.point.bias) in map(id, groups["no_decay"])
    assert id(model.recurrence.lstm.bias_hh_l0) in map(id, groups["no_decay"])
    assert id(model.selection.networks.norm_gain) in map(id, groups["no_decay"])
    assert id(model.recurrence.lstm.weight_hh_l0) in map(id, groups["weights"])


def test_size_at_the_seed_scale() -> None:
    model = ATFT(ModelConfig(hidden=64), ModelInputs(395, tuple(range(12)), 34, 4))
    total = sum(p.numel() for p in model.parameters())
    selection = sum(p.numel() for p in model.selection.parameters())
    assert total == pytest.approx(5.6e6, rel=0.05)
    assert selection / total >= 0.94


@pytest.mark.parametrize(
    ("level", "frozen"),
    [("none", set()), ("selection", {"selection"}), ("encoder", {"selection", "recurrence"})],
)
def test_freeze(make_model: Model, make_batch: Slice, level: str, frozen: set[str]) -> None:
    model, batch = make_model(strengths=0.3), make_batch()
    model.freeze("encoder")
    model.freeze(level)
    loss(model(batch), batch).backward()
    still = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is None}
    assert still == frozen
    assert {n.split(".")[0] for n, p in model.named_parameters() if not p.requires_grad} == frozen


@pytest.mark.parametrize("steps", [0, 12])
def test_where_a_slice_is_cut_hardly_matters(
    make_model: Model, make_batch: Slice, cut: Callable[..., Batch], steps: int
) -> None:
    """Context = lookback against a far longer one, every module on with live strengths."""
    long = make_batch(context=40, days=20, stocks=30)
    short = cut(long, 32, context=8)  # the lookback of these models
    model = train(make_model(strengths=0.1, chunk_tokens=1024), long, steps)
    with torch.no_grad():
        a, b = model(long).point_SNQ, model(short).point_SNQ
    alive = long.present_NT[:, 40:].T
    correlation = torch.corrcoef(torch.stack([a[..., 0][alive], b[..., 0][alive]]))[0, 1]
    assert correlation > 0.999


def test_no_context_at_all(make_model: Model, make_batch: Slice, modules: tuple[str, ...]) -> None:
    assert make_model(modules)(make_batch(context=0)).point_SNQ.isfinite().all()


def test_bf16_autocast_is_close(
    make_model: Model, make_batch: Slice, modules: tuple[str, ...]
) -> None:
    model, batch = make_model(modules, strengths=0.3), make_batch(stocks=30)
    exact = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(batch)
        loss(rounded, batch).backward()
    assert rounded.point_SNQ.dtype == torch.float32
    assert (rounded.point_SNQ - exact.point_SNQ).abs().max() < 0.1 * exact.point_SNQ.std()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("chunk", "kept"), [(1, 0), (50, 2), (100, 0), (50, 8)])
def test_chunks_change_neither_forecast_nor_gradient(
    make_model: Model, make_batch: Slice, modules: tuple[str, ...], chunk: int, kept: int
) -> None:
    """One stock or some at a time, and one day of the graph or some, recomputed or not."""
    batch = make_batch()
    whole, chunked = make_model(modules, strengths=0.3), make_model(modules, chunk_tokens=chunk)
    chunked.kept_chunks = kept
    chunked.load_state_dict(whole.state_dict())
    for model in (whole, chunked):
        loss(model(batch), batch).backward()
    for a, b in zip(whole(batch), chunked(batch), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for (name, a), b in zip(whole.named_parameters(), chunked.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_recomputation_sees_the_same_dropout(make_model: Model, make_batch: Slice) -> None:
    """The gradient must be that of the forecast it goes with."""
    model, batch = make_model(strengths=0.3, dropout=0.4, chunk_tokens=50).train(), make_batch()
    model.kept_chunks = 1

    def shaken() -> Tensor:
        torch.manual_seed(3)
        return loss(model(batch), batch)

    weight = model.attention.value.weight
    (gradient,) = torch.autograd.grad(shaken(), weight)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        weight += 1e-2 * direction
        above = shaken()
        weight -= 2e-2 * direction
        slope = (above - shaken()) / 2e-2
    assert torch.isclose(gradient.norm(), slope, rtol=0.05)


def kept_bytes(model: ATFT, batch: Batch) -> int:
    """What a forecast keeps for its gradient."""
    storages = dict[int, int]()

    def pack(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        forecast = model(batch)
    assert forecast.point_SNQ.requires_grad
    return sum(storages.values())


def test_memory_for_the_gradient_does_not_grow_with_the_stocks(
    make_model: Model, make_batch: Slice
) -> None:
    """What is kept beyond a few numbers per stock and day (3 H of them) is that of a chunk."""

    def kept(stocks: int, chunk_tokens: int) -> int:
        model = make_model(chunk_tokens=chunk_tokens).train()
        model.kept_chunks = 1
        return kept_bytes(model, make_batch(stocks=stocks))

    few, many = kept(20, 200), kept(80, 200)
    assert kept(80, 100_000) > 4 * many
    assert many < 3 * few


def test_chunks_fill_the_share_of_a_cards_memory(make_batch: Slice) -> None:
    """What they are counted to keep is what they keep, at the size the count is for."""
    config = ModelConfig(hidden=64, lookback_days=8, attention_heads=4, gat=GatConfig(heads=(4, 2)))
    model = ATFT(config, ModelInputs(395, tuple(range(34)), 3, 2)).train()
    model.enable(MODULES)
    few, many = (
        kept_bytes(model, make_batch(stocks=n, features=395, context=60, days=120)) for n in (2, 6)
    )
    of_stock, of_slice = 4 * 180, 4 * 120  # stock-days more
    memory = 80 << 30
    model.fill(memory, neighbours=3)
    counted = KEPT_SHARE * memory / model.chunk_tokens  # two stock-days, and one in the graph
    assert model.kept_chunks == 2
    assert model.chunk_tokens > 180 * 640
    graph = 32 * 3 * 64
    expected = of_stock * (counted - graph) / 2 + of_slice * graph
    assert 0.8 < expected / (many - few) < 1.3


def test_dropout_in_training_only_and_seeded(make_model: Model, make_batch: Slice) -> None:
    model, batch = make_model(), make_batch()
    assert equal(model(batch), model(batch))
    model.train()
    assert not equal(model(batch), model(batch))
    torch.manual_seed(5)
    first = model(batch)
    torch.manual_seed(5)
    assert equal(first, model(batch))


def test_initialisation_follows_the_seed(make_model: Model, make_batch: Slice) -> None:
    batch = make_batch()
    torch.manual_seed(7)
    first = make_model()(batch)
    torch.manual_seed(7)
    assert equal(first, make_model()(batch))
    assert not equal(first, make_model()(batch))


def test_training_is_deterministic(make_model: Model, make_batch: Slice) -> None:
    batch, states = make_batch(), []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(train(make_model(), batch, 3).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_learns_a_planted_signal(make_model: Model, make_batch: Slice) -> None:
    batch = make_batch(stocks=20)
    planted = batch.x_NTF[:, batch.context :, :1].expand_as(batch.label_NSQ)
    batch = dataclasses.replace(batch, label_NSQ=planted)
    model = make_model((), chunk_tokens=1024)
    before = loss(model(batch), batch)
    assert loss(train(model, batch, 40)(batch), batch) < 0.6 * before


def test_selection_weights(make_model: Model, make_batch: Slice) -> None:
    weight_F = make_model().selection_weights(make_batch())
    assert weight_F.shape == (9,)
    assert torch.isclose(weight_F.sum(), torch.tensor(1.0))
    assert (weight_F > 0).all()


def test_state_dict_round_trip(make_model: Model, make_batch: Slice) -> None:
    batch, trained = make_batch(), make_model(strengths=0.3)
    torch.manual_seed(9)
    other = make_model(MODULES)
    other.load_state_dict(trained.state_dict())
    assert equal(trained(batch), other(batch))
