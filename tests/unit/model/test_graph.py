"""The dense GATv2 is torch-geometric's, and the graph adds neighbours only."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import elu, linear

from atft_hpo.model.graph import (
    CORRELATION_PRIOR,
    LAG_DAYS,
    DenseGATv2,
    GraphAttention,
    NodeEncoder,
)

geometric = pytest.importorskip("torch_geometric.nn")


def edge_list(neighbours_NK: Tensor, edge_NKE: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbour lists of one day as (edge_index [2, E], attributes): source → target."""
    present = neighbours_NK >= 0
    target, _ = present.nonzero().T
    return torch.stack([neighbours_NK[present], target]), edge_NKE[present]


def twin(dense: DenseGATv2, inputs: int, outputs: int) -> torch.nn.Module:
    """torch-geometric's layer with the same weights."""
    layer = geometric.GATv2Conv(
        inputs, outputs // dense.heads, heads=dense.heads, edge_dim=2, add_self_loops=False,
        share_weights=False,
    )  # fmt: skip
    with torch.no_grad():
        for theirs, ours in ((layer.lin_l, dense.source), (layer.lin_r, dense.target)):
            theirs.weight.copy_(ours.weight)
            theirs.bias.copy_(ours.bias)
        layer.lin_edge.weight.copy_(dense.edge.weight)
        layer.att.copy_(dense.attention)
        layer.bias.copy_(dense.bias.normal_())
    return layer


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_equals_torch_geometric_with_gradients(heads: int) -> None:
    days, stocks, inputs, outputs = 3, 8, 6, 8
    dense = DenseGATv2(inputs, outputs, heads, edges=2, dropout=0.0)
    theirs = twin(dense, inputs, outputs)
    neighbours = torch.stack(
        [torch.stack([torch.randperm(stocks)[:4] for _ in range(stocks)]) for _ in range(days)]
    )
    neighbours[torch.rand(neighbours.shape) < 0.3] = -1
    neighbours[:, 2] = -1  # a node without neighbours
    edges = torch.randn(days, stocks, 4, 2)
    ours_x, theirs_x = (torch.randn(days, stocks, inputs).requires_grad_() for _ in range(2))
    theirs_x = ours_x.detach().clone().requires_grad_()
    ours = dense(ours_x, neighbours.clamp(min=0), edges, neighbours >= 0)
    expected = torch.stack(
        [theirs(theirs_x[d], *edge_list(neighbours[d], edges[d])) for d in range(days)]
    )
    assert torch.allclose(ours, expected, atol=1e-5)
    assert torch.equal(ours[:, 2], dense.bias.expand(days, -1))
    direction = torch.randn_like(ours)
    ours.backward(direction)
    expected.backward(direction)
    pairs = [
        (ours_x, theirs_x), (dense.source.weight, theirs.lin_l.weight),
        (dense.target.weight, theirs.lin_r.weight), (dense.edge.weight, theirs.lin_edge.weight),
        (dense.source.bias, theirs.lin_l.bias), (dense.bias, theirs.bias),
    ]  # fmt: skip
    for mine, reference in pairs:
        assert torch.allclose(mine.grad, reference.grad, atol=1e-4)
    assert torch.allclose(dense.attention.grad, theirs.att.grad[0], atol=1e-4)


def test_encoder_mixes_the_last_days() -> None:
    encoder = NodeEncoder(features=3, hidden=4)
    x_NTF = torch.randn(2, 12, 3)
    code = linear(x_NTF, encoder.project.weight, encoder.project.bias)
    day = 9
    mixed = sum(
        code[:, day - lag] * encoder.day_kernel[:, LAG_DAYS - 1 - lag] for lag in range(LAG_DAYS)
    )
    assert torch.allclose(encoder(x_NTF, 7)[:, day - 7], encoder.mix(elu(mixed)), atol=1e-5)


@pytest.mark.parametrize("context", [0, 2, 5, 9])
def test_encoder_takes_any_context(context: int) -> None:
    encoder = NodeEncoder(features=3, hidden=4)
    x_NTF = torch.randn(2, 12, 3)
    out = encoder(x_NTF, context)
    assert out.shape == (2, 12 - context, 4)
    reachable = min(context, LAG_DAYS - 1)
    assert torch.allclose(out, encoder(x_NTF[:, context - reachable :], reachable), atol=1e-6)


def module(strength: float = 1.0) -> GraphAttention:
    graph = GraphAttention(features=3, hidden=4, heads=(2, 1), edges=2, dropout=0.0)
    torch.nn.init.constant_(graph.strength, strength)
    for layer in graph.layers:
        torch.nn.init.normal_(layer.bias)
    return graph


def inputs() -> tuple[Tensor, ...]:
    neighbours = torch.randint(0, 5, (4, 5, 2))
    neighbours[:, 3] = -1
    alive = torch.ones(4, 5, dtype=torch.bool)
    return torch.randn(4, 5, 4), torch.randn(4, 5, 4), alive, neighbours, torch.randn(4, 5, 2, 2)


def test_a_stock_without_neighbours_gets_exactly_nothing() -> None:
    messages = module()(*inputs())
    assert not messages[:, 3].any()
    assert messages[:, [0, 1, 2, 4]].all()


def test_dead_neighbours_are_not_heard() -> None:
    code, state, alive, neighbours, edges = inputs()
    neighbours[:] = -1
    neighbours[:, 0, 0], neighbours[:, 0, 1] = 1, 2
    graph = module()
    alive[:, 2] = False
    with_dead = graph(code, state, alive, neighbours, edges)
    neighbours[:, 0, 1] = -1
    assert torch.equal(with_dead, graph(code, state, alive, neighbours, edges))
    alive[:, 1] = False
    assert not graph(code, state, alive, neighbours, edges).any()


def test_zero_strength_adds_nothing_with_a_live_gradient() -> None:
    graph = module(strength=0.0)
    messages = graph(*inputs())
    assert not messages.any()
    messages.sum().backward()
    assert graph.strength.grad is not None
    assert graph.strength.grad.all()


def test_attention_begins_with_the_correlations() -> None:
    """Two neighbours, ρ = .8 and .3: the stronger one has e^(4 · .5) times the weight."""
    layer = DenseGATv2(4, 4, 1, edges=2, dropout=0.0)
    with torch.no_grad():
        layer.attention.zero_()
    graph = GraphAttention(3, 4, (1,), edges=2, dropout=0.0)
    x_SNH = torch.randn(1, 3, 4)
    neighbours = torch.tensor([[[1, 2], [0, 2], [0, 1]]])
    edges = torch.tensor([[0.8, 1.0], [0.3, 1.0]]).expand(1, 3, 2, 2)
    prior = (edges * graph.edge_prior).sum(-1)
    out = layer(x_SNH, neighbours, edges, torch.ones(1, 3, 2, dtype=torch.bool), prior)
    strong, weak = (layer.source(x_SNH)[0, i] for i in (1, 2))
    share = torch.tensor([0.8 * CORRELATION_PRIOR, 0.3 * CORRELATION_PRIOR]).softmax(0)
    assert torch.allclose(out[0, 0], share[0] * strong + share[1] * weak + layer.bias, atol=1e-6)


def test_the_prior_is_learned_from_the_first_open_step() -> None:
    graph = GraphAttention(3, 4, (1,), edges=2, dropout=0.0)
    torch.nn.init.ones_(graph.strength)
    code, state_SNH = torch.randn(2, 1, 3, 4)
    neighbours = torch.tensor([[[1, 2], [0, 2], [0, 1]]])
    alive = torch.ones(1, 3, dtype=torch.bool)
    graph(code, state_SNH, alive, neighbours, torch.rand(1, 3, 2, 2))[..., 0].sum().backward()
    assert graph.edge_prior.grad is not None
    assert graph.edge_prior.grad.abs().sum() > 0


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_a_message_is_trusted_as_a_mean_of_so_many_reports(left: int) -> None:
    """Four neighbours that say the same, and `left` of them: softmax alone would not tell."""
    graph = GraphAttention(3, 4, (2, 1), edges=2, dropout=0.0)
    torch.nn.init.ones_(graph.strength)
    torch.nn.init.constant_(graph.log_doubt, math.log(3.0))
    code, state = torch.randn(2, 1, 1, 4).expand(-1, 4, 5, -1)
    alive = torch.ones(4, 5, dtype=torch.bool)
    neighbours = torch.tensor([1, 2, 3, 4]).expand(4, 5, 4).clone()
    edges = torch.full((4, 5, 4, 2), 0.5)
    everybody = graph(code, state, alive, neighbours, edges)
    neighbours[..., left:] = -1
    few = graph(code, state, alive, neighbours, edges)
    trust = left / (left + 3.0) * (4.0 + 3.0) / 4.0
    assert torch.allclose(few, trust * everybody, atol=1e-6)
    assert everybody.abs().max() > 0.1


def test_trust_is_learned_where_neighbours_are_missing() -> None:
    graph = module()
    code, state, alive, neighbours, edges = inputs()
    graph(code, state, alive, neighbours.clamp(min=0), edges)[..., 0].sum().backward()
    assert graph.log_doubt.grad == 0  # all lists are full
    neighbours[:, :, 1] = -1
    graph(code, state, alive, neighbours, edges)[..., 0].sum().backward()
    assert graph.log_doubt.grad != 0
