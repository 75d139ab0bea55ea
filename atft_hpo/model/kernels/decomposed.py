"""Which form of the decomposed features' networks a model computes: the reference, or Triton's.

    networks = model.selection.fan_networks
    found = compare(networks, inputs=12, device=torch.device("cuda"))
    print(found.line())
    networks.kernels = found.best if found.by_kernels else None

See `choose` for how the choice is made. The reference is timed as the model has it: compiled,
where `runtime.compile` says so. B counts tokens, c a network's inputs.
"""

import torch
from torch import Tensor

from atft_hpo.model.kernels import choose
from atft_hpo.model.kernels.choose import FEW_TOKENS, Comparison, Contest, Form
from atft_hpo.model.kernels.grouped import FeatureNetworks, in_blocks

BLOCK_TOKENS = 1 << 15
"""That the forms are timed at."""


def compare(networks: FeatureNetworks, inputs: int, device: torch.device) -> Comparison:
    """Try both on `device`, with c = `inputs`; draws nothing from torch's global generators."""
    features, hidden, _ = networks.mix_weight.shape
    block = _block(features, hidden, inputs, device)
    few = (*(part[:FEW_TOKENS] for part in block[:_BY_TOKENS]), *block[_BY_TOKENS:])
    forms = (_kernels, networks.reference, in_blocks)
    return choose.compare(Contest("decomposed features", *forms, _results, block, few))


def _kernels() -> Form:
    from atft_hpo.model.kernels.grouped_triton import fused_sum

    return fused_sum


_BY_TOKENS = 5
"""How many tensors of a block have a row per token."""


def _block(features: int, hidden: int, inputs: int, device: torch.device) -> tuple[Tensor, ...]:
    """Gradient of the result, weights, three parts of the inputs, then the operands of `in_blocks`.

    Weights and numbers are parts of wider tensors, as variable selection gives them.
    """
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    weight_BF = draw(BLOCK_TOKENS, features + 1).softmax(dim=1)[:, 1:]
    x_BF1 = draw(BLOCK_TOKENS, features + 1)[:, 1:].unsqueeze(2)
    channels_BFc = draw(BLOCK_TOKENS, features, inputs - 2)
    by_tokens = (draw(BLOCK_TOKENS, hidden), weight_BF, x_BF1, torch.ones_like(x_BF1), channels_BFc)
    entry_FHc = draw(features, 2 * hidden, inputs)
    inner_FHH = hidden**-0.5 * draw(features, 2 * hidden, hidden)
    inner_bias_FH1 = draw(features, 2 * hidden, 1)
    gain_FH1, bias_FH1 = 1.0 + 0.1 * draw(features, hidden, 1), 0.1 * draw(features, hidden, 1)
    return (*by_tokens, entry_FHc, inner_FHH, inner_bias_FH1, gain_FH1, bias_FH1)


def _results(form: Form, block: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Result and gradients of weights and operands, the ones that training takes."""
    (grad_BH, weight_BF, *inputs), operands = block[:_BY_TOKENS], block[_BY_TOKENS:]
    leaves = [t.detach().requires_grad_() for t in (weight_BF, *operands)]
    out_BH = form(leaves[0], inputs, tuple(leaves[1:]))
    return (out_BH.detach(), *torch.autograd.grad(out_BH, leaves, grad_BH))
