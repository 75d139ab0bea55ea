"""AdamW over the model's parameter groups, and the rates a phase gives them.

Strengths and lag kernels start at or near zero and have a rate of their own, without weight decay:
at the common rate they stay there (FAN learned a fifth of its part without it). The graph network
has one too, with decay: it begins when the rates are falling.
"""

import torch
from torch import nn

from atft_hpo.config.training_schema import OptimConfig
from atft_hpo.model.atft import ATFT
from atft_hpo.training.optim.schedule import rate_factor


def make_optimizer(model: ATFT, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over all parameters, frozen ones included: what has no gradient is not stepped."""
    rates = {
        "strengths": config.strength_lr_factor,
        "kernels": config.kernel_lr_factor,
        "graph": config.graph_lr_factor,
    }
    groups = [
        {
            "name": name,
            "params": parameters,
            "factor": rates.get(name, 1.0),
            "weight_decay": config.weight_decay if name in ("weights", "graph") else 0.0,
        }
        for name, parameters in model.parameter_groups().items()
        if parameters
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=config.betas, fused=True)


def set_rates(
    optimizer: torch.optim.Optimizer, peak: float, progress: float, config: OptimConfig
) -> float:
    """Set each group's rate for this step of a phase; returns the common one.

    `peak` is the phase's rate, `progress` in (0, 1] the share of the phase done after the step.
    """
    shape = rate_factor(progress, config.warmup_share, config.final_lr_share)
    rate = peak * config.lr_scale * shape
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def forget_frozen(optimizer: torch.optim.Optimizer) -> None:
    """Drop the moments of frozen parameters: once thawed they would be of another phase."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not parameter.requires_grad:
                parameter.grad = None
                optimizer.state.pop(parameter, None)


def trainable(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All parameters that are not frozen."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
