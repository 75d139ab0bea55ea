"""Which form of `interpolated_sum` a model computes: the reference, or on a GPU Triton kernels.

    found = compare(features=361, hidden=64, device=torch.device("cuda"))
    print(found.line())          # interpolation: Triton, 3.1 ms a block; the reference 11.2 ms
    model.selection.interpolate = found.best

The kernels must show on the device itself that they agree and that they are faster, each time a
model is made for it: a wrong driver or an unknown card costs speed, no results.
"""

import math
import subprocess
import time
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from atft_hpo.model.tabulated import BLOCK_TOKENS_ON_DEVICE, CELLS, LIMIT, interpolated_sum


class Interpolate(Protocol):
    """Arguments and result as `interpolated_sum`."""

    def __call__(
        self, x_BF: Tensor, weight_BF: Tensor, table_FMH: Tensor, only_gradient: bool = False, /
    ) -> Tensor: ...


TOLERANCE = 1e-4
"""Largest difference of a result or gradient, as a share of its largest value."""
FEW_TOKENS = 2048
"""Tokens whose results are compared, with those of the reference on the CPU."""
REPEATS = 5


@dataclass(frozen=True)
class Comparison:
    """What the two forms did with the same numbers, forward and backward."""

    best: Interpolate
    reference_ms: float | None = None
    """For a block of tokens; infinite where it failed on this device."""
    kernels_ms: float | None = None
    difference: float | None = None
    """As `TOLERANCE`, the largest of result and gradients."""
    reason: str = ""
    """Why the kernels were not tried, or failed."""

    def line(self) -> str:
        """The choice, in a line."""
        name = "reference" if self.best is interpolated_sum else "Triton"
        if self.reason:
            return f"interpolation: {name} ({self.reason})"
        return (
            f"interpolation: {name} (Triton {self.kernels_ms:.2f} ms, reference "
            f"{self.reference_ms:.2f} ms a block, largest difference {self.difference:.1e})"
        )


def compare(features: int, hidden: int, device: torch.device) -> Comparison:
    """Try both on `device`; draws nothing from torch's global generators."""
    try:
        from triton.errors import TritonError

        from atft_hpo.model.interpolated_triton import fused_sum
    except ImportError as error:
        return Comparison(interpolated_sum, reason=f"no Triton here: {error}")
    # No C compiler, headers or driver for Triton; a card it does not know: all end as one of these.
    failures = (TritonError, RuntimeError, OSError, subprocess.SubprocessError)
    inputs = _block(features, hidden, device)
    x_BF, weight_BF, table_FMH, grad_BH = inputs
    few = (x_BF[:FEW_TOKENS], weight_BF[:FEW_TOKENS], table_FMH, grad_BH[:FEW_TOKENS])
    try:
        found = _results(fused_sum, few)
        kernels_ms = _milliseconds(fused_sum, inputs)
    except failures as error:
        text = " ".join(str(error).split())[:200]
        return Comparison(interpolated_sum, reason=f"Triton failed: {type(error).__name__}: {text}")
    difference = _difference(found, _results(interpolated_sum, tuple(t.cpu() for t in few)))
    try:
        reference_ms = _milliseconds(interpolated_sum, inputs)
    except RuntimeError:
        reference_ms = math.inf
    better = difference <= TOLERANCE and kernels_ms < reference_ms
    best = fused_sum if better else interpolated_sum
    return Comparison(best, reference_ms, kernels_ms, difference)


def _block(features: int, hidden: int, device: torch.device) -> tuple[Tensor, ...]:
    """Inputs as in training, some beyond the knots, weights, a table, a gradient of the result.

    Inputs and weights are parts of wider tensors, as variable selection gives them.
    """
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    tokens = BLOCK_TOKENS_ON_DEVICE
    x_BF = 0.3 * LIMIT * draw(tokens, features + 1)[:, :features]
    weight_BF = draw(tokens, features + 1).softmax(dim=1)[:, :features]
    table_FMH = draw(features, hidden, CELLS + 1).mT
    return x_BF, weight_BF, table_FMH, draw(tokens, hidden)


def _results(form: Interpolate, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Result and gradients of weights and table, the ones that training takes."""
    x_BF, weight_BF, table_FMH, grad_BH = inputs
    leaves = (weight_BF.detach().requires_grad_(), table_FMH.detach().requires_grad_())
    out_BH = form(x_BF, *leaves)
    return (out_BH.detach(), *torch.autograd.grad(out_BH, leaves, grad_BH))


def _difference(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """Infinite where something is not finite."""
    pairs = zip((part.cpu() for part in found), expected, strict=True)
    shares = [float((a - b).abs().max() / b.abs().max()) for a, b in pairs]
    return max(shares) if all(map(math.isfinite, shares)) else math.inf


def _milliseconds(form: Interpolate, inputs: tuple[Tensor, ...]) -> float:
    """The shortest of some calls, after one that warms up; waits for the device."""
    times = []
    for _ in range(1 + REPEATS):
        _wait(inputs[0].device)
        started = time.perf_counter()
        _results(form, inputs)
        _wait(inputs[0].device)
        times.append(1000.0 * (time.perf_counter() - started))
    return min(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
