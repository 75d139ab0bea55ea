"""What steps have to say, heard without waiting for the device.

    readings = Readings()
    readings.add(f"step {number}", {"loss": loss, "samples": count}, gradient_norms)
    for values in readings.finish(): ...            # one dict a step, in order

A step's numbers go to the host beside the computation and are looked at once they are there: on a
CPU at once, on a GPU a step or two later, while the host runs ahead. So the first value that is not
finite ends the epoch with the name of its own step, though a GPU may have begun others since. What
those did to the weights is lost with the error: nothing is saved before `finish`.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from atft_hpo.errors import NonFiniteError


class Transfer:
    """Numbers on their way to the host."""

    def __init__(self, values: Tensor) -> None:
        """`values`: [V], of any device."""
        self._event: torch.cuda.Event | None = None
        if values.device.type == "cuda":
            self._here = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._here.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._here = values.cpu()

    def arrived(self) -> bool:
        """Whether `values` would not wait."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def values(self) -> list[float]:
        """The numbers, once they are here."""
        if self._event is not None:
            self._event.synchronize()
        numbers: list[float] = self._here.tolist()
        return numbers


@dataclass(frozen=True)
class _Row:
    """One step's numbers: those by name, then the norm of each parameter's gradient."""

    where: str
    names: tuple[str, ...]
    parameters: tuple[str, ...]
    transfer: Transfer


class Readings:
    """The numbers of an epoch's steps."""

    def __init__(self) -> None:
        self._under_way: deque[_Row] = deque()
        self._read: list[dict[str, float]] = []

    def add(self, where: str, values: Mapping[str, Tensor], norms: Mapping[str, Tensor]) -> None:
        """Take in the step `where`: scalars by name, norms of gradients by parameter.

        Raises:
            NonFiniteError: a number of this step, or of one before it, is NaN or infinite.
        """
        scalars = torch.stack([value.detach().double() for value in values.values()])
        # Norms are of one type: a kernel for all of them instead of one each.
        numbers = [scalars, torch.stack([*norms.values()]).double()] if norms else [scalars]
        transfer = Transfer(torch.cat(numbers))
        self._under_way.append(_Row(where, tuple(values), tuple(norms), transfer))
        while self._under_way and self._under_way[0].transfer.arrived():
            self._read_next()

    def finish(self) -> list[dict[str, float]]:
        """The named values of every step, in order; waits for the last.

        Raises:
            NonFiniteError: as `add`.
        """
        while self._under_way:
            self._read_next()
        return self._read

    def _read_next(self) -> None:
        row = self._under_way.popleft()
        numbers = row.transfer.values()
        values = dict(zip(row.names, numbers, strict=False))
        norms = dict(zip(row.parameters, numbers[len(row.names) :], strict=True))
        _require_finite(row.where, values, norms)
        self._read.append(values)


def _require_finite(where: str, values: dict[str, float], norms: dict[str, float]) -> None:
    bad = _not_finite(values)
    if not bad:
        return
    terms = [name for name in bad if name.startswith("loss_")] or bad
    at = _not_finite(norms)
    place = f"; gradient not finite in {at[0]} and {len(at) - 1} more" if at else ""
    raise NonFiniteError(
        f"{where}: {', '.join(f'{name} is {values[name]}' for name in terms)}{place}; lower "
        "the rate of this phase or the weight of this term"
    )


def _not_finite(values: Mapping[str, float]) -> list[str]:
    return [name for name, value in values.items() if not math.isfinite(value)]
