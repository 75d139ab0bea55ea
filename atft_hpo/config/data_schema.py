"""The data half of the schema: panel, labels, splits, graph, slices."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from atft_hpo.config.section import Count, Positive, Section, Share

VolumeAdjustment = Literal["auto", "none", "split"]
"""See `DataConfig.volume_adjustment`."""


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
    volume_adjustment: VolumeAdjustment = "auto"
    """In which shares the prices' column `volume` counts. `none`: those of the day, as traded: a
    2:1 split doubles it. `split`: those after all the table's splits (dividends do not matter).
    `auto`: as the column `close` does (raw with raw, adjusted with adjusted), unless the volumes
    around the table's splits say otherwise. Used where an adjusted close or a column of splits
    tells of splits; what was found is printed, and kept in the panel's manifest."""
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
