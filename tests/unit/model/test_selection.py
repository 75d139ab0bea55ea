"""The selection is its definition; chunks, dead tokens and the device change nothing."""

import pytest
import torch
from torch import Tensor

from atft_hpo.model.selection import VariableSelection
from atft_hpo.model.tabulated import KNOTS

FEATURES, COLUMNS, HIDDEN = 7, (4, 1), 6


def selection(
    dropout: float = 0.0, chunk: int = 16, columns: tuple[int, ...] = COLUMNS
) -> VariableSelection:
    torch.manual_seed(0)
    module = VariableSelection(FEATURES, columns, HIDDEN, dropout, chunk, {"fan": 4, "san": 3})
    for added in module.added.values():
        torch.nn.init.normal_(added.strength)
    return module


def inputs(stocks: int = 5, days: int = 20) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    alive_NT = torch.rand(stocks, days) > 0.3
    x_NTF = torch.randn(stocks, days, FEATURES) * alive_NT.unsqueeze(-1)
    channels = {
        "fan": torch.randn(stocks, days, len(COLUMNS), 4),
        "san": torch.randn(stocks, days, len(COLUMNS), 3),
    }
    return x_NTF, alive_NT, channels


def test_is_the_weighted_sum_of_the_networks() -> None:
    module, (x_NTF, alive_NT, channels) = selection().eval(), inputs()
    x_NTF = KNOTS[(x_NTF.unsqueeze(-1) - KNOTS).abs().argmin(dim=-1)]  # where tables are exact
    x_BF = x_NTF.flatten(0, 1)
    others = [f for f in range(FEATURES) if f not in COLUMNS]
    added = [(module.added[n](), c.flatten(0, 1)) for n, c in channels.items()]
    weight_BF = module.weights(x_BF)
    assert torch.allclose(weight_BF.sum(1), torch.ones(len(x_BF)))
    columns = list(COLUMNS)
    expected_BH = torch.einsum(
        "bf,fhb->bh", weight_BF[:, others], module.networks(x_BF[:, others].T)
    ) + module.fan_networks.weighted_sum(x_BF[:, columns], weight_BF[:, columns], added, 999)
    expected_BH = FEATURES**0.5 * expected_BH
    expected = expected_BH.view(*alive_NT.shape, -1) * alive_NT.unsqueeze(-1)
    assert torch.allclose(module(x_NTF, alive_NT, channels)[0], expected, atol=1e-5)


@pytest.mark.parametrize("columns", [COLUMNS, (), tuple(range(FEATURES))])
@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_chunks_change_neither_result_nor_gradient(chunk: int, columns: tuple[int, ...]) -> None:
    x_NTF, alive_NT, channels = inputs()
    channels = channels if columns == COLUMNS else {}
    results = []
    for size in (16, chunk):
        module = selection(chunk=size, columns=columns)
        out, heard = module(x_NTF, alive_NT, channels)
        (out.square().sum() + heard.square().sum()).backward()
        results.append((out, [p.grad for p in module.parameters() if p.grad is not None]))
    (out_a, grads_a), (out_b, grads_b) = results
    assert torch.allclose(out_a, out_b, atol=1e-6)
    assert len(grads_a) == len(grads_b) > 0
    pairs = zip(grads_a, grads_b, strict=True)
    assert all(torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in pairs)


def test_recomputation_sees_the_same_dropout() -> None:
    """With recomputation, the gradient must be that of the output it goes with."""
    module, (x_NTF, alive_NT, channels) = selection(dropout=0.4, chunk=8).train(), inputs()
    strength = module.added["fan"].strength
    direction = torch.randn(*alive_NT.shape, HIDDEN)

    def loss() -> Tensor:
        torch.manual_seed(3)
        return (module(x_NTF, alive_NT, channels)[0] * direction).sum()

    (gradient,) = torch.autograd.grad(loss(), strength)
    with torch.no_grad():
        step = torch.zeros_like(strength)
        step[0, 1] = 1e-2
        strength += step
        above = loss()
        strength -= 2 * step
        slope = (above - loss()) / 2e-2
    assert torch.isclose(gradient[0, 1], slope, rtol=0.05, atol=1e-2)


def test_dropout_drops_features_in_training_only() -> None:
    module, (x_NTF, alive_NT, _) = selection(dropout=0.5), inputs()
    assert not torch.equal(module(x_NTF, alive_NT, {})[0], module(x_NTF, alive_NT, {})[0])
    module.eval()
    assert torch.equal(module(x_NTF, alive_NT, {})[0], module(x_NTF, alive_NT, {})[0])


def test_what_the_lstm_hears_leaves_out_the_fan_columns() -> None:
    module, (x_NTF, alive_NT, channels) = selection().eval(), inputs()
    all_NTH, heard_NTH = module(x_NTF, alive_NT, channels)
    with torch.no_grad():
        for networks in module.fan_networks.parameters():
            networks.zero_()
    without_NTH, same_NTH = module(x_NTF, alive_NT, {})
    assert torch.equal(heard_NTH, same_NTH)
    assert torch.allclose(without_NTH, heard_NTH, atol=1e-6)
    assert not torch.allclose(all_NTH, heard_NTH, atol=1e-2)


@pytest.mark.parametrize("columns", [(), tuple(range(FEATURES))])
def test_where_all_or_none_are_fan_columns_the_lstm_hears_all(columns: tuple[int, ...]) -> None:
    x_NTF, alive_NT, _ = inputs()
    all_NTH, heard_NTH = selection(columns=columns).eval()(x_NTF, alive_NT, {})
    assert torch.equal(all_NTH, heard_NTH)


def test_dead_tokens_are_zero_and_change_nothing() -> None:
    module, (x_NTF, alive_NT, channels) = selection().eval(), inputs()
    out, heard = module(x_NTF, alive_NT, channels)
    assert not out[~alive_NT].any()
    assert not heard[~alive_NT].any()
    x_NTF[~alive_NT] = 7.0
    assert torch.equal(module(x_NTF, alive_NT, channels)[0], out)


def test_no_live_token() -> None:
    module, (x_NTF, alive_NT, channels) = selection(), inputs()
    out, _ = module(x_NTF, torch.zeros_like(alive_NT), channels)
    out.sum().backward()
    assert not out.any()


def test_all_tokens_at_once_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CUDA path computes dead tokens too, to keep shapes static."""
    module, (x_NTF, alive_NT, channels) = selection().eval(), inputs()
    out, _ = module(x_NTF, alive_NT, channels)
    everything = torch.arange(alive_NT.numel())
    monkeypatch.setattr("atft_hpo.model.selection._tokens", lambda _: everything)
    assert torch.allclose(module(x_NTF, alive_NT, channels)[0], out, atol=1e-6)
