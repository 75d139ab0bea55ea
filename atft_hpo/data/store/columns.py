"""What a feature column is, and whether it may enter the store."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig, PackConfig
from atft_hpo.data.store.column_statistics import ColumnStatistics
from atft_hpo.data.store.normalise import normalisation_of
from atft_hpo.data.store.panel import FeatureSpec
from atft_hpo.errors import DataError


def feature_spec(name: str, config: DataConfig) -> FeatureSpec:
    """Family (what stands before `__`) and normalisation of a column."""
    family, separator, _ = name.partition("__")
    family = family if separator else "other"
    kind = normalisation_of(family, config.return_like_families, config.rank_families)
    return FeatureSpec(name=name, family=family, normalisation=kind)


def check_columns(
    specs: tuple[FeatureSpec, ...],
    found: ColumnStatistics,
    live_rows: int,
    dates: NDArray[np.datetime64],
    config: PackConfig,
) -> dict[str, Any]:
    """What was found in the columns, for the manifest's report.

    Raises:
        DataError: a column is infinite somewhere, or useless, and `config` does not allow it.
    """
    infinite = {spec.name: int(n) for spec, n in zip(specs, found.infinite_F, strict=True) if n}
    if infinite and config.infinite_value == "error":
        f = int(np.argmax(found.infinite_F > 0))
        first = dates[found.infinite_since_F[f]]
        raise infinite_error(specs[f].name, int(found.infinite_F[f]), first)
    dropped = {}
    for f, spec in enumerate(specs):
        if reason := _useless(spec, f, found):
            dropped[spec.name] = reason
    if dropped and config.constant_column == "error":
        name, reason = next(iter(dropped.items()))
        more = f" (and {len(dropped) - 1} more column(s))" if len(dropped) > 1 else ""
        longer = "" if found.present_F.all() else f"give more than {len(dates)} days, "
        raise DataError(
            f"column {name!r} {reason}{more}; {longer}remove it, or set "
            'data.pack.constant_column = "drop" (another feature list than before)'
        )
    missing = 1 - found.present_F / max(live_rows, 1)
    shares = {s.name: round(float(m), 6) for s, m in zip(specs, missing, strict=True) if m > 0}
    return {"dropped_columns": dropped, "infinite_values": infinite, "missing_shares": shares}


def _useless(spec: FeatureSpec, f: int, found: ColumnStatistics) -> str | None:
    """Why nothing would be left of a column after normalisation, or None."""
    if not found.present_F[f]:
        return "is null in every live row"
    if found.low_F[f] == found.high_F[f]:
        return f"is constant ({found.low_F[f]:g} everywhere)"
    if spec.normalisation != "none" and not found.varies_F[f]:
        return "is the same for all stocks on every day (family 'calendar' keeps such a column)"
    return None


def infinite_error(column: str, count: int, first: np.datetime64) -> DataError:
    """The error for infinite values in a column."""
    return DataError(
        f"column {column!r} is infinite in {count} row(s), first on {first}; correct them, or set "
        'data.pack.infinite_value = "null"'
    )
