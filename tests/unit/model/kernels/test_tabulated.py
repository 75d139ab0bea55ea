"""Interpolated networks: right between knots, right gradients, close to the networks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from atft_hpo.model.kernels import tabulated
from atft_hpo.model.kernels.grouped import FeatureNetworks
from atft_hpo.model.kernels.tabulated import CELLS, KNOTS, LIMIT, interpolated_sum


def plain(x_BF: Tensor, weight_BF: Tensor, table_FMH: Tensor) -> Tensor:
    """The definition, feature by feature, by hat functions."""
    knots_M = KNOTS.to(x_BF.dtype)
    hat_BFM = (1 - (x_BF.unsqueeze(-1) - knots_M).abs() * CELLS / (2 * LIMIT)).clamp(min=0)
    return torch.einsum("bf,bfm,fmh->bh", weight_BF, hat_BFM, table_FMH)


def draw(tokens: int, features: int, hidden: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x_BF = torch.rand(tokens, features, generator=g, dtype=torch.float64) * 2 * LIMIT - LIMIT
    weight_BF = torch.rand(tokens, features, generator=g, dtype=torch.float64)
    table = torch.randn(features, CELLS + 1, hidden, generator=g, dtype=torch.float64)
    return x_BF.requires_grad_(), weight_BF.requires_grad_(), table.requires_grad_()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_equals_the_definition_with_gradients(b: int, f: int, h: int, seed: int) -> None:
    inputs = draw(b, f, h, seed)
    ours, theirs = interpolated_sum(*inputs), plain(*inputs)
    assert torch.allclose(ours, theirs)
    direction = torch.randn_like(ours)
    pairs = zip(
        torch.autograd.grad(ours, inputs, direction),
        torch.autograd.grad(theirs, inputs, direction),
        strict=True,
    )
    assert all(torch.allclose(a, b) for a, b in pairs)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(interpolated_sum, draw(5, 3, 2))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = draw(50, 3, 2)
    whole = interpolated_sum(*inputs)
    gradients = torch.autograd.grad(whole.sum(), inputs)
    monkeypatch.setattr(tabulated, "BLOCK_TOKENS", 7)
    again = interpolated_sum(*inputs)
    assert torch.allclose(again, whole)
    pairs = zip(torch.autograd.grad(again.sum(), inputs), gradients, strict=True)
    assert all(torch.allclose(a, b) for a, b in pairs)


def test_exact_at_knots_and_linear_beyond() -> None:
    table_FMH = torch.randn(1, CELLS + 1, 3)
    one = torch.ones(CELLS + 1, 1)
    assert torch.allclose(
        interpolated_sum(KNOTS.unsqueeze(1), one, table_FMH), table_FMH[0], atol=1e-6
    )
    beyond = interpolated_sum(torch.tensor([[LIMIT + 1.0]]), torch.ones(1, 1), table_FMH)
    slope = (table_FMH[0, -1] - table_FMH[0, -2]) * CELLS / (2 * LIMIT)
    assert torch.allclose(beyond[0], table_FMH[0, -1] + slope, atol=1e-4)


def test_close_to_the_networks_themselves() -> None:
    networks = FeatureNetworks(50, 16)
    x_BF = torch.randn(400, 50)
    weight_BF = torch.rand(400, 50).softmax(dim=-1)
    with torch.no_grad():
        exact = torch.einsum("bf,fhb->bh", weight_BF, networks(x_BF.T))
        error = interpolated_sum(x_BF, weight_BF, networks(KNOTS.expand(50, -1)).mT) - exact
    assert error.square().mean().sqrt() < 3e-3 * exact.std()


def test_tokens_by_cell_are_the_same_on_either_path() -> None:
    cell_FB = torch.randint(3, CELLS - 5, (3, 200), dtype=torch.int32)
    cell_FB[1] = 7
    found = tabulated._runs_by_bytes(cell_FB), tabulated._runs_by_search(cell_FB)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert torch.equal(found[0][0], cell_FB.argsort(dim=1, stable=True))


def test_no_tokens() -> None:
    x_BF, weight_BF, table_FMH = draw(0, 3, 2)
    out = interpolated_sum(x_BF, weight_BF, table_FMH)
    assert out.shape == (0, 2)
    assert not torch.autograd.grad(out.sum(), table_FMH)[0].any()


def test_a_nan_stays_in_its_token() -> None:
    x_BF, weight_BF, table_FMH = (t.detach() for t in draw(4, 3, 2))
    x_BF[2, 1] = torch.nan
    finite = interpolated_sum(x_BF, weight_BF, table_FMH).isfinite().all(dim=1)
    assert finite.tolist() == [True, True, False, True]
