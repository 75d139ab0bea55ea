"""The kernels are used where they agree and are faster, and nowhere else; the reason is said."""

import sys
import types
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from atft_hpo.model import interpolation
from atft_hpo.model.interpolation import compare
from atft_hpo.model.tabulated import interpolated_sum

CPU = torch.device("cpu")


class _TritonError(Exception):
    pass


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[..., Tensor]]:
    """Puts a function in the kernels' place; times are told: a form takes what `ms` says."""
    monkeypatch.setattr(interpolation, "BLOCK_TOKENS_ON_DEVICE", 50)

    def install(form: Callable[..., Tensor], ms: float = 1.0) -> Callable[..., Tensor]:
        errors = types.SimpleNamespace(TritonError=_TritonError)
        module = types.SimpleNamespace(fused_sum=form)
        monkeypatch.setitem(sys.modules, "triton.errors", errors)
        monkeypatch.setitem(sys.modules, "triton", types.SimpleNamespace(errors=errors))
        monkeypatch.setitem(sys.modules, "atft_hpo.model.interpolated_triton", module)
        monkeypatch.setattr(
            interpolation, "_milliseconds", lambda f, _: 2.0 if f is interpolated_sum else ms
        )
        return form

    return install


def _same(x_BF: Tensor, weight_BF: Tensor, table_FMH: Tensor) -> Tensor:
    return interpolated_sum(x_BF, weight_BF, table_FMH)


def test_what_agrees_and_is_faster_is_used(kernels) -> None:
    form = kernels(_same)
    found = compare(4, 3, CPU)
    assert found.best is form
    assert found.difference == 0.0
    assert found.line().startswith("interpolation: Triton (Triton 1.00 ms, reference 2.00 ms")


def test_what_is_slower_is_not(kernels) -> None:
    kernels(_same, ms=3.0)
    found = compare(4, 3, CPU)
    assert found.best is interpolated_sum
    assert "reference (Triton 3.00 ms, reference 2.00 ms" in found.line()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, w, table: interpolated_sum(x, w * 1.001, table),  # result and one gradient
        lambda x, w, table: interpolated_sum(x, w, table.detach()) + 0.0 * table.sum(),
        lambda x, w, table: interpolated_sum(x, w, table) * torch.nan,
    ],
    ids=["inexact", "a gradient", "nan"],
)
def test_what_disagrees_is_not(kernels, wrong: Callable[..., Tensor]) -> None:
    kernels(wrong)
    found = compare(4, 3, CPU)
    assert found.best is interpolated_sum
    assert found.difference is not None
    assert found.difference > interpolation.TOLERANCE


@pytest.mark.parametrize("error", [_TritonError("no such\ninstruction"), RuntimeError("gcc")])
def test_what_fails_is_not_and_says_why(kernels, error: Exception) -> None:
    def fails(*_: Tensor) -> Tensor:
        raise error

    kernels(fails)
    found = compare(4, 3, CPU)
    assert found.best is interpolated_sum
    assert found.line() == (
        f"interpolation: reference (Triton failed: {type(error).__name__}: "
        f"{' '.join(str(error).split())})"
    )


def test_where_the_reference_fails_kernels_that_agree_are_used(kernels, monkeypatch) -> None:
    form = kernels(_same)

    def milliseconds(found: Callable[..., Tensor], _: object) -> float:
        if found is interpolated_sum:
            raise RuntimeError("no sparse products here")
        return 1.0

    monkeypatch.setattr(interpolation, "_milliseconds", milliseconds)
    found = compare(4, 3, CPU)
    assert found.best is form
    assert "reference inf ms" in found.line()


def test_without_triton_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setitem(sys.modules, "triton.errors", None)
    found = compare(4, 3, CPU)
    assert found.best is interpolated_sum
    assert "no Triton here" in found.line()


def test_global_generators_are_left_alone(kernels) -> None:
    kernels(_same)
    before = torch.get_rng_state()
    compare(4, 3, CPU)
    assert torch.equal(torch.get_rng_state(), before)
