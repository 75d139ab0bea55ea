"""Which of two forms of a sum a model computes: the reference, or on a GPU Triton kernels.

    found = compare(Contest(name, kernels, reference, exact, results, inputs, few))
    print(found.line())          # interpolation: Triton (Triton 3.10 ms, reference 11.20 ms …

The kernels must show on the device itself that they agree and that they are faster, each time a
model is made for it: a wrong driver or an unknown card costs speed, no results. `interpolation` and
`decomposed` have the two sums that there are kernels for.
"""

import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Form = Callable[..., Tensor]
Results = Callable[[Form, tuple[Tensor, ...]], tuple[Tensor, ...]]

TOLERANCE = 1e-4
"""Largest difference of a result or gradient, as a share of its largest value."""
FEW_TOKENS = 2048
"""Tokens whose results are compared, with those of the reference on the CPU."""
REPEATS = 5


@dataclass(frozen=True)
class Contest:
    """Two forms of the same sum, and what they are compared at."""

    name: str
    """Of the sum, for the line that is printed."""
    kernels: Callable[[], Form]
    """Imports Triton's form; raises ImportError where there is none."""
    reference: Form
    """What the model computes otherwise."""
    exact: Form
    """The form that both must agree with; computed on the CPU."""
    results: Results
    """A form's result and gradients, the ones that training takes."""
    inputs: tuple[Tensor, ...]
    """Of a block of tokens, on the device."""
    few: tuple[Tensor, ...]
    """Of `FEW_TOKENS`."""


@dataclass(frozen=True)
class Comparison:
    """What the two forms did with the same numbers, forward and backward."""

    name: str
    best: Form
    by_kernels: bool = False
    """Whether `best` is Triton's form."""
    reference_ms: float | None = None
    """For a block of tokens; infinite where it failed on this device."""
    kernels_ms: float | None = None
    difference: float | None = None
    """As `TOLERANCE`, the largest of result and gradients."""
    reason: str = ""
    """Why the kernels were not tried, or failed."""

    def line(self) -> str:
        """The choice, in a line."""
        chosen = f"{self.name}: {'Triton' if self.by_kernels else 'reference'}"
        if self.reason:
            return f"{chosen} ({self.reason})"
        return (
            f"{chosen} (Triton {self.kernels_ms:.2f} ms, reference "
            f"{self.reference_ms:.2f} ms a block, largest difference {self.difference:.1e})"
        )


def compare(contest: Contest) -> Comparison:
    """Try both on the inputs' device."""
    name, reference = contest.name, contest.reference
    try:
        from triton.errors import TritonError

        kernels = contest.kernels()
    except ImportError as error:
        return Comparison(name, reference, reason=f"no Triton here: {error}")
    # No C compiler, headers or driver for Triton; a card it does not know: all end as one of these.
    failures = (TritonError, RuntimeError, OSError, subprocess.SubprocessError)
    try:
        found = contest.results(kernels, contest.few)
        kernels_ms = _milliseconds(contest, kernels)
    except failures as error:
        text = " ".join(str(error).split())[:200]
        reason = f"Triton failed: {type(error).__name__}: {text}"
        return Comparison(name, reference, reason=reason)
    few = tuple(t.cpu() for t in contest.few)
    difference = _difference(found, contest.results(contest.exact, few))
    try:
        reference_ms = _milliseconds(contest, reference)
    except RuntimeError:
        reference_ms = math.inf
    better = difference <= TOLERANCE and kernels_ms < reference_ms
    best = kernels if better else reference
    return Comparison(name, best, better, reference_ms, kernels_ms, difference)


def _difference(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """Infinite where something is not finite."""
    pairs = zip((part.cpu() for part in found), expected, strict=True)
    shares = [float((a - b).abs().max() / b.abs().max()) for a, b in pairs]
    return max(shares) if all(map(math.isfinite, shares)) else math.inf


def _milliseconds(contest: Contest, form: Form) -> float:
    """The shortest of some calls, after one that warms up; waits for the device."""
    times = []
    for _ in range(1 + REPEATS):
        _wait(contest.inputs[0].device)
        started = time.perf_counter()
        contest.results(form, contest.inputs)
        _wait(contest.inputs[0].device)
        times.append(1000.0 * (time.perf_counter() - started))
    return min(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
