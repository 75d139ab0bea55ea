"""Chunks change neither results nor gradients, whatever is recomputed; property-tested."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from atft_hpo.model.kernels.chunks import in_chunks


class Part(nn.Module):
    """Rows [R, 3], a mask [R], a shared [3, 4] → two results of as many rows."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.mix, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)
        self.dropout = nn.Dropout(dropout)
        self.calls = 0

    def forward(self, x_R3: Tensor, mask_R: Tensor, shared_34: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        state_R4 = self.dropout(self.mix((x_R3 @ shared_34).tanh()))
        return {"state": state_R4 * mask_R.unsqueeze(1), "mean": state_R4.mean(dim=1)}


def _inputs(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    x_R3, mask_R = torch.randn(rows, 3).requires_grad_(), torch.rand(rows) > 0.3
    return x_R3, mask_R, torch.randn(3, 4).requires_grad_()


def _gradients(part: Part, rows: int, size: int, keep: int) -> list[Tensor | None]:
    x_R3, mask_R, shared_34 = _inputs(rows)
    found = in_chunks(part, (x_R3, mask_R), (shared_34,), part.parameters(), size, keep)
    loss = found["state"].square().sum() + found["mean"].sin().sum()
    part.zero_grad()
    loss.backward()
    values = [found["state"].detach(), found["mean"].detach()]
    return [*values, x_R3.grad, shared_34.grad, *(p.grad for p in part.parameters())]


@given(rows=st.integers(1, 12), size=st.integers(1, 14), keep=st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_any_chunks_give_the_same(rows: int, size: int, keep: int) -> None:
    torch.manual_seed(0)
    part = Part().double()
    torch.set_default_dtype(torch.float64)
    try:
        whole = _gradients(part, rows, size=rows, keep=1)
        chunked = _gradients(part, rows, size, keep)
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(whole, chunked, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b)


def test_what_is_not_used_has_no_gradient() -> None:
    """Zeros would let weight decay act on it."""
    part = Part()
    *_, weight, bias = _gradients(part, rows=6, size=2, keep=0)
    assert weight is None
    assert bias is None


def test_frozen_parameters_stay_without_a_gradient() -> None:
    part = Part()
    part.mix.weight.requires_grad_(False)
    *_, weight, bias, _, _ = _gradients(part, rows=6, size=2, keep=0)
    assert weight is None
    assert bias is not None


def test_later_chunks_only_are_computed_again() -> None:
    part = Part()
    _gradients(part, rows=10, size=2, keep=3)
    assert part.calls == 5 + 2


def test_what_is_recalled_is_not_computed_again() -> None:
    """Its value is used, and a gradient flows through it."""
    mix, computed = nn.Linear(3, 4), list[int]()

    def function(x_R3: Tensor, first_R4: Tensor | None = None) -> dict[str, Tensor]:
        if first_R4 is None:
            computed.append(len(x_R3))
            first_R4 = mix(x_R3)
        else:
            first_R4 = first_R4 + (mix(x_R3) - mix(x_R3).detach())
        return {"first_R4": first_R4, "last": first_R4.square().sum(dim=1)}

    x_R3 = torch.randn(10, 3)
    found = in_chunks(function, (x_R3,), (), mix.parameters(), 2, 3, recall=("first_R4",))
    assert list(found) == ["last"]
    gradients = torch.autograd.grad(found["last"].sum(), list(mix.parameters()))
    expected = torch.autograd.grad(mix(x_R3).square().sum(), list(mix.parameters()))
    assert computed == [2] * 5
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        assert list(in_chunks(function, (x_R3,), (), (), 2, 3, ("first_R4",))) == ["last"]


def test_dropout_is_the_same_when_computed_again() -> None:
    part = Part(dropout=0.5)
    found = []
    for keep in (5, 0):
        torch.manual_seed(7)
        found.append(_gradients(part, rows=10, size=2, keep=keep))
        found[-1].append(torch.rand(3))  # what is drawn afterwards does not differ either
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b)


def test_without_gradients_nothing_is_kept() -> None:
    part, (x_R3, mask_R, shared_34) = Part(), _inputs(7)
    with torch.no_grad():
        found = in_chunks(part, (x_R3, mask_R), (shared_34,), part.parameters(), 3, 1)
        whole = part(x_R3, mask_R, shared_34)
    assert part.calls == 4
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value)
        assert not found[name].requires_grad


def test_autocast_holds_when_computed_again() -> None:
    part = Part()
    with torch.autocast("cpu", torch.bfloat16):
        kept = _gradients(part, rows=8, size=2, keep=4)
        again = _gradients(part, rows=8, size=2, keep=0)
    assert kept[0] is not None
    assert kept[0].dtype == torch.bfloat16
    for a, b in zip(kept, again, strict=True):
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)
