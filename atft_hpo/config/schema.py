"""The one schema: data, model, phases, losses, optimiser, search, budgets.

A study file and an exported trial are both a `Config`; an exported trial has an empty search space
and a `provenance`. Every section is frozen and refuses unknown keys. The docstring under a field is
its meaning, unit and range (`atft-hpo study schema` prints them).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from atft_hpo.config.data_schema import DataConfig, GraphConfig, SliceConfig, SplitConfig
from atft_hpo.config.model_schema import ModelConfig
from atft_hpo.config.search_schema import BudgetConfig, ObjectiveConfig, SearchConfig, StudyInfo
from atft_hpo.config.section import Count, NonNegative, Positive, Section
from atft_hpo.config.training_schema import (
    PHASE_NAMES,
    AugmentConfig,
    LossConfig,
    OptimConfig,
    PhasesConfig,
    default_phase,
    merged,
)


class PortfolioConfig(Section):
    """The portfolio that evaluation turns scores into."""

    sizing: Literal["zscore", "decile", "inverse_volatility", "uncertainty"] = "zscore"
    """`uncertainty` divides by the forecast's quantile width."""
    clip: Positive = 3.0
    """Cross-sectional z-scores are clipped to ± this."""
    cost_bps: NonNegative = 10.0
    """Transaction cost of the evaluation, basis points of Σ|Δw|."""
    delisting_return: Annotated[float, Field(ge=-1.0)] = 0.0
    """What a position earns when its stock's rows end before the panel's, on the day after the last
    row; it is cash from then on. −0.3 is common in the literature (Shumway 1997) where delistings
    are for performance; 0 suits mergers, and stocks that merely leave the table."""


class RuntimeConfig(Section):
    """How a run computes. Part of an exported configuration, since it shapes the bits."""

    precision: Literal["bf16", "float32"] = "bf16"
    """bf16 autocast or plain float32; FFT, losses and metrics are always float32. A CPU without
    instructions for bf16 is faster in float32, and a training there says so."""
    threads: Count | None = None
    """CPU threads of a trial; when absent, a short measurement divides the cores among trials."""
    chunk_tokens: Count | None = None
    """Stock-days, context included, that a training step computes at a time. It keeps what it needs
    of eight times as many (on a GPU with its own choice, twice); more are computed a second time
    for the gradient. When absent: 8,192 on a CPU; on a GPU so many that what is kept takes a
    quarter of its memory at most. Bounds memory; only the draws of dropout depend on it."""
    triton: bool = True
    """On a GPU: Triton's kernels, where a comparison when a training begins finds them equal to
    torch's operations and faster. False: torch's operations, and no comparison."""
    compile: bool = False
    """Compile parts of the model with torch.compile: minutes in each trial, on two cores more than
    four. Needs a C++ compiler, on a GPU Triton. `python -m bench.gpu stages` says whether
    it pays."""


class Provenance(Section):
    """Where an exported configuration comes from."""

    study: str
    """The study."""
    trial: Annotated[int, Field(ge=0)]
    """The trial's number."""
    value: float | None = None
    """The trial's objective."""
    panel: str
    """Fingerprint of the panel store."""
    features_sha256: str
    """Hash of the feature list."""
    checkpoint_sha256: str | None = None
    """Hash of best_main.pt."""
    version: str
    """Version of atft_hpo."""


class Config(Section):
    """Everything a run or a study needs."""

    study: StudyInfo = StudyInfo()
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    graph: GraphConfig = GraphConfig()
    slices: SliceConfig = SliceConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    phases: PhasesConfig = PhasesConfig()
    portfolio: PortfolioConfig = PortfolioConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    search: SearchConfig = SearchConfig()
    budget: BudgetConfig = BudgetConfig()
    provenance: Provenance | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of initialisation, shuffling, dropout and augmentation."""

    @model_validator(mode="before")
    @classmethod
    def _shorten_default_weights(cls, values: Any) -> Any:
        """With fewer horizons than the default, a phase's default horizon weights are cut."""
        data = values.get("data") if isinstance(values, Mapping) else None
        horizons = data.get("horizons_days") if isinstance(data, Mapping) else None
        phases = values.get("phases", {}) if isinstance(values, Mapping) else None
        if not isinstance(horizons, list | tuple) or not isinstance(phases, Mapping):
            return values
        cut = {
            name: {"horizon_weights": default_phase(name).horizon_weights[: len(horizons)]}
            for name in PHASE_NAMES
        }
        return {**values, "phases": merged(cut, phases)}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.slices.context_days < self.model.lookback_days:
            raise ValueError(
                f"slices.context_days is {self.slices.context_days}; it must be at least "
                f"model.lookback_days = {self.model.lookback_days}"
            )
        if self.objective.horizon_days not in self.data.horizons_days:
            raise ValueError(
                f"objective.horizon_days is {self.objective.horizon_days}; expected one of "
                f"data.horizons_days = {list(self.data.horizons_days)}"
            )
        reach = self.data.horizons_days[-1] + self.data.delay_days
        if self.split.dates and self.split.dates.purge_days < reach:
            raise ValueError(
                f"data.horizons_days and data.delay_days reach {reach} days ahead, the gaps of "
                f"split.dates were left for {self.split.dates.purge_days}; leave out [split.dates] "
                "to have the ranges found anew"
            )
        for name, phase in self.phases.in_order:
            if len(phase.horizon_weights) > len(self.data.horizons_days):
                raise ValueError(
                    f"phases.{name}.horizon_weights has {len(phase.horizon_weights)} values for "
                    f"{len(self.data.horizons_days)} horizons in data.horizons_days"
                )
        return self
