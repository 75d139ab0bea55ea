"""Σ_f w_f · y_f(x_f) for many functions of one number each, at the price of two table rows a term.

A feature's network is a function of a single number, so it need not be run for every token: it is
evaluated once per step at `KNOTS` and interpolated linearly in between (and extrapolated from the
outermost cells). Gradients reach the networks through the knots.

    table_FMH = networks(KNOTS.expand(F, -1))                # M = CELLS + 1 knots
    out_BH = interpolated_sum(x_BF, weight_BF, table_FMH)

The interpolation is part of the model, the same in training and in use. Its distance from the
networks themselves is 1.2e-3 (rms, where they spread by .54; three times that with weights thrice
as large as at the start). Always float32 or float64. A term costs about .06 µs with its gradients
at H = 16 on one core, the network itself .6 µs (`bench.training_speed.selection`). B counts
tokens.
"""

import warnings

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor

LIMIT = 8.0
"""Knots cover ± this, the default of data.pack.clip."""
CELLS = 128
"""Intervals between knots; at most 256, since cells are sorted as bytes."""
KNOTS = torch.linspace(-LIMIT, LIMIT, CELLS + 1)
"""[M] where networks are evaluated."""
BLOCK_TOKENS = 4096
"""Tokens at a time on a CPU; bounds memory and keeps intermediates in cache."""
BLOCK_TOKENS_ON_DEVICE = 1 << 15
"""The same elsewhere, where a pass over few numbers is waiting."""


def interpolated_sum(
    x_BF: Tensor, weight_BF: Tensor, table_FMH: Tensor, only_gradient: bool = False
) -> Tensor:
    """[B, H] from inputs [B, F], their weights [B, F] and the functions' values at the knots.

    Differentiable once in all three. The result for a token depends on nothing but that token. With
    `only_gradient` it is left at 0 and its gradient is that of the sum.
    """
    with torch.autocast(x_BF.device.type, enabled=False):
        arguments = (x_BF, weight_BF, table_FMH, only_gradient)
        out: Tensor = _InterpolatedSum.apply(*arguments)  # type: ignore[no-untyped-call]
    return out


class _InterpolatedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_BF, weight_BF, table_FMH, only_gradient):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x_BF, weight_BF, table_FMH)
        if only_gradient:
            return x_BF.new_zeros(len(x_BF), table_FMH.shape[2])
        tokens = _block_tokens(x_BF)
        blocks = zip(x_BF.split(tokens), weight_BF.split(tokens), strict=True)
        return torch.cat([_sum_knots(x, weight, table_FMH) for x, weight in blocks])

    @staticmethod
    def backward(ctx, grad_BH):  # type: ignore[no-untyped-def]
        x_BF, weight_BF, table_FMH = ctx.saved_tensors
        needs_x, needs_weight, needs_table, _ = ctx.needs_input_grad
        x_grads, weight_grads = [], []
        table_grad_FMH = torch.zeros_like(table_FMH) if needs_table else None
        parts = (t.split(_block_tokens(x_BF)) for t in (x_BF, weight_BF, grad_BH.contiguous()))
        for x, weight, grad in zip(*parts, strict=True):
            cell_BF, fraction_BF = _cells(x)
            if needs_x or needs_weight:
                below, above = _products(cell_BF, grad, table_FMH)
                rise = above - below
                weight_grads.append(torch.addcmul(below, fraction_BF, rise))
                x_grads.append(rise.mul_(weight).mul_(CELLS / (2 * LIMIT)))
            if table_grad_FMH is not None:
                below_FCH, above_FCH = _gather_cells(cell_BF, fraction_BF, weight, grad)
                table_grad_FMH[:, :-1] += below_FCH
                table_grad_FMH[:, 1:] += above_FCH
        return (
            torch.cat(x_grads) if needs_x else None,
            torch.cat(weight_grads) if needs_weight else None,
            table_grad_FMH,
            None,
        )


def _block_tokens(x_BF: Tensor) -> int:
    return BLOCK_TOKENS if x_BF.device.type == "cpu" else BLOCK_TOKENS_ON_DEVICE


def _cells(x_BF: Tensor) -> tuple[Tensor, Tensor]:
    """Cell within the feature's own, int32, and the position in it (0 … 1 inside the knots).

    Clamping integers gives a NaN some cell, where it makes its own token NaN and no other.
    """
    position_BF = x_BF * (CELLS / (2 * LIMIT)) + CELLS / 2
    cell_BF = position_BF.floor().int().clamp_(0, CELLS - 1)
    return cell_BF, position_BF.sub_(cell_BF)


def _rows(cell_BF: Tensor) -> Tensor:
    """Of each cell's lower knot, counted over all features: int32 [B, F]."""
    end = cell_BF.shape[1] * (CELLS + 1)
    start_F = torch.arange(0, end, CELLS + 1, dtype=torch.int32, device=cell_BF.device)
    return cell_BF + start_F


def _sum_knots(x_BF: Tensor, weight_BF: Tensor, table_FMH: Tensor) -> Tensor:
    cell_BF, fraction_BF = _cells(x_BF)
    row_BF, above_BF = _rows(cell_BF), fraction_BF.mul_(weight_BF)
    rows = torch.cat([row_BF, row_BF + 1], dim=1)
    weights = torch.cat([weight_BF - above_BF, above_BF], dim=1)
    knots = table_FMH.flatten(0, 1)
    return F.embedding_bag(rows, knots, per_sample_weights=weights, mode="sum")


def _products(cell_BF: Tensor, grad_BH: Tensor, table_FMH: Tensor) -> tuple[Tensor, Tensor]:
    """⟨knot, grad⟩ of the knots below and above, [B, F] each, as sampled matrix products."""
    tokens, features = cell_BF.shape
    row_BF, knots = _rows(cell_BF), table_FMH.flatten(0, 1)
    entries = 2 * tokens * features
    columns = torch.cat([row_BF, row_BF + 1], dim=1).flatten()
    starts = torch.arange(0, entries + 1, 2 * features, dtype=torch.int32, device=cell_BF.device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        pattern = torch.sparse_csr_tensor(
            starts, columns, grad_BH.new_zeros(entries), (tokens, len(knots)),
            check_invariants=False,
        )  # fmt: skip
        sampled = torch.sparse.sampled_addmm(pattern, grad_BH, knots.T, beta=0.0).values()
    below, above = sampled.view(tokens, 2 * features).chunk(2, dim=1)
    return below, above


def _gather_cells(
    cell_BF: Tensor, fraction_BF: Tensor, weight_BF: Tensor, grad_BH: Tensor
) -> tuple[Tensor, Tensor]:
    """Per cell, what its tokens say of the knots below and above: [F, CELLS, H] each.

    Σ w · (1 − fraction) · grad and Σ w · fraction · grad over the tokens.
    Entries E = F · B are sorted by cell, feature by feature: each cell is one run of them.
    """
    cell_FB = cell_BF.T.contiguous()
    features, tokens = cell_FB.shape
    runs = _runs_by_bytes if cell_FB.device.type == "cpu" else _runs_by_search
    token_FB, start_FC = runs(cell_FB)
    first_F1 = torch.arange(features, device=cell_FB.device).unsqueeze(1) * tokens
    place_E = (token_FB + first_F1).flatten()
    weight_E = weight_BF.T.flatten().index_select(0, place_E)
    above_E = fraction_BF.T.flatten().index_select(0, place_E).mul_(weight_E)
    start_C, token_E = (start_FC + first_F1).flatten().int(), token_FB.flatten().int()
    below_CH, above_CH = (
        F.embedding_bag(token_E, grad_BH, start_C, mode="sum", per_sample_weights=w)
        for w in (weight_E.sub_(above_E), above_E)
    )
    return below_CH.view(features, CELLS, -1), above_CH.view(features, CELLS, -1)


def _runs_by_bytes(cell_FB: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens by cell, stable, and where each cell's run of them begins [F, CELLS]; int64.

    Bytes sort by radix in NumPy, 15 times faster than in torch.
    """
    token_FB = cell_FB.to(torch.uint8).numpy().argsort(axis=1, kind="stable")
    count_FC = torch.zeros(len(cell_FB), CELLS, dtype=torch.int64)
    count_FC.scatter_add_(1, cell_FB.long(), torch.ones_like(cell_FB, dtype=torch.int64))
    return torch.from_numpy(token_FB), count_FC.cumsum(1) - count_FC


def _runs_by_search(cell_FB: Tensor) -> tuple[Tensor, Tensor]:
    """The same without atomic additions, which a GPU refuses where determinism is asked for."""
    sorted_FB, token_FB = cell_FB.sort(dim=1, stable=True)
    cell_C = torch.arange(CELLS, dtype=cell_FB.dtype, device=cell_FB.device)
    return token_FB, torch.searchsorted(sorted_FB, cell_C.repeat(len(cell_FB), 1))
