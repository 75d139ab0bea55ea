"""The one schema: data, model, phases, losses, optimiser, search, budgets.

A study file and an exported trial are both a `Config`; an exported trial has an empty search space
and a `provenance`. Every section is frozen and refuses unknown keys. The docstring under a field is
its meaning, unit and range (`atft-hpo study schema` prints them).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from atft_hpo.config.search_schema import (
    BudgetConfig,
    ObjectiveConfig,
    SearchConfig,
    Section,
    StudyInfo,
)

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
Module = Literal["fan", "san", "graph"]
PHASE_NAMES = ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")


class SyntheticConfig(Section):
    """A seeded synthetic market with known truth (`data.source = "synthetic"`)."""

    days: Annotated[int, Field(ge=120)] = 420
    """Trading days."""
    stocks: Annotated[int, Field(ge=20)] = 60
    """Stocks, delisted ones included."""
    noise_features: Annotated[int, Field(ge=0)] = 8
    """Features that carry no signal."""
    oracle_ic: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.4
    """Mean daily IC of the true forecast with the one-day label."""
    missing_share: Share = 0.01
    """Share of feature cells that are missing."""
    delisted_share: Share = 0.05
    """Share of stocks that leave before the end."""
    seed: int = 0
    """Seed of everything drawn."""


class FeaturesConfig(Section):
    """Feature families built from daily OHLCV (`data.source = "ohlcv"`)."""

    families: tuple[str, ...] = (
        "returns", "momentum", "volatility", "range", "liquidity", "reversal",
        "relative", "beta", "ranks", "calendar",
    )  # fmt: skip
    """Families to build, see docs/features.md."""
    windows_days: tuple[Count, ...] = (1, 2, 3, 5, 10, 20, 40, 60, 120)
    """Trailing windows; every family uses those that make sense for it."""
    limit: Count | None = None
    """Keep the first so many features in the documented order; all when absent."""
    universe_column: str | None = None
    """Boolean column that says whether a row belongs to the universe that day."""


class PackConfig(Section):
    """How the panel store is written."""

    dtype: Literal["float16", "bfloat16"] = "float16"
    """Storage type of features; float16 keeps three more bits for values clipped to ±`clip`."""
    clip: Positive = 8.0
    """Normalised values are clipped to ± this."""
    constant_column: Literal["error", "drop"] = "error"
    """What to do with a constant or all-null feature column."""
    infinite_value: Literal["error", "null"] = "error"
    """What to do with infinite feature values."""
    min_stocks_per_day: Count = 20
    """Days with fewer stocks alive are an error."""


class DataConfig(Section):
    """Where the panel comes from, and its labels. A change here means another panel store."""

    source: Literal["synthetic", "ohlcv", "features"] = "synthetic"
    """`ohlcv`: daily prices, features are built. `features`: a table that already has them."""
    path: str | None = None
    """The Parquet file or directory; `--data` overrides it."""
    horizons_days: tuple[Count, ...] = (1, 5, 10, 20)
    """Forecast horizons in trading days, ascending; must begin with 1 (the portfolio needs it)."""
    delay_days: Annotated[int, Field(ge=0)] = 1
    """Trading delay δ: the label is close[d+δ+h] / close[d+δ] − 1."""
    return_like_families: tuple[str, ...] = ("returns", "cycle")
    """Families divided by the day's cross-sectional scale only, and decomposed by FAN and SAN."""
    rank_families: tuple[str, ...] = ("ranks",)
    """Families mapped to normal scores per day (rank-gauss); all others: robust z, winsorised."""
    synthetic: SyntheticConfig = SyntheticConfig()
    features: FeaturesConfig = FeaturesConfig()
    pack: PackConfig = PackConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        horizons = self.horizons_days
        if not horizons or horizons[0] != 1 or sorted(set(horizons)) != list(horizons):
            raise ValueError(
                f"data.horizons_days is {list(horizons)}; expected ascending days beginning with 1"
            )
        return self


class SplitConfig(Section):
    """Date splits, for all stocks at once: train | purge | validation | purge | test."""

    train_share: Share = 0.6
    """Share of the days."""
    validation_share: Share = 0.2
    """Share of the days; the rest is the test range, which a search never reads."""
    embargo_days: Annotated[int, Field(ge=0)] = 5
    """Extra days left out after the purge (max horizon + delay)."""
    scheme: Literal["single", "expanding", "rolling"] = "single"
    """`expanding` and `rolling`: walk-forward folds before the test range."""
    folds: Count = 1
    """Number of walk-forward folds."""
    fold: Annotated[int, Field(ge=0)] = 0
    """The fold this run uses, from 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.train_share + self.validation_share >= 1.0:
            raise ValueError("split.train_share + split.validation_share must stay below 1")
        if self.fold >= self.folds:
            raise ValueError(f"split.fold is {self.fold}, but split.folds is {self.folds}")
        return self


class GraphConfig(Section):
    """Which stocks are neighbours: strongest trailing return correlations, from the past only."""

    window_days: Annotated[int, Field(ge=10)] = 60
    """Trailing window of daily returns."""
    neighbours: Count = 10
    """K: neighbours per stock."""
    min_correlation: Share = 0.2
    """Threshold on |ρ| after shrinkage."""
    shrinkage: Share = 0.1
    """ρ is multiplied by 1 − shrinkage."""
    refresh_days: Count = 20
    """R: the graph is rebuilt every R days."""


class SliceConfig(Section):
    """A training step takes `days` contiguous days of `stocks` stocks, with context before them."""

    days: Count = 40
    """Days with a loss per slice."""
    context_days: Count = 40
    """Days of history before them; must be at least model.lookback_days."""
    stocks: Count | None = None
    """Stocks per slice, drawn as whole sectors where possible; all when absent."""


class FanConfig(Section):
    """Frequency adaptive normalisation (Ye et al., NeurIPS 2024), causal."""

    kind: Literal["dft", "lsq"] = "dft"
    """`lsq`: least-squares sinusoids of any frequency, `dft`: the bins of the lookback."""
    k: Annotated[int, Field(ge=0)] = 2
    """Frequencies in the main component; 0 bypasses it exactly."""


class SanConfig(Section):
    """Slice adaptive normalisation (Liu et al., NeurIPS 2023), causal."""

    slice_days: Annotated[int, Field(ge=2)] = 5
    """Days per slice of the lookback."""
    spans: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 4)
    """Statistics are taken over so many of the most recent slices together, one group each; a
    span longer than the lookback is cut to it."""


class GatConfig(Section):
    """Graph attention (GATv2 with edge attributes) over the neighbours of a day."""

    heads: Annotated[tuple[Count, ...], Field(min_length=1)] = (4, 2)
    """Attention heads per layer; the length is the number of layers."""


class TreesConfig(Section):
    """Gradient-boosted trees (LightGBM) that forecast first and that the net corrects."""

    rounds: Annotated[int, Field(ge=0)] = 0
    """Boosting rounds at most; as many are used as forecast the days left out of a block's fit
    best. 0: the net forecasts alone."""
    bags: Count = 4
    """Boosters per horizon, of different seeds, whose mean is the forecast; every second one draws
    the thresholds of its trees at random instead of searching for the best."""
    learning_rate: Positive = 0.05
    """Shrinkage of each tree."""
    leaves: Annotated[int, Field(ge=2)] = 31
    """Leaves per tree at most."""
    min_leaf_samples: Count = 1000
    """Samples per leaf at least; cut to .5 % of all samples on a small panel."""
    l2: NonNegative = 10.0
    """Penalty on leaf values."""
    feature_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of the features that each tree may use."""
    sample_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of the samples that each tree sees."""
    blocks: Annotated[int, Field(ge=2)] = 3
    """Parts of the train range; the net learns beside boosters that have not seen the part."""


class ModelConfig(Section):
    """ATFT-GAT-FAN."""

    hidden: Annotated[int, Field(ge=4)] = 64
    """H; divisible by every number of heads."""
    lookback_days: Annotated[int, Field(ge=4)] = 20
    """L: band of the attention, window of FAN and SAN."""
    lstm_layers: Count = 1
    """Layers of the LSTM."""
    attention_heads: Count = 4
    """A: heads of the temporal attention."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Dropout in gated residual networks, attention and graph attention."""
    quantiles: Annotated[
        tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...], Field(min_length=1)
    ] = (0.05, 0.25, 0.5, 0.75, 0.95)
    """Quantile levels, ascending."""
    fan: FanConfig = FanConfig()
    san: SanConfig = SanConfig()
    gat: GatConfig = GatConfig()
    trees: TreesConfig = TreesConfig()
    without: tuple[Literal["lstm", "attention", "static"], ...] = ()
    """Parts of the trunk left out, for ablations; FAN, SAN and graph are left out by phase."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        widths = [("attention_heads", self.attention_heads)]
        widths += [("gat.heads", heads) for heads in self.gat.heads]
        for name, heads in widths:
            if self.hidden % heads:
                raise ValueError(
                    f"model.hidden is {self.hidden}; it must be divisible by model.{name} = {heads}"
                )
        if sorted(set(self.quantiles)) != list(self.quantiles):
            raise ValueError(
                f"model.quantiles is {list(self.quantiles)}; expected ascending levels"
            )
        if self.fan.k >= self.lookback_days // 2 + 1:
            raise ValueError(
                f"model.fan.k is {self.fan.k}; it must stay below lookback_days / 2 + 1 "
                f"= {self.lookback_days // 2 + 1}"
            )
        if self.san.slice_days > self.lookback_days:
            raise ValueError(
                f"model.san.slice_days is {self.san.slice_days}; it must be at most "
                f"model.lookback_days = {self.lookback_days}"
            )
        return self

    @property
    def san_windows_days(self) -> tuple[int, ...]:
        """Days of each group of SAN channels."""
        days = (self.san.slice_days * span for span in self.san.spans)
        return tuple(min(self.lookback_days, window) for window in days)


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


def _merged(base: Any, changes: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    return {**base, **{key: _merged(base.get(key), value) for key, value in changes.items()}}


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
            name: _merged(_default_phase(name).model_dump(mode="json"), value)
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


class PortfolioConfig(Section):
    """The portfolio that evaluation turns scores into."""

    sizing: Literal["zscore", "decile", "inverse_volatility", "uncertainty"] = "zscore"
    """`uncertainty` divides by the forecast's quantile width."""
    clip: Positive = 3.0
    """Cross-sectional z-scores are clipped to ± this."""
    cost_bps: NonNegative = 10.0
    """Transaction cost of the evaluation, basis points of Σ|Δw|."""


class RuntimeConfig(Section):
    """How a run computes. Part of an exported configuration, since it shapes the bits."""

    precision: Literal["bf16", "float32"] = "bf16"
    """bf16 autocast or plain float32; FFT, losses and metrics are always float32."""
    threads: Count | None = None
    """CPU threads of a trial; when absent, a short measurement divides the cores among trials."""
    chunk_tokens: Count | None = None
    """Stock-days, context included, that a training step computes at a time. It keeps what it needs
    of eight times as many (on a GPU with its own choice, twice); more are computed a second time
    for the gradient. When absent: 8,192 on a CPU; on a GPU so many that what is kept takes a
    quarter of its memory at most. Bounds memory; only the draws of dropout depend on it."""
    compile: bool = False
    """Compile parts of the model with torch.compile: minutes in each trial, on two cores more than
    four. Needs a C++ compiler, on a GPU Triton. `bench/gpu.py stages` says whether it pays."""


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


def _default_phase(name: str) -> PhaseConfig:
    phase = PhasesConfig.model_fields[name].default
    assert isinstance(phase, PhaseConfig)
    return phase


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
            name: {"horizon_weights": _default_phase(name).horizon_weights[: len(horizons)]}
            for name in PHASE_NAMES
        }
        return {**values, "phases": _merged(cut, phases)}

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
        for name, phase in self.phases.in_order:
            if len(phase.horizon_weights) > len(self.data.horizons_days):
                raise ValueError(
                    f"phases.{name}.horizon_weights has {len(phase.horizon_weights)} values for "
                    f"{len(self.data.horizons_days)} horizons in data.horizons_days"
                )
        return self
