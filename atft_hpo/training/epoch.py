"""One epoch of training steps.

outcome = train_epoch(run, phase, epoch, should_stop)
# EpochFacts, or the Decision with which `should_stop` ended it between two steps
"""

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from atft_hpo.config.schema import Config
from atft_hpo.data.batch import Batch
from atft_hpo.errors import NonFiniteError
from atft_hpo.model.atft import ATFT
from atft_hpo.training.augment import augment
from atft_hpo.training.averaging import Averages
from atft_hpo.training.forecast import precision
from atft_hpo.training.losses import (
    LossRules,
    SliceTargets,
    loss_gradient,
    recency,
    weighted_sum,
)
from atft_hpo.training.optimizer import set_rates, trainable
from atft_hpo.training.phases import Phase
from atft_hpo.training.report import Decision
from atft_hpo.training.schedule import phase_progress
from atft_hpo.training.state import RunState


class Learner(Protocol):
    """What a step changes, and by which configuration; a `RunState` is one."""

    config: Config
    device: torch.device
    model: ATFT
    optimizer: torch.optim.AdamW
    averages: Averages


@dataclass(frozen=True)
class EpochFacts:
    """What an epoch of training did."""

    train: dict[str, float]
    """`EpochReport.train`."""
    seconds: float
    samples: int


@dataclass(frozen=True)
class Step:
    """One optimiser step; `values` are loss, terms and gradient norm by name."""

    values: dict[str, float]
    samples: int
    edges_per_day: float


def train_epoch(
    run: RunState, phase: Phase, epoch: int, should_stop: Callable[[], Decision]
) -> EpochFacts | Decision:
    """Every training sample once, in the order of a new plan.

    Raises:
        NonFiniteError: a loss term or the gradient norm is NaN or infinite.
    """
    started = time.monotonic()
    rules = LossRules.of(run.config, phase.config)
    plan = run.source.training_plan(run.plan_generator)
    days = run.source.split.train
    weight_D = recency(days, rules.settings.half_life_days)
    steps: list[Step] = []
    run.model.train()
    for number, index in enumerate(plan):
        if (decision := should_stop()) is not Decision.CONTINUE:
            return decision
        batch = run.source.batch(index)
        if phase.config.augment:
            batch = augment(_decomposed(run, batch), run.config.augment, run.augment_generator)
        targets = SliceTargets.of(batch)
        if targets.samples == 0:
            continue
        progress = phase_progress(epoch, number, len(plan), phase.config.epochs)
        rate = set_rates(run.optimizer, phase.config.lr, progress, run.config.optim)
        where = f"phase {phase.name}, epoch {epoch}, step {number}"
        part = slice(index.days.start - days.start, index.days.stop - days.start)
        weight = float(weight_D[part].mean())  # one a slice, whose terms are balanced together
        steps.append(train_step(run, batch, targets, rules, weight, where))
    if not steps:
        raise NonFiniteError(f"phase {phase.name}: no training slice has a label; check the split")
    train = _means(steps) | {"lr": rate}
    return EpochFacts(train, time.monotonic() - started, sum(step.samples for step in steps))


def _decomposed(run: RunState, batch: Batch) -> Batch:
    """`batch` with FAN and SAN of its features as they are: a masked day is no part of a cycle."""
    columns = run.model.inputs.fan_columns
    return dataclasses.replace(batch, channels=run.model.channels(batch), channel_columns=columns)


def train_step(
    run: Learner, batch: Batch, targets: SliceTargets, rules: LossRules, weight: float, where: str
) -> Step:
    """One optimiser step on `batch`, whose gradient counts `weight`; `where` names it in errors.

    Raises:
        NonFiniteError: a loss term or the gradient norm is NaN or infinite.
    """
    run.optimizer.zero_grad(set_to_none=True)
    with precision(run.config, run.device):
        forecast = run.model(batch)
    pull = loss_gradient(forecast, targets, rules)
    torch.autograd.backward(forecast, [weight * part for part in pull.gradients])
    parameters = trainable(run.optimizer)
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    scalars = {
        "loss": weighted_sum(pull.terms, rules.weights),
        "grad_norm": norm,
        **{f"loss_{name}": term for name, term in pull.terms.items()},
        **{f"grad_norm_{name}": value for name, value in pull.norms.items()},
        **{f"grad_pull_{n}": factor * pull.norms[n] for n, factor in pull.factors.items()},
    }
    # One transfer per step: on a GPU each .item() would wait for the device.
    values = torch.stack([scalar.detach() for scalar in scalars.values()]).tolist()
    found = dict(zip(scalars, values, strict=True))
    _require_finite(run, found, where)
    clip_grads_with_norm_(parameters, run.config.optim.clip_norm, norm)
    run.optimizer.step()
    run.averages.after_step(run.model)
    return Step(found, targets.samples, _edges_per_day(run, batch))


def _require_finite(run: Learner, values: dict[str, float], where: str) -> None:
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if not bad:
        return
    terms = [name for name in bad if name.startswith("loss_")] or bad
    gradients = ((name, p.grad) for name, p in run.model.named_parameters())
    at = [name for name, g in gradients if g is not None and not bool(g.isfinite().all())]
    place = f"; gradient not finite in {at[0]} and {len(at) - 1} more" if at else ""
    raise NonFiniteError(
        f"{where}: {', '.join(f'{name} is {values[name]}' for name in terms)}{place}; lower "
        "the rate of this phase or the weight of this term"
    )


def _edges_per_day(run: Learner, batch: Batch) -> float:
    if "graph" not in run.model.active:
        return 0.0
    return float((batch.neighbours_SNK >= 0).sum()) / len(batch.neighbours_SNK)


def _means(steps: list[Step]) -> dict[str, float]:
    names = steps[0].values
    means = {name: sum(step.values[name] for step in steps) / len(steps) for name in names}
    return means | {
        "edges": sum(step.edges_per_day for step in steps) / len(steps),
        "optimizer_steps": float(len(steps)),
        "samples": float(sum(step.samples for step in steps)),
    }
