"""Run the Triton kernels without a GPU: `python interpreted.py FILE`.

For `test_interpolated_triton`. With TRITON_INTERPRET=1, which must be there before Triton is
imported: the inputs saved in FILE are replaced by results and gradients. Without it: the kernels
are compiled for Hopper, as on a card.
"""

import os
import sys

import torch
import triton

from atft_hpo.model import interpolated_triton as kernels
from atft_hpo.model.tabulated import CELLS

HOPPER = ("cuda", 90, 32)


def interpret(path: str) -> None:
    """Per case: inputs, weights, table, gradient of the result, which gradients are wanted."""
    found = []
    for *inputs, grad_BH, wanted in torch.load(path):
        leaves = [t.requires_grad_(want) for t, want in zip(inputs, wanted, strict=True)]
        out_BH = kernels.fused_sum(*leaves)
        some = [leaf for leaf in leaves if leaf.requires_grad]
        pulls = torch.autograd.grad(out_BH, some, grad_BH)
        found.append([out_BH.detach(), *pulls])
        zero_BH = kernels.fused_sum(*leaves, True)
        assert not zero_BH.any(), "with only_gradient the sum is left out"
        again = torch.autograd.grad(zero_BH, some, grad_BH)
        for a, b in zip(again, pulls, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    torch.save(found, path)


def compile_for_hopper() -> None:
    """Print the name of each kernel that compiles."""
    from triton.backends.compiler import GPUTarget

    table = {"FEATURES": 361, "HIDDEN": 64, "CELLS": CELLS, "PER_UNIT": 8.0}
    shapes = {
        "_sum_kernel": {"TOKENS": 16, "COLUMNS": 64},
        "_input_kernel": {"TOKENS": 16, "COLUMNS": 64, "NEEDS_X": True},
        "_table_kernel": {"TOKENS": 32, "COLUMNS": 64},
    }
    for name, shape in shapes.items():
        kernel = getattr(kernels, name)
        constants = table | shape
        signature = {
            argument: "constexpr"
            if argument in constants
            else "*fp32"
            if argument.endswith("_ptr")
            else "i32"
            for argument in kernel.arg_names
        }
        source = triton.compiler.ASTSource(kernel, signature=signature, constexprs=constants)
        compiled = triton.compile(source, target=GPUTarget(*HOPPER))
        print(name, "atom." in compiled.asm["ptx"] or "red.global" in _words(compiled.asm["ptx"]))


def _words(ptx: str) -> set[str]:
    """Instructions without their types: "red.global" and not "shared.global"."""
    return {".".join(word.split(".")[:2]) for word in ptx.split()}


if __name__ == "__main__":
    if os.environ.get("TRITON_INTERPRET") == "1":
        interpret(sys.argv[1])
    else:
        compile_for_hopper()
