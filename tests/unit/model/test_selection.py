"""Grouped networks are the plain ones, one by one; chunks and dead tokens change nothing."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from atft_hpo.model.selection import FeatureNetworks, VariableSelection
from atft_hpo.model.tabulated import KNOTS

FEATURES, COLUMNS, HIDDEN = 7, (4, 1), 6


def selection(
    dropout: float = 0.0, chunk: int = 16, columns: tuple[int, ...] = COLUMNS
) -> VariableSelection:
    torch.manual_seed(0)
    module = VariableSelection(FEATURES, columns, HIDDEN, dropout, chunk)
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


def one_network(
    networks: FeatureNetworks, f: int, u_c: Tensor, entry_Hc: Tensor, skip_Hc: Tensor
) -> Tensor:
    """Equations 2–5 of Lim et al. for one feature and one token, u = (x, channels…)."""
    first = F.elu(entry_Hc @ u_c + networks.entry_bias[f, :, 0])
    mixed = networks.mix_weight[f] @ first + networks.mix_bias[f, :, 0]
    value, gate = (networks.gate_weight[f] @ mixed + networks.gate_bias[f, :, 0]).chunk(2)
    skip = skip_Hc @ u_c + networks.skip_bias[f, :, 0]
    gain, bias = networks.norm_gain[f, :, 0], networks.norm_bias[f, :, 0]
    return F.layer_norm(skip + value * gate.sigmoid(), (len(first),), gain, bias)


def test_grouped_networks_are_the_plain_ones() -> None:
    networks = FeatureNetworks(3, HIDDEN)
    torch.nn.init.normal_(networks.norm_gain)
    torch.nn.init.normal_(networks.norm_bias)
    x_FB, channels_FcB = torch.randn(3, 4), torch.randn(3, 2, 4)
    weight_FHc = torch.randn(3, 2 * HIDDEN, 2)
    grouped = networks(x_FB, [(weight_FHc, channels_FcB)])
    for f in range(3):
        entry = torch.cat([networks.entry_weight[f], weight_FHc[f, :HIDDEN]], dim=1)
        skip = torch.cat([networks.skip_weight[f], weight_FHc[f, HIDDEN:]], dim=1)
        for b in range(4):
            u_c = torch.cat([x_FB[f, b, None], channels_FcB[f, :, b]])
            expected = one_network(networks, f, u_c, entry, skip)
            assert torch.allclose(grouped[f, :, b], expected, atol=1e-5)


def test_gradients_of_grouped_networks() -> None:
    networks = FeatureNetworks(2, 3).double()
    x_FB, channels_FcB = torch.randn(2, 3).double(), torch.randn(2, 2, 3).double()
    weight_FHc = torch.randn(2, 6, 2).double().requires_grad_()
    parameters = tuple(networks.parameters())

    def run(weight_FHc: Tensor, *_: Tensor) -> Tensor:
        out: Tensor = networks(x_FB, [(weight_FHc, channels_FcB)])
        return out

    assert torch.autograd.gradcheck(run, (weight_FHc, *parameters))


def test_parameters_per_feature() -> None:
    count = sum(p.numel() for p in FeatureNetworks(1, 64).parameters())
    assert count == 3 * 64**2 + 9 * 64


def test_is_the_weighted_sum_of_the_networks() -> None:
    module, (x_NTF, alive_NT, channels) = selection().eval(), inputs()
    x_NTF = KNOTS[(x_NTF.unsqueeze(-1) - KNOTS).abs().argmin(dim=-1)]  # where tables are exact
    x_BF = x_NTF.flatten(0, 1)
    others = [f for f in range(FEATURES) if f not in COLUMNS]
    added = [(module.added[n](), c.flatten(0, 1).permute(1, 2, 0)) for n, c in channels.items()]
    value_FHB = torch.empty(FEATURES, HIDDEN, len(x_BF))
    value_FHB[others] = module.networks(x_BF[:, others].T)
    value_FHB[list(COLUMNS)] = module.fan_networks(x_BF[:, list(COLUMNS)].T, added)
    weight_BF = module.weights(x_BF)
    assert torch.allclose(weight_BF.sum(1), torch.ones(len(x_BF)))
    expected_BH = torch.einsum("bf,fhb->bh", weight_BF, value_FHB)
    expected = expected_BH.view(*alive_NT.shape, -1) * alive_NT.unsqueeze(-1)
    assert torch.allclose(module(x_NTF, alive_NT, channels), expected, atol=1e-5)


@pytest.mark.parametrize("columns", [COLUMNS, (), tuple(range(FEATURES))])
@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_chunks_change_neither_result_nor_gradient(chunk: int, columns: tuple[int, ...]) -> None:
    x_NTF, alive_NT, channels = inputs()
    channels = channels if columns == COLUMNS else {}
    results = []
    for size in (16, chunk):
        module = selection(chunk=size, columns=columns)
        out = module(x_NTF, alive_NT, channels)
        out.square().sum().backward()
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
        return (module(x_NTF, alive_NT, channels) * direction).sum()

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
    assert not torch.equal(module(x_NTF, alive_NT, {}), module(x_NTF, alive_NT, {}))
    module.eval()
    assert torch.equal(module(x_NTF, alive_NT, {}), module(x_NTF, alive_NT, {}))


def test_dead_tokens_are_zero_and_change_nothing() -> None:
    module, (x_NTF, alive_NT, channels) = selection().eval(), inputs()
    out = module(x_NTF, alive_NT, channels)
    assert not out[~alive_NT].any()
    x_NTF[~alive_NT] = 7.0
    assert torch.equal(module(x_NTF, alive_NT, channels), out)


def test_no_live_token() -> None:
    module, (x_NTF, alive_NT, channels) = selection(), inputs()
    out = module(x_NTF, torch.zeros_like(alive_NT), channels)
    out.sum().backward()
    assert not out.any()


def test_all_tokens_at_once_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CUDA path computes dead tokens too, to keep shapes static."""
    module, (x_NTF, alive_NT, channels) = selection().eval(), inputs()
    out = module(x_NTF, alive_NT, channels)
    everything = torch.arange(alive_NT.numel())
    monkeypatch.setattr("atft_hpo.model.selection._tokens", lambda _: everything)
    assert torch.allclose(module(x_NTF, alive_NT, channels), out, atol=1e-6)
