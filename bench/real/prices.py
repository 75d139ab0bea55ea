"""A file of daily prices → the data configuration of its panel.

    config = data_config(Path("prices.parquet"), study.data, horizons=(1, 5), features=96)

The universe column is the one boolean column of the file, unless it is named.
"""

from pathlib import Path

import pyarrow as pa

from atft_hpo.config.data_schema import DataConfig, FeaturesConfig
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import nearest, with_values
from atft_hpo.data.ingest.price_rows import price_sources
from atft_hpo.errors import ConfigError


def data_config(
    prices: Path,
    study: DataConfig,
    horizons: tuple[int, ...],
    features: int | None,
    universe: str | None = None,
) -> DataConfig:
    """The study's data configuration for `prices`: its features, the benchmark's horizons.

    A feature that is constant on these prices is left out, for every model, rather than an error.
    The panel always has the one-day horizon too: portfolios are marked to market with it.

    Raises:
        ConfigError: a horizon below 1, or `universe` is no boolean column.
        DataError: no table of daily prices there.
    """
    if not horizons or min(horizons) < 1:
        raise ConfigError(f"--horizons {list(horizons)}: expected trading days of 1 or more")
    columns = _columns(prices, study)
    changed = {
        "source": "ohlcv",
        "path": str(prices.absolute()),
        "horizons_days": sorted({1, *horizons}),
        "delay_days": 1,
        "pack": {**study.pack.model_dump(mode="json"), "constant_column": "drop"},
        "features": {
            **study.features.model_dump(mode="json", exclude_none=True),
            "universe_column": universe_column(columns, universe, prices),
            "limit": features,
        },
    }
    tree = {**study.model_dump(mode="json", exclude_none=True), **changed}
    return DataConfig.model_validate(tree)


def universe_column(columns: dict[str, pa.DataType], given: str | None, prices: Path) -> str | None:
    """The boolean column that says who is in the universe; None where there is none.

    Raises:
        ConfigError: the given one is absent or not boolean, or several could be meant.
    """
    booleans = [name for name, kind in columns.items() if pa.types.is_boolean(kind)]
    if given is not None:
        if given not in booleans:
            raise ConfigError(
                f"{prices}: no boolean column {given!r}; "
                + (nearest(given, booleans, "boolean columns") if booleans else "it has none")
            )
        return given
    if len(booleans) > 1:
        raise ConfigError(
            f"{prices}: boolean columns {', '.join(booleans)}; say which one is the universe "
            "with --universe COLUMN"
        )
    return booleans[0] if booleans else None


def for_panel(study: Config, data: DataConfig) -> Config:
    """The study's configuration with the benchmark's data.

    Weights of horizons follow their horizon; one the study does not know gets the weight of the
    study's next longer one (or its longest). Nothing may be chosen on the days that are forecast:
    no patience, no best weights.
    """
    changes: dict[str, object] = {
        "data": data.model_dump(mode="json", exclude_none=True),
        "objective.horizon_days": data.horizons_days[0],
    }
    known = study.data.horizons_days
    for name, phase in study.phases.in_order:
        weights = (*phase.horizon_weights, *(0.0,) * len(known))[: len(known)]
        places = [
            min((i for i, k in enumerate(known) if k >= h), default=len(known) - 1)
            for h in data.horizons_days
        ]
        changes[f"phases.{name}.horizon_weights"] = [weights[i] for i in places]
        changes[f"phases.{name}.patience"] = 0
        changes[f"phases.{name}.reload_best"] = False
    for name in ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation"):
        changes.setdefault(f"phases.{name}.horizon_weights", [1.0])
    return with_values(study, changes)


def _columns(prices: Path, study: DataConfig) -> dict[str, pa.DataType]:
    """Columns of the first file of a table that has what daily prices need."""
    without = study.model_copy(update={"features": FeaturesConfig()})
    schema = price_sources(prices, without)[0].schema
    return {field.name: field.type for field in schema}
