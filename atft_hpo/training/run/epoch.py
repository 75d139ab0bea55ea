"""One epoch of training steps, which waits for the device at its end only.

outcome = train_epoch(run, phase, epoch, should_stop)
# EpochFacts, or the Decision with which `should_stop` ended it between two steps
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.errors import NonFiniteError
from atft_hpo.model.atft import ATFT
from atft_hpo.training.forecasting.forecast import precision
from atft_hpo.training.loss.balance import Pull, loss_gradient, recency, weighted_sum
from atft_hpo.training.loss.terms import LossRules, SliceTargets
from atft_hpo.training.optim.averaging import Averages
from atft_hpo.training.optim.optimizer import set_rates, trainable
from atft_hpo.training.optim.schedule import phase_progress
from atft_hpo.training.phases.epoch_report import Decision
from atft_hpo.training.phases.phase_table import Phase
from atft_hpo.training.run.augment import augment
from atft_hpo.training.run.step_readings import Readings
from atft_hpo.training.state.run_state import RunState


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
class StepNumbers:
    """Scalars of one step, on the device."""

    values: dict[str, Tensor]
    """Loss, terms, norms and pulls of their gradients, `grad_norm`, `samples`, `edges`, by name."""
    norms: dict[str, Tensor]
    """Norm of each parameter's gradient."""


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
    readings = Readings()
    rate = 0.0
    run.model.train()
    for number, index in enumerate(plan):
        if (decision := should_stop()) is not Decision.CONTINUE:
            return decision
        if not index.labelled:
            continue
        batch = run.source.batch(index)
        if phase.config.augment:
            batch = augment(_decomposed(run, batch), run.config.augment, run.augment_generator)
        progress = phase_progress(epoch, number, len(plan), phase.config.epochs)
        rate = set_rates(run.optimizer, phase.config.lr, progress, run.config.optim)
        part = slice(index.days.start - days.start, index.days.stop - days.start)
        weight = float(weight_D[part].mean())  # one a slice, whose terms are balanced together
        found = backward(run, batch, rules, weight)
        where = f"phase {phase.name}, epoch {epoch}, step {number}"
        readings.add(where, found.values, found.norms)
        step(run, found.values["grad_norm"])
    steps = readings.finish()
    samples = sum(values["samples"] for values in steps)
    if samples == 0:
        raise NonFiniteError(f"phase {phase.name}: no training slice has a label; check the split")
    train = _means(steps) | {"lr": rate}
    return EpochFacts(train, time.monotonic() - started, int(samples))


def _decomposed(run: RunState, batch: Batch) -> Batch:
    """`batch` with FAN and SAN of its features as they are: a masked day is no part of a cycle."""
    columns = run.model.selection.columns
    return dataclasses.replace(batch, channels=run.model.channels(batch), channel_columns=columns)


def train_step(run: Learner, batch: Batch, rules: LossRules, weight: float) -> StepNumbers:
    """One optimiser step on `batch`, whose gradient counts `weight`; the numbers are not read."""
    found = backward(run, batch, rules, weight)
    step(run, found.values["grad_norm"])
    return found


def backward(run: Learner, batch: Batch, rules: LossRules, weight: float) -> StepNumbers:
    """Leave the gradient of `batch`, times `weight`, in the parameters."""
    run.optimizer.zero_grad(set_to_none=True)
    targets = SliceTargets.of(batch)
    with precision(run.config, run.device):
        forecast = run.model(batch)
    pull = loss_gradient(forecast, targets, rules)
    torch.autograd.backward(forecast, [weight * part for part in pull.gradients])
    norms = _gradient_norms(run)
    values = {
        **_of_loss(pull, rules),
        "grad_norm": torch.linalg.vector_norm(torch.stack(list(norms.values()))),
        "samples": targets.samples,
        "edges": _edges_per_day(run, batch),
    }
    return StepNumbers(values, norms)


def step(run: Learner, norm: Tensor) -> None:
    """Clip the gradients, whose norm is `norm`, and move weights and averages."""
    clip_grads_with_norm_(trainable(run.optimizer), run.config.optim.clip_norm, norm)
    run.optimizer.step()
    run.averages.after_step(run.model)


def _of_loss(pull: Pull, rules: LossRules) -> dict[str, Tensor]:
    return {
        "loss": weighted_sum(pull.terms, rules.weights),
        **{f"loss_{name}": term for name, term in pull.terms.items()},
        **{f"grad_norm_{name}": value for name, value in pull.norms.items()},
        **{f"grad_pull_{n}": factor * pull.norms[n] for n, factor in pull.factors.items()},
    }


def _gradient_norms(run: Learner) -> dict[str, Tensor]:
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    gradients = {names[p]: p.grad for p in trainable(run.optimizer) if p.grad is not None}
    return dict(zip(gradients, torch._foreach_norm(list(gradients.values())), strict=True))


def _edges_per_day(run: Learner, batch: Batch) -> Tensor:
    edges = batch.neighbours_SNK
    if "graph" not in run.model.active:
        return edges.new_zeros(())
    return (edges >= 0).sum().double() / len(edges)


def _means(steps: list[dict[str, float]]) -> dict[str, float]:
    sums = {name: sum(values[name] for values in steps) for name in steps[0]}
    means = {name: total / len(steps) for name, total in sums.items()}
    return means | {"optimizer_steps": float(len(steps)), "samples": sums["samples"]}
