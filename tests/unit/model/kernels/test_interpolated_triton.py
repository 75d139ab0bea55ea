"""The Triton kernels agree with the reference in Triton's interpreter, and compile for a card.

Triton is a development dependency on Linux, so that nothing here is left out where it could run.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from atft_hpo.model.kernels.tabulated import CELLS, LIMIT, interpolated_sum

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="there is no Triton for this system"
)
TRAINED = (False, True, True)
"""Gradients that training takes: of weights and table."""
CASES = {
    "training": (70, 3, 64, TRAINED),
    "narrow": (33, 4, 5, (True, True, True)),
    "one number": (1, 1, 1, (True, True, True)),
    "wider than a program": (40, 2, 80, TRAINED),
    "as wide as it gets": (20, 2, 256, TRAINED),
    "frozen": (18, 2, 16, (True, False, False)),
    "table alone": (18, 2, 16, (False, False, True)),
    "nothing": (0, 2, 8, TRAINED),
}

Case = tuple[Tensor, Tensor, Tensor, Tensor, tuple[bool, ...]]


def draw(tokens: int, features: int, hidden: int, wanted: tuple[bool, ...]) -> Case:
    """As variable selection gives them: parts of wider tensors, a transposed table."""
    g = torch.Generator().manual_seed(tokens)
    x_BF = (torch.randn(tokens, features + 2, generator=g) * 0.5 * LIMIT)[:, 1 : 1 + features]
    weight_BF = torch.randn(tokens, features + 2, generator=g)[:, :features]
    table_FMH = torch.randn(features, hidden, CELLS + 1, generator=g).mT
    return x_BF, weight_BF, table_FMH, torch.randn(tokens, hidden, generator=g), wanted


@pytest.fixture(scope="module")
def interpreted(
    tmp_path_factory: pytest.TempPathFactory, run_kernels: Callable[..., str]
) -> dict[str, list[Tensor]]:
    """Results and gradients of all cases, and again of the first with a NaN, from one process."""
    path = tmp_path_factory.mktemp("triton") / "cases.pt"
    spoilt = draw(*CASES["training"])
    spoilt[0][2, 1] = torch.nan
    cases = [*(draw(*case) for case in CASES.values()), spoilt]
    torch.save([(tuple(given), grad_BH, wanted) for *given, grad_BH, wanted in cases], path)
    run_kernels("interpolated", str(path), TRITON_INTERPRET="1")
    return dict(zip([*CASES, "a nan"], torch.load(path), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_kernels_agree_with_the_reference(name: str, interpreted: dict[str, list[Tensor]]) -> None:
    *inputs, grad_BH, wanted = draw(*CASES[name])
    for leaf, want in zip(inputs, wanted, strict=True):
        leaf.requires_grad_(want)
    expected = interpolated_sum(*inputs)
    some = [leaf for leaf in inputs if leaf.requires_grad]
    gradients = torch.autograd.grad(expected, some, grad_BH)
    for ours, theirs in zip(interpreted[name], [expected, *gradients], strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=2e-4)


def test_a_nan_stays_in_its_token(interpreted: dict[str, list[Tensor]]) -> None:
    finite_B = interpreted["a nan"][0].isfinite().all(dim=1)
    assert finite_B.sum() == len(finite_B) - 1
    assert not finite_B[2]


def test_kernels_compile_for_a_card_and_add_nothing_up_atomically(
    tmp_path: Path, run_kernels: Callable[..., str]
) -> None:
    said = json.loads(run_kernels("interpolated", TRITON_CACHE_DIR=str(tmp_path)))
    found = [(name, atomic) for name, atomic, *_ in said]
    assert found == [(f"_{name}_kernel", False) for name in ("sum", "input", "table")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_kernels_agree_and_repeat_themselves() -> None:
    from atft_hpo.model.kernels.choose import TOLERANCE
    from atft_hpo.model.kernels.interpolated_triton import fused_sum
    from atft_hpo.model.kernels.interpolation import compare

    found = compare(361, 64, torch.device("cuda"))
    assert not found.reason
    assert found.difference is not None
    assert found.difference <= TOLERANCE
    *inputs, grad_BH, _ = draw(5000, 20, 64, TRAINED)
    x_BF, *leaves = (t.cuda() for t in inputs)
    leaves = [leaf.requires_grad_() for leaf in leaves]
    runs = [torch.autograd.grad(fused_sum(x_BF, *leaves), leaves, grad_BH.cuda()) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
