"""A function of many rows, some of them at a time, in memory that does not grow with them.

    found = in_chunks(function, rows, shared, parameters, size=64, keep=8)

Beyond the first `keep` chunks nothing but inputs and results is kept: the backward pass computes
the function again (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"), all but what
it is to `recall`, results that take little memory for what they cost. `torch.utils.checkpoint` does
this too, chunk by chunk; but there each chunk's results lie between the memory of one chunk and
that of the next, and glibc's heap grew by holes that it could not use again. Here results have
their places before the second chunk begins.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Function = Callable[..., dict[str, Tensor]]
"""Takes some rows of each tensor and what all rows share; returns as many rows of each result. When
it is computed again, it is given the results to recall by name."""


def in_chunks(
    function: Function, rows: Sequence[Tensor], shared: Sequence[Tensor],
    parameters: Iterable[nn.Parameter], size: int, keep: int, recall: Sequence[str] = (),
) -> dict[str, Tensor]:  # fmt: skip
    """`function(*rows, *shared)`, `size` rows at a time; differentiable once.

    Args:
        function: treats each row alone; its dropout draws from torch's global generators.
        rows: tensors of as many rows.
        shared: given whole to every chunk.
        parameters: what else of the gradient's leaves the function uses.
        size: rows of a chunk.
        keep: chunks whose intermediates are kept for the gradient.
        recall: results that are not returned, but kept for when the function is computed again.
    """
    if not torch.is_grad_enabled():
        return _in_places(function, rows, shared, size, without=recall)
    total = len(rows[0])
    kept = min(keep * size, total)
    parts = []
    if kept or not total:
        parts += [function(*some, *shared) for some in _split([t[:kept] for t in rows], size)]
    if kept < total:
        leaves = tuple(p for p in parameters if p.requires_grad)
        plan = _Plan(function, len(rows), leaves, size, tuple(recall))
        rest = _Recomputed.apply(plan, *(t[kept:] for t in rows), *shared, *leaves)  # type: ignore[no-untyped-call]
        parts.append(dict(zip(plan.names, rest, strict=True)))
    names = [name for name in parts[0] if name not in recall]
    if len(parts) == 1:
        return {name: parts[0][name] for name in names}
    return {name: torch.cat([part[name] for part in parts]) for name in names}


@dataclass
class _Plan:
    """What the gradient needs beside tensors."""

    function: Function
    rows: int
    """How many of the tensors are given by rows."""
    parameters: tuple[nn.Parameter, ...]
    size: int
    recall: tuple[str, ...]
    names: list[str] = field(default_factory=list)
    """Of the results that are returned; known after the first pass."""

    def split(self, tensors: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        """What is given by rows, and what is shared."""
        end = len(tensors) - len(self.parameters)
        return tensors[: self.rows], tensors[self.rows : end]


class _Recomputed(torch.autograd.Function):
    """Arguments: the plan, tensors by rows, shared ones, parameters."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.plan, ctx.moment = plan, _Moment.now(tensors[0].device)
        rows, shared = plan.split(tensors)
        with ctx.moment.autocast():
            found = _in_places(plan.function, rows, shared, plan.size)
        recalled = [found.pop(name) for name in plan.recall]
        ctx.save_for_backward(*recalled, *tensors)
        plan.names.extend(found)
        return tuple(found.values())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        count = len(plan.recall)
        recalled, tensors = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        rows, shared = plan.split(tensors)
        needs_rows, needs_shared = plan.split(ctx.needs_input_grad[1:])
        grad_rows = [torch.zeros_like(t) if n else None for t, n in _pairs(rows, needs_rows)]
        shared = [_leaf(t, need) for t, need in _pairs(shared, needs_shared)]
        lasting = [*(t for t in shared if t.requires_grad), *plan.parameters]
        sums: list[Tensor | None] = [None] * len(lasting)
        pieces = _split((*recalled, *rows, *grads), plan.size)
        with ctx.moment.again(), torch.enable_grad(), ctx.moment.autocast():
            for number, piece in enumerate(pieces):
                some, grad_some = piece[count : count + plan.rows], piece[count + plan.rows :]
                leaves = [_leaf(t, need) for t, need in _pairs(some, needs_rows)]
                known = dict(zip(plan.recall, piece, strict=False))
                found = plan.function(*leaves, *shared, **known)
                wanted = [t for t in leaves if t.requires_grad]
                values = [found[name] for name in plan.names]
                pulls = _gradients(values, grad_some, [*wanted, *lasting])
                places = [torch.split(g, plan.size)[number] for g in grad_rows if g is not None]
                for place, pull in zip(places, pulls, strict=False):
                    if pull is not None:
                        place.copy_(pull)
                sums = [_added(a, b) for a, b in _pairs(sums, pulls[len(wanted) :])]
        of_lasting = iter(sums)
        of_shared = [next(of_lasting) if need else None for need in needs_shared]
        return None, *grad_rows, *of_shared, *of_lasting


@dataclass(frozen=True)
class _Moment:
    """What else a function's result depends on: random states and autocast."""

    device: torch.device
    host_state: Tensor
    device_state: Tensor | None
    """Of a CUDA device; its generator's state is the host's, nothing waits for it."""
    autocasts: bool
    dtype: torch.dtype | None

    @classmethod
    def now(cls, device: torch.device) -> "_Moment":
        """As it is."""
        there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        autocasts = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if autocasts else None
        return cls(device, torch.get_rng_state(), there, autocasts, dtype)

    def autocast(self) -> torch.autocast:
        """Without its cache of weights, which would hand one chunk's weights to the next."""
        return torch.autocast(
            self.device.type, dtype=self.dtype, enabled=self.autocasts, cache_enabled=False
        )

    @contextmanager
    def again(self) -> Iterator[None]:
        """The generators as they were then; afterwards as they are now."""
        devices = [] if self.device_state is None else [self.device]
        with torch.random.fork_rng(devices):
            torch.set_rng_state(self.host_state)
            if self.device_state is not None:
                torch.cuda.set_rng_state(self.device_state, self.device)
            yield


def _in_places(
    function: Function, rows: Sequence[Tensor], shared: Sequence[Tensor], size: int,
    without: Collection[str] = (),
) -> dict[str, Tensor]:  # fmt: skip
    found: dict[str, Tensor] = {}
    for number, some in enumerate(_split(rows, size)):
        part = function(*some, *shared)
        for name, value in part.items():
            if name in without:
                continue
            if number == 0:
                found[name] = value.new_empty(len(rows[0]), *value.shape[1:])
            found[name].narrow(0, number * size, len(value)).copy_(value)
    return found


def _split(tensors: Sequence[Tensor], size: int) -> Iterable[tuple[Tensor, ...]]:
    """The same `size` rows of each tensor at a time."""
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


def _pairs(first: Sequence[Any], second: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(first, second, strict=True)


def _leaf(tensor: Tensor, needs_gradient: bool) -> Tensor:
    return tensor.detach().requires_grad_(needs_gradient)


def _gradients(
    found: Sequence[Tensor], grads: Sequence[Tensor], wanted: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """None where a result does not depend on what is wanted."""
    live = [(value, grad) for value, grad in _pairs(found, grads) if value.requires_grad]
    values, pulls = zip(*live, strict=True)
    return torch.autograd.grad(values, wanted, pulls, allow_unused=True)


def _added(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    if part is None:
        return total
    return part.clone() if total is None else total.add_(part)
