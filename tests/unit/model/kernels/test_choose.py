"""Kernels are used where they agree and are faster, and nowhere else; the reason is said.

Both sums that there are kernels for, each with a function in its kernels' place.
"""

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from atft_hpo.model.kernels import choose, decomposed, interpolation
from atft_hpo.model.kernels.choose import Comparison, Contest, Form
from atft_hpo.model.kernels.grouped import FeatureNetworks, in_blocks
from atft_hpo.model.kernels.tabulated import interpolated_sum

CPU = torch.device("cpu")


class _TritonError(Exception):
    pass


@dataclass(frozen=True)
class Sum:
    """One of the two."""

    name: str
    reference: Form
    kernels: str
    """The module that has them."""
    compare: Callable[[], Comparison]


SUMS = {
    "interpolation": Sum(
        "interpolation", interpolated_sum, "interpolated_triton",
        lambda: interpolation.compare(4, 3, CPU),
    ),
    "decomposed": Sum(
        "decomposed features", in_blocks, "grouped_triton",
        lambda: decomposed.compare(FeatureNetworks(2, 3), 5, CPU),
    ),
}  # fmt: skip


@pytest.fixture(params=SUMS)
def compared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sum:
    """Of few tokens."""
    monkeypatch.setattr(interpolation, "BLOCK_TOKENS_ON_DEVICE", 50)
    monkeypatch.setattr(decomposed, "BLOCK_TOKENS", 50)
    return SUMS[request.param]


Install = Callable[..., Form]


@pytest.fixture
def kernels(compared: Sum, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a function in the kernels' place; times are told: a form takes what `ms` says."""

    def install(form: Form, ms: float = 1.0) -> Form:
        errors = types.SimpleNamespace(TritonError=_TritonError)
        module = types.SimpleNamespace(fused_sum=form)
        monkeypatch.setitem(sys.modules, "triton.errors", errors)
        monkeypatch.setitem(sys.modules, "triton", types.SimpleNamespace(errors=errors))
        monkeypatch.setitem(sys.modules, f"atft_hpo.model.kernels.{compared.kernels}", module)
        monkeypatch.setattr(choose, "_milliseconds", lambda _, found: ms if found is form else 2.0)
        return form

    return install


def changed(compared: Sum, change: Callable[[Tensor], Tensor]) -> Form:
    """The reference, and something done to its result."""
    return lambda *given: change(compared.reference(*given))


def test_what_agrees_and_is_faster_is_used(compared: Sum, kernels: Install) -> None:
    form = kernels(changed(compared, lambda out: out))
    found = compared.compare()
    assert found.best is form
    assert found.by_kernels
    assert found.difference == 0.0
    assert found.line().startswith(f"{compared.name}: Triton (Triton 1.00 ms, reference 2.00 ms")


def test_what_is_slower_is_not(compared: Sum, kernels: Install) -> None:
    form = kernels(changed(compared, lambda out: out), ms=3.0)
    found = compared.compare()
    assert found.best is not form
    assert not found.by_kernels
    assert f"{compared.name}: reference (Triton 3.00 ms, reference 2.00 ms" in found.line()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda out: 1.001 * out,
        lambda out: out.detach() + 1.001 * (out - out.detach()),
        lambda out: out * torch.nan,
    ],
    ids=["inexact", "gradients alone", "nan"],
)
def test_what_disagrees_is_not(
    compared: Sum, kernels: Install, wrong: Callable[[Tensor], Tensor]
) -> None:
    form = kernels(changed(compared, wrong))
    found = compared.compare()
    assert found.best is not form
    assert found.difference is not None
    assert found.difference > choose.TOLERANCE


@pytest.mark.parametrize("error", [_TritonError("no such\ninstruction"), RuntimeError("gcc")])
def test_what_fails_is_not_and_says_why(compared: Sum, kernels: Install, error: Exception) -> None:
    def fails(*_: Tensor) -> Tensor:
        raise error

    kernels(fails)
    found = compared.compare()
    assert found.best is not fails
    assert found.line() == (
        f"{compared.name}: reference (Triton failed: {type(error).__name__}: "
        f"{' '.join(str(error).split())})"
    )


def test_where_the_reference_fails_kernels_that_agree_are_used(
    compared: Sum, kernels: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = kernels(changed(compared, lambda out: out))

    def milliseconds(_: Contest, found: Form) -> float:
        if found is form:
            return 1.0
        raise RuntimeError("no such products here")

    monkeypatch.setattr(choose, "_milliseconds", milliseconds)
    found = compared.compare()
    assert found.best is form
    assert "reference inf ms" in found.line()


def test_without_triton_it_says_so(compared: Sum, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setitem(sys.modules, "triton.errors", None)
    found = compared.compare()
    assert not found.by_kernels
    assert "no Triton here" in found.line()


def test_global_generators_are_left_alone(compared: Sum, kernels: Install) -> None:
    kernels(changed(compared, lambda out: out))
    networks = FeatureNetworks(2, 3)
    before = torch.get_rng_state()
    interpolation.compare(4, 3, CPU)
    decomposed.compare(networks, 5, CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_reference_is_timed_as_the_model_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled, say; but what the kernels are held against is always the plain form."""
    monkeypatch.setattr(decomposed, "BLOCK_TOKENS", 50)
    networks = FeatureNetworks(2, 3)
    run, calls = networks.run, list[torch.Size]()

    def watched(*given: Tensor) -> tuple[Tensor, ...]:
        calls.append(given[0].shape)
        return run(*given)

    networks.run = watched
    timed = list[Form]()
    monkeypatch.setattr(choose, "_milliseconds", lambda _, form: timed.append(form) or 1.0)
    errors = types.SimpleNamespace(TritonError=_TritonError)
    monkeypatch.setitem(sys.modules, "triton", types.SimpleNamespace(errors=errors))
    monkeypatch.setitem(sys.modules, "triton.errors", errors)
    module = types.SimpleNamespace(fused_sum=in_blocks)
    monkeypatch.setitem(sys.modules, "atft_hpo.model.kernels.grouped_triton", module)
    found = decomposed.compare(networks, 5, CPU)
    assert not calls
    assert found.best is timed[1]
    weight_BF, inputs_BFc = torch.ones(7, 2), torch.ones(7, 2, 3)
    operands = (torch.ones(2, 6, 3), torch.ones(2, 6, 3), *(torch.ones(2, n, 1) for n in (6, 3, 3)))
    timed[1](weight_BF, (inputs_BFc,), operands)
    assert calls == [(2, 3, 7)]
