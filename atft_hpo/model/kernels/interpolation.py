"""Which form of `interpolated_sum` a model computes: the reference, or on a GPU Triton kernels.

    found = compare(features=361, hidden=64, device=torch.device("cuda"))
    print(found.line())
    model.selection.interpolate = found.best

See `choose` for how the choice is made.
"""

from typing import Protocol

import torch
from torch import Tensor

from atft_hpo.model.kernels import choose
from atft_hpo.model.kernels.choose import FEW_TOKENS, Comparison, Contest, Form
from atft_hpo.model.kernels.tabulated import BLOCK_TOKENS_ON_DEVICE, CELLS, LIMIT, interpolated_sum


class Interpolate(Protocol):
    """Arguments and result as `interpolated_sum`."""

    def __call__(
        self, x_BF: Tensor, weight_BF: Tensor, table_FMH: Tensor, only_gradient: bool = False, /
    ) -> Tensor: ...


def compare(features: int, hidden: int, device: torch.device) -> Comparison:
    """Try both on `device`; draws nothing from torch's global generators."""
    inputs = _block(features, hidden, device)
    x_BF, weight_BF, table_FMH, grad_BH = inputs
    few = (x_BF[:FEW_TOKENS], weight_BF[:FEW_TOKENS], table_FMH, grad_BH[:FEW_TOKENS])
    forms = (_kernels, interpolated_sum, interpolated_sum)
    return choose.compare(Contest("interpolation", *forms, _results, inputs, few))


def _kernels() -> Form:
    from atft_hpo.model.kernels.interpolated_triton import fused_sum

    return fused_sum


def _block(features: int, hidden: int, device: torch.device) -> tuple[Tensor, ...]:
    """Inputs as in training, some beyond the knots, weights, a table, a gradient of the result.

    Inputs and weights are parts of wider tensors, as variable selection gives them.
    """
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    tokens = BLOCK_TOKENS_ON_DEVICE
    x_BF = (0.3 * LIMIT * draw(tokens, features + 1))[:, :features]
    weight_BF = draw(tokens, features + 1).softmax(dim=1)[:, :features]
    table_FMH = draw(features, hidden, CELLS + 1).mT
    return x_BF, weight_BF, table_FMH, draw(tokens, hidden)


def _results(form: Form, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Result and gradients of weights and table, the ones that training takes."""
    x_BF, weight_BF, table_FMH, grad_BH = inputs
    leaves = (weight_BF.detach().requires_grad_(), table_FMH.detach().requires_grad_())
    out_BH = form(x_BF, *leaves)
    return (out_BH.detach(), *torch.autograd.grad(out_BH, leaves, grad_BH))
