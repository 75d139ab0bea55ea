"""Training in the schema: optimiser, losses, augmentations, and the table of phases."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from atft_hpo.config.section import Count, NonNegative, Positive, Section, Share

Module = Literal["fan", "san", "graph"]

PHASE_NAMES = ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")


class OptimConfig(Section):
    """AdamW, warm-up and cosine in each phase, averaging."""

    lr_scale: Positive = 1.0
    """Multiplies the rate of every phase."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay; none on biases, norms, strengths and lag kernels."""
    betas: tuple[Share, Share] = (0.9, 0.98)
    """Adam's β₁ and β₂."""
    strength_lr_factor: Positive = 10.0
    """Rate of strengths relative to the others (no weight decay)."""
    kernel_lr_factor: Positive = 10.0
    """Rate of lag kernels relative to the others (no weight decay)."""
    graph_lr_factor: Positive = 3.0
    """Rate of the graph network relative to the others: it starts when the trunk has learned."""
    clip_norm: Positive = 1.0
    """Global gradient norm is clipped to this."""
    warmup_share: Share = 0.1
    """Share of a phase's steps that warm up linearly; cosine after that."""
    final_lr_share: Share = 0.1
    """Where the cosine ends, as a share of the phase's rate."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay per step of averaged weights, which are evaluated in place of the weights; 0 = off."""
    swa_epochs: Annotated[int, Field(ge=0)] = 3
    """swa_main.pt averages the weights after the last so many epochs; 0 = off."""


class LossConfig(Section):
    """Settings of the loss terms; their weights are in the phase table."""

    balance: Literal["gradient", "none"] = "gradient"
    """`gradient`: a weight is the norm of the term's gradient on the forecasts, relative to the
    point term's; `none`: it multiplies the term's value."""

    label: Literal["rank", "pure"] = "rank"
    """What point forecast and quantiles learn. `rank`: the return's uniform rank of the day.
    `pure`: that of what sectors and styles leave of it, as in the metric pure_rank_ic."""
    half_life_days: Count | None = None
    """A sample counts half as much for every so many trading days before the end of the train
    range, for trees and net; all count the same when absent."""
    point: Literal["mse", "huber"] = "mse"
    """Loss of the point forecast on the label."""
    huber_delta: Positive = 1.0
    """Where Huber turns linear."""
    cost_bps: NonNegative = 5.0
    """Transaction cost inside the Sharpe loss, basis points of Σ|Δw|."""
    rank_temperature: Positive = 0.1
    """Temperature of the soft ranks in the rank-IC loss; exact ranks as it goes to 0."""


class LossWeights(Section):
    """Weights of the loss terms in one phase; how they count says `loss.balance`."""

    point: NonNegative = 1.0
    """Squared error or Huber."""
    pinball: NonNegative = 1.0
    """Quantile loss."""
    sharpe: NonNegative = 0.0
    """Negative annualised Sharpe of the slice, net of cost."""
    ic: NonNegative = 0.0
    """One minus the daily Pearson correlation."""
    rank_ic: NonNegative = 0.0
    """One minus the differentiable daily rank correlation."""
    turnover: NonNegative = 0.0
    """Mean Σ|Δw| of the slice's portfolio."""
    exposure: NonNegative = 0.0
    """Mean squared sector exposure of the portfolio."""


class AugmentConfig(Section):
    """Augmentations, used in phases with `augment = true`."""

    feature_noise: NonNegative = 0.05
    """Standard deviation of noise added to normalised features."""
    feature_masking: Share = 0.1
    """Share of features set to 0 for a whole step."""
    time_masking: Share = 0.05
    """Share of days whose features are set to 0."""
    stock_dropout: Share = 0.05
    """Share of stocks taken out of a step."""
    mixup: Share = 0.0
    """Share of stocks mixed with another stock of the same day."""
    edge_dropout: Share = 0.1
    """Share of graph edges taken out of a step."""


class PhaseConfig(Section):
    """One row of the phase table."""

    epochs: Annotated[int, Field(ge=0)]
    """Epochs (every sample once each); 0 skips the phase."""
    lr: Positive
    """Peak learning rate."""
    modules: tuple[Module, ...] = ()
    """Modules switched on, beside the temporal fusion transformer."""
    weights: LossWeights = LossWeights()
    """Loss weights."""
    horizon_weights: tuple[NonNegative, ...] = (1.0,)
    """Weight per horizon; missing ones are 0."""
    augment: bool = False
    """Whether augmentations are applied."""
    freeze: Literal["none", "selection", "encoder"] = "none"
    """`selection`: variable selection is frozen; `encoder`: that and the LSTM."""
    patience: Annotated[int, Field(ge=0)] = 0
    """End the phase after so many epochs without a better smoothed objective; 0 = never."""
    reload_best: bool = False
    """Start from the best weights of the phase before, not from its last."""


_FULL = (1.0, 0.8, 0.6, 0.4)


class PhasesConfig(Section):
    """The five phases, in order. Defaults: the seed system's table (42 + 2 epochs at most)."""

    baseline: PhaseConfig = PhaseConfig(epochs=5, lr=5e-4)
    adaptive_norm: PhaseConfig = PhaseConfig(
        epochs=10,
        lr=5e-4,
        modules=("fan", "san"),
        weights=LossWeights(sharpe=0.1),
        horizon_weights=(1.0, 0.45, 0.25, 0.10),
    )
    gat: PhaseConfig = PhaseConfig(
        epochs=8,
        lr=1e-4,
        modules=("fan", "san", "graph"),
        weights=LossWeights(sharpe=0.1, rank_ic=0.05),
        horizon_weights=_FULL,
    )
    fine_tuning: PhaseConfig = PhaseConfig(
        epochs=6,
        lr=5e-5,
        modules=("fan", "san", "graph"),
        weights=LossWeights(sharpe=0.15, rank_ic=0.05),
        horizon_weights=_FULL,
        freeze="selection",
    )
    augmentation: PhaseConfig = PhaseConfig(
        epochs=15,
        lr=5e-5,
        modules=("fan", "san", "graph"),
        weights=LossWeights(sharpe=0.2, rank_ic=0.05),
        horizon_weights=_FULL,
        augment=True,
        patience=5,
    )

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, values: Any) -> Any:
        """A phase given in part keeps the defaults of its other keys."""
        if not isinstance(values, Mapping):
            return values
        return {
            name: merged(default_phase(name).model_dump(mode="json"), value)
            if name in PHASE_NAMES
            else value
            for name, value in values.items()
        }

    @property
    def in_order(self) -> tuple[tuple[str, PhaseConfig], ...]:
        """(name, phase) of the phases that have epochs, in order."""
        rows = ((name, getattr(self, name)) for name in PHASE_NAMES)
        return tuple((name, phase) for name, phase in rows if phase.epochs > 0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.in_order:
            raise ValueError("phases: every phase has 0 epochs; give at least one phase epochs")
        return self


def default_phase(name: str) -> PhaseConfig:
    phase = PhasesConfig.model_fields[name].default
    assert isinstance(phase, PhaseConfig)
    return phase


def merged(base: Any, changes: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}
