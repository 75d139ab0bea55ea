"""Inspection: exact sums over live tokens, equal to what the forward pass used."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from atft_hpo.data.sampling.batch import Batch
from atft_hpo.model.atft import ATFT
from atft_hpo.model.inspection.watch_attention import watching_attention
from atft_hpo.model.inspection.watch_graph import EDGE_TYPES, RHO_EDGES
from atft_hpo.model.inspection.watch_model import Inspection, inspect_batch

MakeModel = Callable[..., ATFT]
MakeBatch = Callable[..., Batch]


def look(model: ATFT, batch: Batch) -> Inspection:
    with torch.no_grad():
        return inspect_batch(model, batch)


def live_tokens(batch: Batch) -> Tensor:
    return batch.alive_NS


def spied(module: torch.nn.Module, run: Callable[[], Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and outputs of every call of `module` during `run`."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def keep(_: Any, args: Any, out: Tensor) -> None:
        inputs.append(args[0])
        outputs.append(out)

    handle = module.register_forward_hook(keep)
    with torch.no_grad():
        run()
    handle.remove()
    return inputs, outputs


def test_selection_weights_are_those_of_live_tokens(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model, batch = make_model(chunk_tokens=5), make_batch()
    found = look(model, batch).selection
    live_NS = live_tokens(batch)
    weight_BF = model.selection.weights(batch.x_NTF[:, batch.context :][live_NS]).double()
    torch.testing.assert_close(found.mean_weight, weight_BF.mean(0))
    torch.testing.assert_close(found.square_F, weight_BF.square().sum(0))
    torch.testing.assert_close(found.mean_weight.float(), model.selection_weights(batch))
    assert found.tokens_S.tolist() == live_NS.sum(dim=0).tolist()
    assert float(found.mean_weight.sum()) == pytest.approx(1.0)


def test_sectors_share_the_tokens(make_model: MakeModel, make_batch: MakeBatch) -> None:
    batch = make_batch()
    found = look(make_model(), batch).selection
    for sector, (tokens, weight_F) in enumerate(zip(found.tokens_J, found.weight_JF, strict=True)):
        assert tokens == live_tokens(batch)[batch.slice_sectors == sector].sum()
        assert float(weight_F.sum()) == pytest.approx(float(tokens))
    torch.testing.assert_close(found.weight_JF.sum(0), found.weight_SF.sum(0))


def test_a_favoured_feature_comes_first(make_model: MakeModel, make_batch: MakeBatch) -> None:
    model, favoured = make_model(fan_columns=(2, 5)), 5
    place = int((model.selection.order == favoured).nonzero())
    with torch.no_grad():
        model.selection.weigh.norm.bias[place] = 8.0
    weight_F = look(model, make_batch()).selection.mean_weight
    assert int(weight_F.argmax()) == favoured
    assert float(weight_F[favoured]) > 0.9


def test_attention_over_lags_sums_to_the_live_tokens(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    batch = make_batch(days=40)  # more than one block of query days
    found = look(make_model(strengths=0.5), batch).attention
    assert found is not None
    assert found.tokens == live_tokens(batch).sum()
    torch.testing.assert_close(
        found.weight_AL.sum(1), torch.full((2,), found.tokens, dtype=torch.float64)
    )
    assert bool((found.weight_AL > 0).all())


def test_days_without_a_past_look_at_themselves(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    batch = make_batch(context=10, days=3)
    only_today_NT = torch.zeros_like(batch.present_NT)
    only_today_NT[:, 11] = True
    found = look(make_model(), dataclasses.replace(batch, present_NT=only_today_NT)).attention
    assert found.tokens == len(only_today_NT)
    assert found.weight_AL[:, 0].tolist() == pytest.approx([found.tokens] * 2)
    assert not found.weight_AL[:, 1:].any(), "a dead day got attention"


def square_change(model: ATFT, batch: Batch, other: ATFT) -> float:
    """Σ ‖difference‖² of what two models' attentions return, over live tokens."""
    _, one = spied(model.attention, lambda: model(batch))
    _, two = spied(other.attention, lambda: other(batch))
    return float((one[0] - two[0])[live_tokens(batch)].square().sum())


def test_without_a_kernel_the_softmax_path_is_all(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model, batch = make_model(), make_batch(days=20)
    found = look(model, batch).attention
    assert found.kernel_square == 0.0
    assert not found.kernel_HL.any()
    without = copy.deepcopy(model)
    with torch.no_grad():  # nothing comes through values of zero
        without.attention.value.weight.zero_()
        without.attention.value.bias.zero_()
    expected = square_change(model, batch, without)
    assert found.softmax_square == pytest.approx(expected, rel=1e-5)
    assert expected > 0.0


def test_the_kernels_size_is_the_change_that_zero_makes(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model, batch = make_model(strengths=0.5), make_batch(days=20)
    found = look(model, batch).attention
    without = copy.deepcopy(model)
    with torch.no_grad():
        without.attention.lag_kernel.zero_()
    expected = square_change(model, batch, without)
    assert found.kernel_square == pytest.approx(expected, rel=1e-5)
    assert expected > 0.0
    _, outputs = spied(model.attention, lambda: model(batch))
    whole = float(outputs[0][live_tokens(batch)].square().sum())
    assert found.output_square == pytest.approx(whole, rel=1e-5)


def test_kappa_is_in_its_own_unit_whatever_the_basis(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    """A single day set by hand shows at its channel and lag, the mean of all at every lag."""
    model, channel = make_model(), 5
    with torch.no_grad():
        model.attention.lag_kernel[channel, 3] = -2.0
        model.attention.lag_kernel[channel + 1, -1] = 1.0  # the mean of all lags
    kernel_HL = look(model, make_batch()).attention.kernel_HL
    assert kernel_HL.shape == (8, 8)
    assert kernel_HL[channel].tolist() == [0.0] * 3 + [-2.0] + [0.0] * 4
    assert kernel_HL[channel + 1].tolist() == pytest.approx([8**-0.5] * 8)
    assert not kernel_HL[:channel].any()


def test_stocks_that_come_in_chunks_add_up(make_model: MakeModel, make_batch: MakeBatch) -> None:
    whole, chunked, batch = make_model(strengths=0.5), make_model(chunk_tokens=50), make_batch()
    chunked.load_state_dict(whole.state_dict())
    expected, found = (look(model, batch).attention for model in (whole, chunked))
    assert found.tokens == expected.tokens
    torch.testing.assert_close(found.weight_AL, expected.weight_AL, rtol=1e-5, atol=1e-5)
    for name in ("softmax_square", "kernel_square", "output_square"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-4)


def test_sums_are_exact_under_autocast(make_model: MakeModel, make_batch: MakeBatch) -> None:
    attention, batch = make_model(strengths=0.5).attention, make_batch()
    x_NTH, code_NTH = torch.randn(2, *batch.present_NT.shape, 8)
    totals, squares = [], []
    for enabled in (False, True):
        rounded = torch.autocast("cpu", torch.bfloat16, enabled=enabled)
        with torch.no_grad(), rounded, watching_attention(attention) as watch:
            attention(x_NTH, code_NTH, batch.present_NT, batch.context)
            found = watch.sums()
        assert torch.equal(found.kernel_HL, attention.kernel().double())
        totals.append(found.weight_AL.sum(1) / found.tokens)
        squares.append(found.kernel_square)
    torch.testing.assert_close(totals[1], totals[0], rtol=1e-5, atol=0.0)
    assert squares[1] == pytest.approx(squares[0], rel=0.02), "values are rounded, sums are not"


@pytest.mark.parametrize("part", ["lstm", "attention", "static"])
def test_a_model_without_a_part_of_its_trunk(
    make_model: MakeModel, make_batch: MakeBatch, part: str
) -> None:
    found = look(make_model(without=(part,)), make_batch())
    assert (found.attention is None) == (part == "attention")
    twice = found + found
    assert (twice.attention is None) == (part == "attention")
    assert float(found.selection.mean_weight.sum()) == pytest.approx(1.0)


def dimension_sums(value_G: Tensor) -> dict[str, float]:
    sums: dict[str, float] = {}
    for (dimension, _), value in zip(EDGE_TYPES, value_G.tolist(), strict=True):
        sums[dimension] = sums.get(dimension, 0.0) + value
    return sums


def live_edges(batch: Batch) -> Tensor:
    alive_SN = live_tokens(batch).T
    edges = torch.zeros_like(batch.neighbours_SNK, dtype=torch.bool)
    for s, n, k in torch.cartesian_prod(*(torch.arange(size) for size in edges.shape)).tolist():
        near = int(batch.neighbours_SNK[s, n, k])
        edges[s, n, k] = bool(alive_SN[s, n]) and near >= 0 and bool(alive_SN[s, near])
    return edges


def test_graph_shares_sum_to_one_over_live_neighbours(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    found = look(make_model(strengths=0.5), batch).graph
    assert found is not None
    edge_SNK = live_edges(batch)
    assert found.nodes == int(edge_SNK.any(dim=-1).sum())
    expected = dict.fromkeys(("sector", "sign", "strength"), found.nodes)
    assert [len(layer) for layer in found.attention_WAG] == [4, 2]
    for attention_G in (found.uniform_G, *torch.cat(found.attention_WAG)):
        assert dimension_sums(attention_G) == pytest.approx(expected, rel=1e-5)
    assert dimension_sums(found.edges_G)["sector"] == int(edge_SNK.sum())


def test_a_graph_without_preferences_is_uniform(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model = make_model()
    with torch.no_grad():
        for layer in model.graph.layers:
            layer.get_parameter("attention").zero_()
        model.graph.edge_prior.zero_()
    found = look(model, make_batch()).graph
    assert found is not None
    for attention_G in torch.cat(found.attention_WAG):
        torch.testing.assert_close(attention_G, found.uniform_G, rtol=1e-5, atol=1e-9)


def test_edges_fall_into_their_types(make_model: MakeModel, make_batch: MakeBatch) -> None:
    batch = make_batch()
    edge_SNKE = torch.zeros_like(batch.edge_SNKE)
    edge_SNKE[..., 0], edge_SNKE[..., 1] = -0.5, 1.0
    found = look(make_model(), dataclasses.replace(batch, edge_SNKE=edge_SNKE)).graph
    assert found is not None
    assert 0.4 in RHO_EDGES
    kinds = [EDGE_TYPES[g] for g in found.edges_G.nonzero().flatten()]
    assert kinds == [("sector", "same"), ("sign", "ρ < 0"), ("strength", "|ρ| 0.4–0.6")]


def test_the_size_of_messages_is_that_of_what_is_added(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model, batch = make_model(), make_batch()
    silent = look(model, batch).graph
    assert silent is not None
    assert silent.size == 0.0, "strengths start at zero"
    with torch.no_grad():
        model.graph.strength.fill_(0.5)
    _, message = spied(model.graph, lambda: model(batch))
    loud = look(model, batch).graph
    assert loud is not None
    expected = float(message[0][live_tokens(batch).T].square().sum())
    assert loud.message_square == pytest.approx(expected, rel=1e-5)


def test_without_a_graph_there_is_nothing_to_see(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    assert look(make_model(("fan",)), make_batch()).graph is None


def test_batches_add_up(make_model: MakeModel, make_batch: MakeBatch) -> None:
    model, batch = make_model(strengths=0.5), make_batch()
    once = look(model, batch)
    twice = once + look(model, batch)
    assert len(twice.selection.tokens_S) == 2 * len(once.selection.tokens_S)
    torch.testing.assert_close(twice.selection.mean_weight, once.selection.mean_weight)
    torch.testing.assert_close(twice.attention.weight_AL, 2 * once.attention.weight_AL)
    assert twice.attention.softmax_square == pytest.approx(2 * once.attention.softmax_square)
    assert torch.equal(twice.attention.kernel_HL, once.attention.kernel_HL)
    assert once.graph is not None
    assert twice.graph is not None
    torch.testing.assert_close(twice.graph.attention_WAG[1], 2 * once.graph.attention_WAG[1])
    assert twice.graph.size == pytest.approx(once.graph.size)


def test_the_model_is_left_as_it_was(make_model: MakeModel, make_batch: MakeBatch) -> None:
    model, batch = make_model(strengths=0.5), make_batch()
    before = model(batch).point_SNQ
    look(model, batch)
    assert torch.equal(model(batch).point_SNQ, before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
