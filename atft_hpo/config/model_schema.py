"""The model in the schema: network, normalisation modules, graph attention, trees before it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from atft_hpo.config.section import Count, NonNegative, Positive, Section, Share


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
    smoothing: Share = 0.0
    """Part of the neighbours' mean in a stock's forecast at the start; learned from there."""


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
