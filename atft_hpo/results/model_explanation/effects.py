"""What the forecast loses without a part of the model, and with a feature shuffled.

    frame = effects_frame(model, source, panel, days, config, [Effect("feature", name, [3]), …])

Every row is one more forecast of all the days. `change` is 1 − the correlation, across stocks, of
the forecast with and without, averaged over days; it needs no labels. `rank_ic_lost` is the paired
daily difference of RankICs, null where no day has labels. Both are of the objective's horizon.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.evaluation.mean_error import t_of_mean
from atft_hpo.evaluation.yardsticks import Yardsticks
from atft_hpo.model.atft import ATFT
from atft_hpo.model.inspection.intervention import parts, shuffled, switched_off
from atft_hpo.training.forecasting.forecast import ForecastTable, evaluate_table, forecast_panel

Floats = NDArray[np.float64]
SEED = 0
"""Of the shuffles: the same call gives the same numbers."""


@dataclass(frozen=True)
class Effect:
    """One intervention."""

    kind: Literal["module", "family", "feature"]
    name: str
    columns: tuple[int, ...] = ()
    """Feature columns to shuffle together; none for a module, which is switched off."""

    def on(self, model: ATFT) -> AbstractContextManager[None]:
        """The intervention, while the context lasts."""
        if self.kind == "module":
            return switched_off(model, self.name)
        return shuffled(model, self.columns, SEED)


def module_effects(model: ATFT) -> list[Effect]:
    """One for each part that can be switched off."""
    return [Effect("module", part) for part in parts(model)]


def shuffle_effects(selection: pl.DataFrame, panel: Panel, count: int) -> list[Effect]:
    """The `count` features of largest weight each, and every family as a whole; none for 0.

    A feature's weight is the larger of those that variable selection and the trees give it.
    """
    if not count:
        return []
    names, specs = panel.feature_names, panel.manifest.features
    weight = pl.max_horizontal("weight", "trees")
    top = selection.sort(weight, descending=True, maintain_order=True)["feature"].head(count)
    families = dict.fromkeys(spec.family for spec in specs)
    return [
        *(
            Effect("family", name, tuple(i for i, s in enumerate(specs) if s.family == name))
            for name in families
        ),
        *(Effect("feature", name, (names.index(name),)) for name in top),
    ]


def effects_frame(
    model: ATFT,
    source: SliceSource,
    panel: Panel,
    days: range,
    config: Config,
    effects: Iterable[Effect],
) -> pl.DataFrame:
    """One row per effect, within each kind the largest change first."""

    yardsticks = Yardsticks.of(panel, days, config.portfolio)

    def forecast() -> tuple[ForecastTable, Floats]:
        table = forecast_panel(model, source, days, config)
        daily = evaluate_table(table, panel, days, config, yardsticks).daily
        return table, daily.rank_ic.astype(np.float64)

    horizon = config.objective.horizon_days
    place = config.data.horizons_days.index(horizon)

    def rows() -> Iterator[tuple[object, ...]]:
        whole, whole_ic_D = forecast()
        for effect in effects:
            with effect.on(model):
                table, ic_D = forecast()
            change_D = forecast_change(whole.score_DNQ[..., place], table.score_DNQ[..., place])
            lost = _paired(whole_ic_D, ic_D, horizon)
            yield (effect.kind, effect.name, horizon, *_mean(change_D), *lost)

    frame = pl.DataFrame(list(rows()), schema=_SCHEMA, orient="row")
    kinds = pl.Enum(["module", "family", "feature"])
    return frame.with_columns(pl.col("kind").cast(kinds)).sort(
        "kind", "change", descending=[False, True], nulls_last=True, maintain_order=True
    )


_SCHEMA = {
    "kind": pl.String, "name": pl.String, "horizon_days": pl.Int64, "change": pl.Float64,
    "days": pl.Int64, "rank_ic": pl.Float64, "rank_ic_without": pl.Float64,
    "rank_ic_lost": pl.Float64, "rank_ic_lost_t": pl.Float64,
}  # fmt: skip


def forecast_change(one_DN: NDArray[np.floating], other_DN: NDArray[np.floating]) -> Floats:
    """[D] 1 − Pearson correlation across stocks; NaN where a forecast is constant.

    As half the squared distance of the standardised forecasts, which is the same number but
    exactly 0 for equal ones.
    """
    distance_DN = _standard(one_DN) - _standard(other_DN)
    return np.asarray(0.5 * (distance_DN**2).sum(axis=1))


def _standard(score_DN: NDArray[np.floating]) -> Floats:
    """Centred, of length 1 per day, 0 where there is no forecast; NaN on constant days."""
    known_DN = np.isfinite(score_DN)
    exact_DN = np.where(known_DN, score_DN.astype(np.float64), 0.0)
    count_D1 = np.maximum(known_DN.sum(axis=1, keepdims=True), 1)
    mean_D1 = exact_DN.sum(axis=1, keepdims=True) / count_D1
    centred_DN = np.where(known_DN, exact_DN - mean_D1, 0.0)
    length_D1 = np.linalg.norm(centred_DN, axis=1, keepdims=True)
    tiny_D1 = 1e-12 * np.abs(exact_DN).max(axis=1, keepdims=True, initial=0.0)
    usable_D1 = length_D1 > tiny_D1
    return np.where(usable_D1, centred_DN / np.where(usable_D1, length_D1, 1.0), np.nan)


def _mean(value_D: Floats) -> tuple[float | None, int]:
    """Mean over the days that have one, and how many those are."""
    known = value_D[np.isfinite(value_D)]
    return (float(known.mean()), len(known)) if len(known) else (None, 0)


def _paired(whole_D: Floats, without_D: Floats, overlap_days: int) -> Sequence[float | None]:
    """Mean RankIC with and without, their difference, and its t."""
    both_D = np.isfinite(whole_D) & np.isfinite(without_D)
    if not both_D.any():
        return None, None, None, None
    lost_D = whole_D[both_D] - without_D[both_D]
    t = t_of_mean(lost_D, overlap_days)
    means = (float(part[both_D].mean()) for part in (whole_D, without_D))
    return *means, float(lost_D.mean()), t if math.isfinite(t) else None
