"""Run the Triton kernels without a GPU: `python interpreted.py interpolated|grouped [FILE]`.

For `test_interpolated_triton` and `test_grouped_triton`. With TRITON_INTERPRET=1, which must be
there before Triton is imported: the cases saved in FILE are replaced by results and gradients.
Without it: the kernels are compiled for Hopper, as on a card, and what of a processor they take is
printed.
"""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch
import triton
from torch import Tensor

from atft_hpo.model.kernels.tabulated import CELLS
from atft_hpo.model.selection import VariableSelection

HOPPER = ("cuda", 90, 32)
Compiled = tuple[str, dict[str, Any], dict[str, int]]
"""A kernel's name, the constants and the options it is compiled with."""


def interpret(kernels: ModuleType, path: str) -> None:
    """Per case: arguments, gradient of the result, what is wanted; or what `of_selection` takes."""
    found = []
    for case in torch.load(path):
        if isinstance(case[0], bool):
            by_kernels, *selection = case
            found.append(of_selection(kernels.fused_sum if by_kernels else None, *selection))
        else:
            found.append(of_sum(kernels, *case))
    torch.save(found, path)


def of_sum(
    kernels: ModuleType, arguments: tuple[Any, ...], grad_BH: Tensor, wanted: tuple[bool, ...]
) -> list[Tensor]:
    """The sum and its gradients, of tensors in the arguments that are wanted."""
    leaves = [t.requires_grad_(want) for t, want in zip(flat(arguments), wanted, strict=True)]
    out_BH = kernels.fused_sum(*arguments)
    some = [leaf for leaf in leaves if leaf.requires_grad]
    pulls = torch.autograd.grad(out_BH, some, grad_BH)
    zero_BH = kernels.fused_sum(*arguments, True)
    assert not zero_BH.any(), "with only_gradient the sum is left out"
    again = torch.autograd.grad(zero_BH, some, grad_BH)
    for a, b in zip(again, pulls, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    return [out_BH.detach(), *pulls]


def of_selection(
    form: Callable[..., Tensor] | None, settings: dict[str, Any], state: dict[str, Tensor],
    x_NTF: Tensor, present_NT: Tensor, channels: dict[str, Tensor],
) -> list[Tensor]:  # fmt: skip
    """Of a whole variable selection in training, dropout and bf16 on: results, gradients.

    Then the same again with the results known, as when a chunk is computed again.
    """
    module = VariableSelection(**settings)
    module.load_state_dict(state)
    module.fan_networks.kernels = form
    known, found = None, list[Tensor]()
    for _ in range(2):
        torch.manual_seed(5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outs = module(x_NTF, present_NT, channels, module.table(), known)
        loss = outs[0].square().sum() + outs[1].sin().sum()
        grads = torch.autograd.grad(loss, tuple(module.parameters()))
        found += [*(out.detach() for out in outs), *grads]
        known = (outs[0].detach(), outs[1].detach())
    return found


def flat(arguments: Any) -> list[Tensor]:
    """Tensors of nested tuples, in their order."""
    if isinstance(arguments, Tensor):
        return [arguments]
    return [tensor for part in arguments for tensor in flat(part)]


def interpolated(kernels: ModuleType) -> Iterator[Compiled]:
    """As `fused_sum` launches them."""
    table = {"FEATURES": 361, "HIDDEN": 64, "CELLS": CELLS, "PER_UNIT": 8.0}
    yield "_sum_kernel", table | {"TOKENS": 16, "COLUMNS": 64}, {}
    yield "_input_kernel", table | {"TOKENS": 16, "COLUMNS": 64, "NEEDS_X": True}, {}
    yield "_table_kernel", table | {"TOKENS": 32, "COLUMNS": 64}, {}


def grouped(kernels: ModuleType) -> Iterator[Compiled]:
    """Likewise, with all channels added; as in training, and with gradients of the inputs.

    A weight's neighbour is the next number: Triton compiles a 1 as a constant.
    """
    sizes = kernels.constants(torch.empty(1, 34, 12), 64) | {"weight_column": 1}
    yield "_sum_kernel", sizes | {"TOKENS": kernels.SUM_TOKENS}, kernels.SUM_OPTIONS
    for needs in (False, True):
        shape = {"TOKENS": kernels.PULL_TOKENS, "NEEDS_INPUTS": needs}
        yield "_pull_kernel", sizes | shape, kernels.PULL_OPTIONS


def compile_for_hopper(kernels: ModuleType, plans: Iterator[Compiled]) -> None:
    """Print, per kernel that compiles, what it takes."""
    from triton.backends.compiler import GPUTarget

    said = []
    for name, constants, options in plans:
        kernel = getattr(kernels, name)
        signature = {
            argument: "constexpr"
            if argument in constants
            else "*fp32"
            if argument.endswith("_ptr")
            else "i32"
            for argument in kernel.arg_names
        }
        aligned = {
            (place,): [["tt.divisibility", 16]]
            for place, argument in enumerate(kernel.arg_names)
            if argument.endswith("_ptr")
        }
        source = triton.compiler.ASTSource(
            kernel, signature=signature, constexprs=constants, attrs=aligned
        )
        compiled = triton.compile(source, target=GPUTarget(*HOPPER), options=options)
        ptx = compiled.asm["ptx"]
        atomic = "atom." in ptx or "red.global" in _words(ptx)
        said.append([name, atomic, compiled.metadata.shared, _spilt_bytes(ptx)])
    print(json.dumps(said))


def _words(ptx: str) -> set[str]:
    """Instructions without their types: "red.global" and not "shared.global"."""
    return {".".join(word.split(".")[:2]) for word in ptx.split()}


def _spilt_bytes(ptx: str) -> int:
    """What a thread stores for want of registers."""
    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    with TemporaryDirectory() as place:
        text, out = Path(place) / "kernel.ptx", Path(place) / "kernel.cubin"
        text.write_text(ptx, encoding="utf-8")
        command = [str(ptxas), "-v", "--gpu-name=sm_90a", str(text), "-o", str(out)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(re.findall(r"(\d+) bytes spill stores", ended.stderr)[0])


PLANS: dict[str, Callable[[ModuleType], Iterator[Compiled]]] = {
    "interpolated": interpolated,
    "grouped": grouped,
}

if __name__ == "__main__":
    module = importlib.import_module(f"atft_hpo.model.kernels.{sys.argv[1]}_triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        interpret(module, sys.argv[2])
    else:
        compile_for_hopper(module, PLANS[sys.argv[1]](module))
