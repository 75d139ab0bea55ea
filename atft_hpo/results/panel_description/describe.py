"""What a panel holds, and whether a feature knows the future.

    description = describe(panel, config.split)
    description.leaks; description.model_dump_json(); console.print(description_tables(description))

Only days of the train and validation ranges are read. The alarm is a screen, not a proof: honest
daily features on equities reach a mean RankIC of .04 at most, so more than .06 with |t| > 5 is a
leak until explained. Nor is silence a proof of innocence: weak leaks pass, such as a share of the
full-period maximum in a market that falls throughout, where the maximum lies in the past.

A second alarm needs no returns: a feature built from prices (`data.source = "ohlcv"`, or a table
of `panel features`) whose ranking of stocks changes when the latest splits and dividends are
withheld knows of them (`features.withheld_factors`). Of a table that came with its features this
cannot be told: a step in a feature at a later split looks like any other step, without the prices
as they were quoted on the day.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from atft_hpo.config.data_schema import SplitConfig
from atft_hpo.data.sampling.splits import Split, panel_split
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.suspicious.findings import SuspiciousPrices
from atft_hpo.errors import DataError
from atft_hpo.results.panel_description.feature_ic import daily_rank_ic, t_statistics

LEAK_RANK_IC = 0.06
LEAK_T = 5.0
LEAK_SHIFT = 1e-4
"""Of a percentile: a hundred times what rounding does. The last year's dividends alone move a
feature of adjusted prices by .005 to .01 on large US stocks."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class LabelStatistics(_Record):
    """Raw returns of one horizon over live cells of all days described."""

    horizon_days: int
    count: int
    coverage: float
    """Share of live cells that have the label."""
    mean: float
    std: float


class FeatureStatistics(_Record):
    """One feature against the labels; at the horizon where it is most significant."""

    name: str
    family: str
    missing_share: float
    horizon_days: int
    rank_ic: float
    """Mean daily Spearman correlation with the h-day return (see `PanelDescription.residual`)."""
    t: float
    """t-statistic of the mean (`evaluation.mean_error`)."""
    adjustment_shift: float | None
    """Mean |change of a stock's percentile| when the latest splits and dividends are withheld;
    None where they are not known."""

    @property
    def foretells(self) -> bool:
        """Whether its correlation with returns is beyond what is honest."""
        return abs(self.rank_ic) > LEAK_RANK_IC and abs(self.t) > LEAK_T

    @property
    def knows_adjustment(self) -> bool:
        """Whether later splits and dividends change how it ranks stocks."""
        return (self.adjustment_shift or 0.0) > LEAK_SHIFT

    @property
    def leak(self) -> bool:
        """Whether an alarm rings."""
        return self.foretells or self.knows_adjustment


class PanelDescription(_Record):
    """Counts, coverage, labels, features, alarms."""

    first_date: str
    last_date: str
    days: int
    days_described: int
    """Days of the train and validation ranges; nothing later was read."""
    stocks: int
    stocks_per_day: tuple[int, int, int]
    """Least, median, most."""
    coverage: float
    """Share of the (day, stock) cells that are alive."""
    sectors: int
    families: dict[str, int]
    """Features per family."""
    labels: tuple[LabelStatistics, ...]
    features: tuple[FeatureStatistics, ...]
    """Strongest |RankIC| first."""
    residual: bool
    """Synthetic market: correlations are with what the true one-day forecast leaves unexplained,
    where an honest feature, however strong, has none."""
    dropped_columns: dict[str, str]
    suspicious_prices: SuspiciousPrices | None
    """On all days of the table, later ones too: nothing is chosen by them. None without closes."""
    suspicious_labels: Literal["keep", "mask_label"]
    """What the panel was built to do with labels over untrusted returns."""
    adjustment: dict[str, Any] | None
    """How prices and volume were adjusted; None for a table that came with its features."""
    factors_withheld_since: str | None
    """First day whose splits and dividends were withheld for the second alarm; None: no test."""

    @property
    def leaks(self) -> list[FeatureStatistics]:
        """Features that look as if they knew the future."""
        return [feature for feature in self.features if feature.leak]


def describe(panel: Panel, split: SplitConfig | None = None) -> PanelDescription:
    """Describe `panel`, reading train and validation days of `split` (default split when None).

    Raises:
        DataError: the panel is too short for the split, or has none of its days.
    """
    manifest = panel.manifest
    days = _days(panel_split(panel, split or SplitConfig()))
    alive_DN = np.asarray(panel.alive[days])
    rank_ic_DFQ, residual = daily_rank_ic(panel, days)
    stocks_D = alive_DN.sum(axis=1)
    families: dict[str, int] = {}
    for spec in manifest.features:
        families[spec.family] = families.get(spec.family, 0) + 1
    return PanelDescription(
        first_date=manifest.dates[0],
        last_date=manifest.dates[-1],
        days=len(manifest.dates),
        days_described=len(days),
        stocks=len(manifest.codes),
        stocks_per_day=(int(stocks_D.min()), int(np.median(stocks_D)), int(stocks_D.max())),
        coverage=float(alive_DN.mean()),
        sectors=len(np.unique(panel.sector[np.asarray(panel.present)])),
        families=families,
        labels=tuple(_label(panel, days, alive_DN, q) for q in range(len(manifest.horizons_days))),
        features=_features(panel, rank_ic_DFQ),
        residual=residual,
        dropped_columns=manifest.report["dropped_columns"],
        suspicious_prices=manifest.report["suspicious_prices"],
        suspicious_labels=manifest.config["suspicious_prices"],
        adjustment=manifest.report["input"].get("adjustment"),
        factors_withheld_since=_withheld(panel).get("since"),
    )


def _withheld(panel: Panel) -> dict[str, Any]:
    """What `features.withheld_factors` found; empty where it could not look."""
    return panel.manifest.report["input"].get("withheld_factors") or {}


def _days(ranges: Split) -> NDArray[np.int64]:
    days = [*ranges.train, *ranges.validation]
    if not days:
        raise DataError(
            "the panel has no day of the train and validation ranges in split.dates; describe it "
            "without a configuration, or with one that has split shares"
        )
    return np.array(days)


def _label(
    panel: Panel, days: NDArray[np.int64], alive_DN: NDArray[np.bool_], q: int
) -> LabelStatistics:
    values = panel.targets[days, :, q][alive_DN]
    present = values[~np.isnan(values)].astype(np.float64)
    return LabelStatistics(
        horizon_days=panel.manifest.horizons_days[q],
        count=len(present),
        coverage=len(present) / max(len(values), 1),
        mean=float(present.mean()) if len(present) else 0.0,
        std=float(present.std()) if len(present) else 0.0,
    )


def _features(panel: Panel, rank_ic_DFQ: NDArray[np.float64]) -> tuple[FeatureStatistics, ...]:
    manifest = panel.manifest
    missing = manifest.report["missing_shares"]
    shifts: dict[str, float] | None = _withheld(panel).get("shifts")
    t_FQ = np.column_stack(
        [
            t_statistics(rank_ic_DFQ[..., q], manifest.horizons_days[q])
            for q in range(rank_ic_DFQ.shape[2])
        ]
    )
    kept = ~np.isnan(rank_ic_DFQ).all(axis=(1, 2))
    mean_FQ = rank_ic_DFQ[kept].mean(axis=0) if kept.any() else np.zeros(t_FQ.shape)
    alarm_FQ = (np.abs(mean_FQ) > LEAK_RANK_IC) & (np.abs(t_FQ) > LEAK_T)
    best_F = np.argmax(np.abs(t_FQ) + 1e6 * alarm_FQ, axis=1)
    rows = [
        FeatureStatistics(
            name=spec.name,
            family=spec.family,
            missing_share=missing.get(spec.name, 0.0),
            horizon_days=manifest.horizons_days[q],
            rank_ic=float(mean_FQ[f, q]),
            t=float(t_FQ[f, q]),
            adjustment_shift=None if shifts is None else shifts.get(spec.name, 0.0),
        )
        for f, (spec, q) in enumerate(zip(manifest.features, best_F, strict=True))
    ]
    return tuple(sorted(rows, key=lambda row: -abs(row.rank_ic)))
