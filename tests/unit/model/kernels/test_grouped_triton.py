"""The Triton kernels agree with the reference in Triton's interpreter, and compile for a card.

Triton is a development dependency on Linux, so that nothing here is left out where it could run.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from atft_hpo.model.kernels.grouped import in_blocks
from atft_hpo.model.selection import VariableSelection

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="there is no Triton for this system"
)
SHARED_BYTES = 232_448
"""Of an H100's processor: 227 KiB."""
SPILT_BYTES = 384
"""That a thread may store for want of registers, of which it has 1,020 bytes."""
Channels = tuple[int, ...]
CASES: dict[str, tuple[int, int, int, Channels, str]] = {
    "training": (140, 2, 64, (4, 6), "training"),
    "all": (40, 2, 64, (4, 6), "all"),
    "no channels": (131, 3, 16, (), "all"),
    "narrow": (33, 4, 5, (3,), "all"),
    "more inputs than units": (40, 2, 4, (4, 15), "all"),
    "two units and one token": (1, 1, 2, (2,), "all"),
    "frozen": (18, 2, 16, (4,), "weights"),
    "more tokens than parts": (1000, 1, 8, (2,), "training"),
    "nothing": (0, 2, 8, (2,), "training"),
}
"""Tokens, features, hidden units, sizes of the added channels, which gradients are wanted."""


def draw(tokens: int, features: int, hidden: int, channels: Channels, wanted: str) -> Any:
    """Arguments as variable selection gives them, a gradient of the result, what is wanted.

    Weights are parts of wider rows, a third of them dropped.
    """
    g = torch.Generator().manual_seed(tokens)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    weight_BF = normal(tokens, features + 2).softmax(dim=1)[:, 1 : 1 + features]
    weight_BF *= torch.rand(tokens, features, generator=g) > 1 / 3
    x_BF1 = normal(tokens, features + 2)[:, :features].unsqueeze(2)
    inputs = (x_BF1, torch.ones_like(x_BF1), *(normal(tokens, features, c) for c in channels))
    places = sum(part.shape[2] for part in inputs)
    inner_FHH = hidden**-0.5 * normal(features, hidden, 2 * hidden).mT  # not by rows
    biases = (normal(features, 2 * hidden, 1), normal(features, hidden, 1))
    gain_FH1 = 1.0 + 0.1 * normal(features, hidden, 1)
    entry_FHc = normal(features, 2 * hidden, places)
    operands = (entry_FHc, inner_FHH, biases[0], gain_FH1, biases[1])
    needs = {"training": (True, False, True), "all": (True,) * 3, "weights": (True, False, False)}
    weight, of_inputs, of_operands = needs[wanted]
    flags = (weight, *(of_inputs for _ in inputs), *(of_operands for _ in operands))
    return (weight_BF, inputs, operands), normal(tokens, hidden), flags


def exact(arguments: Any, grad_BH: Tensor, wanted: tuple[bool, ...]) -> list[Tensor]:
    """The reference's results in float64, whose gradients `test_grouped` checks by differences."""
    weight_BF, inputs, operands = arguments
    tensors = [t.double() for t in (weight_BF, *inputs, *operands)]
    some = [t.requires_grad_() for t, want in zip(tensors, wanted, strict=True) if want]
    split = 1 + len(inputs)
    out_BH = in_blocks(tensors[0], tensors[1:split], tuple(tensors[split:]))
    return [out_BH.detach(), *torch.autograd.grad(out_BH, some, grad_BH.double())]


SETTINGS: dict[str, Any] = {
    "features": 7, "fan_columns": (4, 1), "hidden": 6, "dropout": 0.4,
    "added": {"fan": 4, "san": 3},
}  # fmt: skip


def of_selection() -> tuple[Any, ...]:
    """A variable selection that drops features, and what it selects from."""
    g = torch.Generator().manual_seed(0)
    module = VariableSelection(**SETTINGS)
    for added in module.added.values():
        torch.nn.init.normal_(added.strength, generator=g)
    present_NT = torch.rand(5, 30, generator=g) > 0.3
    x_NTF = torch.randn(5, 30, 7, generator=g)
    channels = {n: torch.randn(5, 30, 2, c, generator=g) for n, c in (("fan", 4), ("san", 3))}
    return SETTINGS, module.state_dict(), x_NTF, present_NT, channels


@pytest.fixture(scope="module")
def interpreted(
    tmp_path_factory: pytest.TempPathFactory, run_kernels: Callable[..., str]
) -> dict[str, list[Tensor]]:
    """Results and gradients of all cases, from one process."""
    path = tmp_path_factory.mktemp("triton") / "cases.pt"
    spoilt = draw(*CASES["training"])
    spoilt[0][1][0][2, 1] = torch.nan
    cases = {name: draw(*case) for name, case in CASES.items()} | {"a nan": spoilt}
    selection = of_selection()
    cases |= {"a selection": (True, *selection), "the reference's": (False, *selection)}
    torch.save([*cases.values()], path)
    run_kernels("grouped", str(path), TRITON_INTERPRET="1")
    return dict(zip(cases, torch.load(path), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_kernels_agree_with_the_reference(name: str, interpreted: dict[str, list[Tensor]]) -> None:
    for ours, theirs in zip(interpreted[name], exact(*draw(*CASES[name])), strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-4)


def test_a_nan_stays_in_its_token(interpreted: dict[str, list[Tensor]]) -> None:
    finite_B = interpreted["a nan"][0].isfinite().all(dim=1)
    assert finite_B.sum() == len(finite_B) - 1
    assert not finite_B[2]


def test_a_selection_that_drops_learns_the_same_in_bf16(
    interpreted: dict[str, list[Tensor]],
) -> None:
    """Computed at once, and again with its results known, as when a chunk is computed again."""
    by_kernels, by_reference = interpreted["a selection"], interpreted["the reference's"]
    for ours, theirs in zip(by_kernels, by_reference, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    half = len(by_kernels) // 2
    for first, again in zip(by_kernels[:half], by_kernels[half:], strict=True):
        assert torch.equal(first, again)  # drops the same


@pytest.fixture(scope="module")
def compiled(
    tmp_path_factory: pytest.TempPathFactory, run_kernels: Callable[..., str]
) -> list[tuple[str, bool, int, int]]:
    """Per kernel: name, whether it adds atomically, bytes shared, bytes spilt; without a card."""
    cache = str(tmp_path_factory.mktemp("triton"))
    said = json.loads(run_kernels("grouped", TRITON_CACHE_DIR=cache))
    return [tuple(kernel) for kernel in said]


@pytest.mark.slow  # a quarter of a minute of Triton's compiler
def test_kernels_compile_for_a_card_and_add_nothing_up_atomically(compiled) -> None:
    assert [name for name, *_ in compiled] == ["_sum_kernel", "_pull_kernel", "_pull_kernel"]
    assert not any(atomic for _, atomic, *_ in compiled)


@pytest.mark.slow
def test_kernels_fit_a_processor(compiled) -> None:
    for _, _, shared_bytes, spilt_bytes in compiled:
        assert 0 < shared_bytes <= SHARED_BYTES
        assert spilt_bytes <= SPILT_BYTES


@pytest.mark.parametrize("tokens", [1, 32, 33, 992, 993, 8192, 115_200])
def test_parts_cover_all_tokens_and_none_is_empty(tokens: int) -> None:
    from atft_hpo.model.kernels.grouped_triton import MOST_PARTS, PULL_TOKENS, parts_of

    parts, length = parts_of(tokens)
    assert 1 <= parts <= MOST_PARTS
    assert length % PULL_TOKENS == 0
    assert (parts - 1) * length < tokens <= parts * length


def test_what_is_kept_is_what_the_reference_keeps(
    monkeypatch: pytest.MonkeyPatch, idle_kernel: Callable[[], Any]
) -> None:
    """`ATFT.fill` counts it, and does not ask which form is computed."""
    kernels = pytest.importorskip("atft_hpo.model.kernels.grouped_triton")
    launched = [idle_kernel(), idle_kernel()]
    monkeypatch.setattr(kernels, "_sum_kernel", launched[0])
    monkeypatch.setattr(kernels, "_pull_kernel", launched[1])
    (weight_BF, inputs, operands), grad_BH, _ = draw(*CASES["training"])
    weight_BF, *inputs, grad_BH = (t.to("meta") for t in (weight_BF, *inputs, grad_BH))
    operands = tuple(t.to("meta").contiguous().requires_grad_() for t in operands)
    kept = []
    for form in (in_blocks, kernels.fused_sum):
        sizes = list[int]()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.append(tensor.nbytes) or tensor,  # noqa: B023
            lambda tensor: tensor,
        ):
            out_BH = form(weight_BF, inputs, operands)
        kept.append(sum(sizes))
        torch.autograd.grad(out_BH, operands, grad_BH)
    assert kept[0] == kept[1] > 0
    assert [kernel.count for kernel in launched] == [1, 1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_kernels_agree_and_repeat_themselves() -> None:
    from atft_hpo.model.kernels.choose import TOLERANCE
    from atft_hpo.model.kernels.decomposed import compare
    from atft_hpo.model.kernels.grouped import FeatureNetworks
    from atft_hpo.model.kernels.grouped_triton import fused_sum

    found = compare(FeatureNetworks(34, 64), 12, torch.device("cuda"))
    assert not found.reason
    assert found.difference is not None
    assert found.difference <= TOLERANCE
    (weight_BF, inputs, operands), grad_BH, _ = draw(5000, 20, 64, (4, 6), "all")
    tensors = [t.cuda().requires_grad_() for t in (weight_BF, *inputs, *operands)]
    split = 1 + len(inputs)
    given = (tensors[0], tensors[1:split], tuple(tensors[split:]))
    runs = [torch.autograd.grad(fused_sum(*given), tensors, grad_BH.cuda()) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    expected = exact((weight_BF, inputs, operands), grad_BH, (True,) * len(tensors))[1:]
    for ours, theirs in zip(runs[0], expected, strict=True):
        difference = (ours.cpu() - theirs).abs().max() / theirs.abs().max()
        assert difference <= TOLERANCE
