"""Grouped networks are the plain ones, one by one; the fused sum is their sum, with gradients."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from atft_hpo.model.kernels.grouped import FeatureNetworks

Added = list[tuple[Tensor, Tensor]]


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """Two tokens of a few features are a block already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atft_hpo.model.kernels.grouped.BLOCK_NUMBERS", 16)
        yield


def draw(
    features: int, hidden: int, tokens: int, channels: tuple[int, ...] = (2, 1)
) -> tuple[FeatureNetworks, Tensor, Tensor, Added]:
    """Networks, inputs [B, F], weights [B, F] and added channels, all float64."""
    networks = FeatureNetworks(features, hidden).double()
    torch.nn.init.normal_(networks.norm_gain)
    torch.nn.init.normal_(networks.norm_bias)
    x_BF, weight_BF = torch.randn(2, tokens, features).double()
    added = [
        (torch.randn(features, 2 * hidden, c).double(), torch.randn(tokens, features, c).double())
        for c in channels
    ]
    return networks, x_BF, weight_BF, added


def one_network(networks: FeatureNetworks, f: int, u_c: Tensor, entry_Hc: Tensor) -> Tensor:
    """Equations 2–5 of Lim et al. for one feature and one token, u = (x, channels…)."""
    first, skip = (entry_Hc @ u_c + networks.entry_bias[f, :, 0]).chunk(2)
    mixed = networks.mix_weight[f] @ F.elu(first) + networks.mix_bias[f, :, 0]
    value, gate = (networks.gate_weight[f] @ mixed + networks.gate_bias[f, :, 0]).chunk(2)
    gain, bias = networks.norm_gain[f, :, 0], networks.norm_bias[f, :, 0]
    return F.layer_norm(skip + value * gate.sigmoid(), (len(skip),), gain, bias)


def one_by_one(networks: FeatureNetworks, x_BF: Tensor, weight_BF: Tensor, added: Added) -> Tensor:
    """Σ_f weight · network, network by network and token by token: [B, H]."""
    rows = []
    for b in range(len(x_BF)):
        total = torch.zeros(())
        for f in range(x_BF.shape[1]):
            u_c = torch.cat([x_BF[b, f, None], *(c[b, f] for _, c in added)])
            entry_Hc = torch.cat([networks.entry_weight[f], *(w[f] for w, _ in added)], dim=1)
            total = total + weight_BF[b, f] * one_network(networks, f, u_c, entry_Hc)
        rows.append(total)
    return torch.stack(rows)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(2, 5), st.integers(1, 6), st.sampled_from([(), (3,), (2, 1)]))
def test_fused_sum_is_the_sum(f: int, h: int, b: int, channels: tuple[int, ...]) -> None:
    networks, x_BF, weight_BF, added = draw(f, h, b, channels)
    fused = networks.weighted_sum(x_BF, weight_BF, added)
    assert torch.allclose(fused, one_by_one(networks, x_BF, weight_BF, added))


def test_plain_form_is_the_formula() -> None:
    networks, x_BF, _, _ = draw(3, 4, 5)
    value_FHB = networks(x_BF.T)
    for f in range(3):
        for b in range(5):
            expected = one_network(networks, f, x_BF[b, f, None], networks.entry_weight[f])
            assert torch.allclose(value_FHB[f, :, b], expected)


def test_gradcheck_in_every_argument() -> None:
    networks, x_BF, weight_BF, added = draw(2, 3, 3)
    (weight_FHc, channels_BFc), (weight_FHd, channels_BFd) = added
    tensors = (x_BF, weight_BF, weight_FHc, channels_BFc, weight_FHd, channels_BFd)
    leaves = tuple(t.requires_grad_() for t in tensors)

    def run(x: Tensor, w: Tensor, *rest: Tensor) -> Tensor:
        (weight_c, c, weight_d, d) = rest[:4]
        return networks.weighted_sum(x, w, [(weight_c, c), (weight_d, d)])

    assert torch.autograd.gradcheck(run, (*leaves, *networks.parameters()))


def test_gradients_equal_the_plain_form_in_float32() -> None:
    networks = FeatureNetworks(5, 8)
    x_BF, weight_BF = torch.randn(40, 5), torch.rand(40, 5).requires_grad_()
    direction = torch.randn(40, 8)
    plain = torch.einsum("bf,fhb->bh", weight_BF, networks(x_BF.T))
    fused = networks.weighted_sum(x_BF, weight_BF, [])
    leaves = (weight_BF, *networks.parameters())
    pairs = zip(
        torch.autograd.grad(plain, leaves, direction),
        torch.autograd.grad(fused, leaves, direction),
        strict=True,
    )
    assert all(torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in pairs)


def test_backward_twice_is_the_same() -> None:
    """The backward pass works in place on what it recomputes, never on what was saved."""
    networks, x_BF, weight_BF, added = draw(3, 4, 5)
    out = networks.weighted_sum(x_BF, weight_BF, added).sum()
    leaves = tuple(networks.parameters())
    first = torch.autograd.grad(out, leaves, retain_graph=True)
    again = torch.autograd.grad(out, leaves)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_parameters_per_feature() -> None:
    count = sum(p.numel() for p in FeatureNetworks(1, 64).parameters())
    assert count == 3 * 64**2 + 9 * 64
