"""The phase table as a run walks through it: what comes next, when a phase is over.

    for phase in phases_of(config): ...
    phase_over(values_of_this_phase, phase, config.objective)
    longer = scaled_to(config, max_epochs=120)

All pure: where a run stands follows from the objective's values of its finished epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import ObjectiveConfig
from atft_hpo.config.toml import with_values
from atft_hpo.config.training_schema import PHASE_NAMES, PhaseConfig
from atft_hpo.errors import ConfigError
from atft_hpo.training.phases.objective import best_epoch


@dataclass(frozen=True)
class Phase:
    """One phase that has epochs."""

    number: int
    """Place in PHASE_NAMES, from 0, whether or not the phases before it have epochs."""
    name: str
    config: PhaseConfig


def phases_of(config: Config) -> tuple[Phase, ...]:
    """The phases with epochs, in order.

    Raises:
        ConfigError: a phase has no loss: all its weights, or all its horizon weights, are 0.
    """
    phases = tuple(Phase(PHASE_NAMES.index(n), n, phase) for n, phase in config.phases.in_order)
    for phase in phases:
        for key in ("weights", "horizon_weights"):
            values = getattr(phase.config, key)
            if not any(values if isinstance(values, tuple) else values.model_dump().values()):
                raise ConfigError(
                    f"phases.{phase.name}.{key} are all 0; give at least one a value above 0"
                )
    return phases


def phase_over(values: Sequence[float], phase: PhaseConfig, objective: ObjectiveConfig) -> bool:
    """Whether a phase with these epoch values is through: all epochs run, or patience used up."""
    if len(values) >= phase.epochs:
        return True
    best = best_epoch(values, phase.epochs, objective)
    if phase.patience == 0 or best is None:
        return False
    return len(values) - 1 - best >= phase.patience


def scaled_to(config: Config, max_epochs: int) -> Config:
    """The configuration with its phases' epochs scaled in proportion to `max_epochs` in total.

    Shares are rounded by largest remainder; every phase that has epochs keeps at least one.

    Raises:
        ConfigError: fewer epochs than phases.
    """
    phases = phases_of(config)
    if max_epochs < len(phases):
        raise ConfigError(
            f"--max-epochs {max_epochs}: {len(phases)} phases need at least that many"
        )
    total = sum(phase.config.epochs for phase in phases)
    shares = {phase.name: max_epochs * phase.config.epochs / total for phase in phases}
    epochs = {name: max(1, int(share)) for name, share in shares.items()}
    while (missing := max_epochs - sum(epochs.values())) != 0:
        step = 1 if missing > 0 else -1
        movable = [name for name in epochs if epochs[name] + step >= 1]
        chosen = max(movable, key=lambda name: step * (shares[name] - epochs[name]))
        epochs[chosen] += step
    return with_values(config, {f"phases.{name}.epochs": count for name, count in epochs.items()})
