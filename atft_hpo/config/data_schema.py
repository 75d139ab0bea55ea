"""The data half of the schema: panel, labels, splits, graph, slices."""

from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from atft_hpo.config.section import Count, Positive, Section, Share

ColumnMeaning = Literal[
    "date", "code", "open", "high", "low", "close", "volume", "adj_close", "adj_open", "adj_high",
    "adj_low", "adj_volume", "traded_value", "split_factor", "sector", "alive",
    "tradable", "return_1d",
]  # fmt: skip
"""What a column of an input table may be; its spellings are in `data/ingest/column_names.py`."""
_DATE_FORMATS = {
    "month_first", "day_first", "year_first", "unix_s", "unix_ms", "unix_us", "unix_ns",
}  # fmt: skip
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
    """A file or a directory of Parquet, CSV or Feather/Arrow; `--data` overrides it."""
    columns: dict[ColumnMeaning, str] = Field(default_factory=dict)
    """Meaning → column, where the input's spelling is not known or two could be meant; "": none."""
    date_format: str | None = None
    """How dates in texts and numbers are written, where they do not tell: `month_first`,
    `day_first`, `year_first`, `unix_s` (`_ms`, `_us`, `_ns`), or a strptime format (%d.%m.%Y)."""
    max_repaired_share: Share = 0.05
    """Share of rows that may be mended or left out for one reason; more is an error."""
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
    suspicious_prices: Literal["keep", "mask_label"] = "keep"
    """`mask_label`: labels and daily returns over a bad print or an unadjusted split are missing.
    `panel describe` lists them, and other suspicious prices, either way."""
    synthetic: SyntheticConfig = SyntheticConfig()
    features: FeaturesConfig = FeaturesConfig()
    pack: PackConfig = PackConfig()

    @property
    def said_columns(self) -> dict[str, str]:
        """`columns`, by any name."""
        return {str(meaning): column for meaning, column in self.columns.items()}

    @model_validator(mode="after")
    def _check(self) -> Self:
        horizons = self.horizons_days
        if not horizons or horizons[0] != 1 or sorted(set(horizons)) != list(horizons):
            raise ValueError(
                f"data.horizons_days is {list(horizons)}; expected ascending days beginning with 1"
            )
        form = self.date_format
        if form is not None and form not in _DATE_FORMATS and "%" not in form:
            raise ValueError(
                f"data.date_format is {form!r}; expected {', '.join(sorted(_DATE_FORMATS))} or a "
                "strptime format such as %d.%m.%Y"
            )
        return self


class SplitDates(Section):
    """A split as it was found for the data that a study or a training began with."""

    train_first: date
    """First day trained on."""
    train_last: date
    """Last day trained on."""
    validation_first: date
    """First day of the range that epochs and trials are chosen by."""
    validation_last: date
    """Last day of that range."""
    test_first: date
    """First day of the range that a search never reads."""
    test_last: date
    """Last day of that range, and of the data: what comes after it is live."""
    purge_days: Annotated[int, Field(ge=0)]
    """Trading days left out before validation and before test for the longest label (max horizon +
    delay)."""
    embargo_days: Annotated[int, Field(ge=0)]
    """Trading days left out besides."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        days = {name: day for name, day in self if isinstance(day, date)}
        for (first, one), (second, other) in pairwise(days.items()):
            if one > other or (one == other and first.endswith("_last")):
                raise ValueError(
                    f"split.dates.{second} is {other}, {first} is {one}; expected ascending dates, "
                    "ranges apart"
                )
        return self


class SplitConfig(Section):
    """Date splits, for all stocks at once: train | purge | validation | purge | test.

    Shares of the days, until a study or a training begins; from then on `split.dates`, and nothing
    else.
    """

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
    dates: SplitDates | None = None
    """In place of all the other keys: the dates that these came to on the data of a study or
    training, so that longer data later do not move them."""

    @model_validator(mode="before")
    @classmethod
    def _one_or_the_other(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("dates") is not None:
            besides = [f"split.{key}" for key in values if key != "dates"]
            if besides:
                raise ValueError(
                    f"split.dates says which days are which; leave out {', '.join(besides)}, or "
                    "[split.dates] to have the ranges found anew"
                )
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.train_share + self.validation_share >= 1.0:
            raise ValueError("split.train_share + split.validation_share must stay below 1")
        if self.fold >= self.folds:
            raise ValueError(f"split.fold is {self.fold}, but split.folds is {self.folds}")
        return self

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Dates, or what they are to be found from: never both."""
        written: dict[str, Any] = write(self)
        return written if self.dates is None else {"dates": written["dates"]}


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
