"""What training tells the world after each epoch, and what the world may answer."""

import enum
from dataclasses import dataclass, field

from atft_hpo.evaluation.series import DailySeries

STEPS_PER_PHASE = 1000
"""Step = phase number × this + epoch: equal steps are equal phase and epoch in every trial."""


class Decision(enum.Enum):
    """The answer to an epoch report."""

    CONTINUE = "continue"
    PRUNE = "prune"
    INTERRUPT = "interrupt"
    """Stop now, to be continued later from the last checkpoint."""
    CANCEL = "cancel"
    """Stop for good: cancelled by a person, or the lease is lost."""


class Ending(enum.Enum):
    """How `run_phases` came back (errors are raised, not returned)."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch."""

    phase: int
    """Number of the phase in PHASE_NAMES, from 0."""
    phase_name: str
    epoch: int
    """Epoch within the phase, from 0."""
    epochs_done: int
    """Epochs finished so far, over all phases, this one included."""
    epochs_total: int
    """Epochs the run will take at most."""
    metrics: dict[str, float]
    """Validation metrics by name, see evaluation.metrics (`ic`, `rank_ic`, `sharpe`, …, of the
    objective's horizon; others as `ic_5d`, …)."""
    value: float
    """The objective's metric of this epoch, not smoothed."""
    smoothed: float
    """The objective, averaged over the last `objective.smoothing_epochs` epochs of the phase."""
    train: dict[str, float]
    """Training facts, means over steps: `loss`, `loss_<term>`, `grad_norm_<term>` (norm of the
    term's gradient on the forecasts), `grad_pull_<term>` (the same with weight and balance),
    `grad_norm` (on the weights), `lr`, `edges`, `optimizer_steps`, `samples`."""
    modules: tuple[str, ...]
    """Modules that were on."""
    seconds: float
    """Wall time of the epoch, validation included."""
    validation_seconds: float
    samples_per_second: float
    """Training samples (live stock-days with a loss) per second of training time."""
    eta_seconds: float
    """Expected time to the end of the run."""
    daily: DailySeries = field(repr=False)
    shared: bool = False
    """Trained by another run, and taken over from it (`training.state.reuse`)."""

    @property
    def step(self) -> int:
        """Global step number, comparable between trials."""
        return self.phase * STEPS_PER_PHASE + self.epoch


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to."""

    ending: Ending
    value: float | None
    """The objective of the last phase reached in full; None when no phase was."""
    best_step: int | None
    """Step of the best smoothed epoch in that phase (the weights in best_main.pt)."""
    metrics: dict[str, float]
    """Validation metrics at `best_step`."""
    epochs_done: int
    epochs_total: int
    seconds: float
    """Wall time over all attempts."""
    history: tuple[EpochReport, ...] = field(repr=False)
