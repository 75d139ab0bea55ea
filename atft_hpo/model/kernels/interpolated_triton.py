"""`tabulated.interpolated_sum` as three Triton kernels, for CUDA.

    out_BH = fused_sum(x_BF, weight_BF, table_FMH)

The reference moves 150 KB of intermediates per token through memory (361 features, H = 64) besides
the table's rows; here they stay in registers. Forward and the gradients of inputs and weights read
two neighbouring rows a term, which the L2 cache holds. The gradient of the table is a product of
hat functions [knots, tokens] with the gradient [tokens, H], feature by feature: more operations
than a scatter, but on tensor cores (three TF32 products, for float32's precision), without sorting
and without atomic additions, so that it is the same every time. Its sums of `SPLITS` parts of the
tokens are added at the end.

Only what needs Triton is here; `interpolation` decides whether it is used. Letters as in
`tabulated`; a cell lies between knots m and m + 1.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from atft_hpo.model.kernels.tabulated import CELLS, LIMIT

SPLITS = 4
"""Parts of the tokens whose table gradients are summed side by side."""
_PER_UNIT = CELLS / (2 * LIMIT)
_TOKENS, _TABLE_TOKENS = 16, 32
"""Tokens a program holds at a time: of sums over features, and of the table's gradient."""
_TABLE_HIDDEN = 64
"""Columns of the table a program adds up."""
_LEAST = 16
"""Least side of a matrix product."""


def fused_sum(
    x_BF: Tensor, weight_BF: Tensor, table_FMH: Tensor, only_gradient: bool = False
) -> Tensor:
    """See `tabulated.interpolated_sum`; float32 only."""
    out: Tensor = _FusedSum.apply(x_BF, weight_BF, table_FMH, only_gradient)  # type: ignore[no-untyped-call]
    return out


class _FusedSum(torch.autograd.Function):
    """Arguments as `fused_sum`."""

    @staticmethod
    def forward(ctx, x_BF, weight_BF, table_FMH, only_gradient):
        x_BF, weight_BF, table_FMH = _by_rows(x_BF), _by_rows(weight_BF), table_FMH.contiguous()
        ctx.save_for_backward(x_BF, weight_BF, table_FMH)
        tokens, (features, _, hidden) = len(x_BF), table_FMH.shape
        if only_gradient:
            return x_BF.new_zeros(tokens, hidden)
        out_BH = x_BF.new_empty(tokens, hidden)
        if tokens:
            _sum_kernel[(triton.cdiv(tokens, _TOKENS),)](
                x_BF, weight_BF, table_FMH, out_BH,
                tokens, x_BF.stride(0), weight_BF.stride(0),
                **_constants(features, hidden), TOKENS=_TOKENS,
                COLUMNS=triton.next_power_of_2(hidden),
            )  # fmt: skip
        return out_BH

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_BH):
        x_BF, weight_BF, table_FMH = ctx.saved_tensors
        needs_x, needs_weight, needs_table, _ = ctx.needs_input_grad
        grad_BH = grad_BH.contiguous()
        tokens, (features, knots, hidden) = len(x_BF), table_FMH.shape
        given = (tokens, x_BF.stride(0), weight_BF.stride(0))
        constants = _constants(features, hidden)
        x_grad_BF = weight_grad_BF = table_grad_FMH = None
        if needs_x or needs_weight:
            weight_grad_BF = x_BF.new_empty(tokens, features)
            x_grad_BF = torch.empty_like(weight_grad_BF) if needs_x else None
            if tokens:
                _input_kernel[(triton.cdiv(tokens, _TOKENS),)](
                    x_BF, weight_BF, table_FMH, grad_BH,
                    weight_grad_BF if x_grad_BF is None else x_grad_BF, weight_grad_BF, *given,
                    **constants, NEEDS_X=needs_x, TOKENS=_TOKENS,
                    COLUMNS=triton.next_power_of_2(hidden),
                )  # fmt: skip
        if needs_table:
            columns = min(_TABLE_HIDDEN, max(_LEAST, triton.next_power_of_2(hidden)))
            part_SFMH = x_BF.new_empty(SPLITS, features, knots, hidden)
            length = triton.cdiv(triton.cdiv(tokens, SPLITS), _TABLE_TOKENS) * _TABLE_TOKENS
            _table_kernel[(features, SPLITS, triton.cdiv(hidden, columns))](
                x_BF, weight_BF, grad_BH, part_SFMH, *given, length,
                **constants, TOKENS=_TABLE_TOKENS, COLUMNS=columns,
            )  # fmt: skip
            table_grad_FMH = part_SFMH.sum(0)
        return x_grad_BF, weight_grad_BF if needs_weight else None, table_grad_FMH, None


def _by_rows(value_BF: Tensor) -> Tensor:
    """The same with a token's numbers side by side; a part of wider rows is left as it is."""
    return value_BF if value_BF.stride(1) == 1 else value_BF.contiguous()


def _constants(features: int, hidden: int) -> dict[str, float]:
    return {"FEATURES": features, "HIDDEN": hidden, "CELLS": CELLS, "PER_UNIT": _PER_UNIT}


@triton.jit
def _place(x, CELLS: tl.constexpr, PER_UNIT: tl.constexpr):
    """Cell, and position in it; clamping integers gives a NaN some cell."""
    position = x * PER_UNIT + CELLS / 2
    cell = tl.minimum(tl.maximum(tl.floor(position).to(tl.int32), 0), CELLS - 1)
    return cell, position - cell.to(tl.float32)


@triton.jit
def _sum_kernel(
    x_ptr, weight_ptr, table_ptr, out_ptr, tokens, x_stride, weight_stride,
    FEATURES: tl.constexpr, HIDDEN: tl.constexpr, CELLS: tl.constexpr, PER_UNIT: tl.constexpr,
    TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Σ_f w · (low + fraction · (high − low)), [TOKENS, COLUMNS] a program."""
    token = (tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)).to(tl.int64)
    column = tl.arange(0, COLUMNS)
    live = token < tokens
    there = live[:, None] & (column < HIDDEN)[None, :]
    total = tl.zeros([TOKENS, COLUMNS], tl.float32)
    for f in range(FEATURES):
        x = tl.load(x_ptr + token * x_stride + f, mask=live, other=0.0)
        weight = tl.load(weight_ptr + token * weight_stride + f, mask=live, other=0.0)
        cell, fraction = _place(x, CELLS, PER_UNIT)
        row = table_ptr + (f * (CELLS + 1) + cell)[:, None] * HIDDEN + column[None, :]
        low = tl.load(row, mask=there, other=0.0)
        high = tl.load(row + HIDDEN, mask=there, other=0.0)
        total += weight[:, None] * (low + fraction[:, None] * (high - low))
    tl.store(out_ptr + token[:, None] * HIDDEN + column[None, :], total, mask=there)


@triton.jit
def _input_kernel(
    x_ptr, weight_ptr, table_ptr, grad_ptr, x_grad_ptr, weight_grad_ptr, tokens, x_stride,
    weight_stride,
    FEATURES: tl.constexpr, HIDDEN: tl.constexpr, CELLS: tl.constexpr, PER_UNIT: tl.constexpr,
    NEEDS_X: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Gradients of weights, ⟨low + fraction · (high − low), g⟩, and of inputs."""
    token = (tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)).to(tl.int64)
    column = tl.arange(0, COLUMNS)
    live = token < tokens
    there = live[:, None] & (column < HIDDEN)[None, :]
    grad = tl.load(grad_ptr + token[:, None] * HIDDEN + column[None, :], mask=there, other=0.0)
    for f in range(FEATURES):
        x = tl.load(x_ptr + token * x_stride + f, mask=live, other=0.0)
        cell, fraction = _place(x, CELLS, PER_UNIT)
        row = table_ptr + (f * (CELLS + 1) + cell)[:, None] * HIDDEN + column[None, :]
        low = tl.load(row, mask=there, other=0.0)
        high = tl.load(row + HIDDEN, mask=there, other=0.0)
        along_low = tl.sum(low * grad, axis=1)
        along_slope = tl.sum((high - low) * grad, axis=1)
        place = token * FEATURES + f
        tl.store(weight_grad_ptr + place, along_low + fraction * along_slope, mask=live)
        if NEEDS_X:
            weight = tl.load(weight_ptr + token * weight_stride + f, mask=live, other=0.0)
            tl.store(x_grad_ptr + place, weight * along_slope * PER_UNIT, mask=live)


@triton.jit
def _table_kernel(
    x_ptr, weight_ptr, grad_ptr, part_ptr, tokens, x_stride, weight_stride, length,
    FEATURES: tl.constexpr, HIDDEN: tl.constexpr, CELLS: tl.constexpr, PER_UNIT: tl.constexpr,
    TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One feature's gradient over `length` of the tokens: hat functions times gradients."""
    f, split = tl.program_id(0), tl.program_id(1)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    knot = tl.arange(0, CELLS)
    total = tl.zeros([CELLS, COLUMNS], tl.float32)
    last = tl.zeros([COLUMNS], tl.float32)  # of knot CELLS, which would double the product's side
    for begin in range(0, length, TOKENS):
        token = (split * length + begin + tl.arange(0, TOKENS)).to(tl.int64)
        live = token < tokens
        x = tl.load(x_ptr + token * x_stride + f, mask=live, other=0.0)
        weight = tl.load(weight_ptr + token * weight_stride + f, mask=live, other=0.0)
        cell, fraction = _place(x, CELLS, PER_UNIT)
        above = weight * fraction
        below = weight - above
        hat = tl.where(knot[:, None] == cell[None, :], below[None, :], 0.0)
        hat += tl.where(knot[:, None] == cell[None, :] + 1, above[None, :], 0.0)
        grad = tl.load(
            grad_ptr + token[:, None] * HIDDEN + column[None, :],
            mask=live[:, None] & (column < HIDDEN)[None, :],
            other=0.0,
        )
        total = tl.dot(hat, grad, total, input_precision="tf32x3")
        last += tl.sum(tl.where(cell == CELLS - 1, above, 0.0)[:, None] * grad, axis=0)
    # 2³¹ numbers are SPLITS · 361 features · 129 knots · 11,500 columns: int32 suffices.
    part_ptr += (split * FEATURES + f) * (CELLS + 1) * HIDDEN
    there = (column < HIDDEN)[None, :]
    tl.store(part_ptr + knot[:, None] * HIDDEN + column[None, :], total, mask=there)
    tl.store(part_ptr + CELLS * HIDDEN + column, last, mask=column < HIDDEN)
