"""Forecasts of all models → one result, as it is written to JSON.

    result = compare(panel, folds, forecasts, horizons=(1, 5))
    result["horizons"]["1"]["models"]["full"]["rank_ic"]
    result["horizons"]["1"]["paired"]["own_trees"]["pure_rank_ic"]["t"]
    result["horizons"]["1"]["best_rival"]      # "lightgbm_plus"

The reference of the paired differences is the full model, or the first one where it is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from atft_hpo.data.store.panel import Panel
from bench.real.folds import Fold
from bench.real.jobs import Forecast
from bench.real.models.registry import MODELS
from bench.real.verdict.evaluation import Skill, Truth, measure, paired

MAX_CONTROL_ERRORS: Final = 3.0
WANTED_PURE_T: Final = 2.0
Result = dict[str, Any]


def compare(
    panel: Panel,
    folds: Sequence[Fold],
    forecasts: Mapping[str, Forecast],
    horizons: Sequence[int],
) -> Result:
    """Everything the tables show, for each horizon."""
    days = range(folds[0].days.start, folds[-1].days.stop)
    reference = "full" if "full" in forecasts else next(iter(forecasts))
    found: dict[str, Any] = {}
    for horizon in horizons:
        truth = Truth.of(panel, days, horizon)
        q = panel.manifest.horizons_days.index(horizon)
        skills = {name: measure(f.score_DNQ[..., q], truth) for name, f in forecasts.items()}
        found[str(horizon)] = _horizon(skills, truth, folds, reference)
    return {
        "reference": reference,
        "days": [str(panel.dates[days.start]), str(panel.dates[days.stop - 1]), len(days)],
        "folds": [_fold(fold, panel) for fold in folds],
        "horizons": found,
        "targets": targets(found, reference),
        "job_seconds": {name: forecast.seconds for name, forecast in forecasts.items()},
        "job_cpu_seconds": {name: forecast.cpu_seconds for name, forecast in forecasts.items()},
    }


def best_rival(skills: Mapping[str, Skill], reference: str) -> str | None:
    """The model with the largest pure RankIC but for the reference and the controls.

    It is chosen on the very days that it is compared on: luck in that choice is the rival's.
    """
    pure = {
        name: skill.summary["pure_rank_ic"]
        for name, skill in skills.items()
        if name != reference and not MODELS[name].control and "pure_rank_ic" in skill.summary
    }
    return max(pure, key=lambda name: pure[name], default=None)


def targets(horizons: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """What the full model is to reach against its best rival, and whether it does.

    Pure RankIC ahead with t above 2 at one day; raw RankIC nowhere behind by more than a standard
    error of the difference; controls within 3 standard errors of 0.
    """
    found: dict[str, Any] = {}
    for horizon, result in horizons.items():
        found[f"controls_within_3_se_{horizon}d"] = result["controls_within_3_se"]
        rival = result["paired"].get(result["best_rival"])
        if reference != "full" or rival is None:
            continue
        raw, pure = rival["rank_ic"], rival["pure_rank_ic"]
        held = raw["mean"] >= -raw["standard_error"] if raw else None
        found[f"raw_not_behind_best_rival_{horizon}d"] = held
        if horizon == "1":
            found["pure_ahead_of_best_rival_1d"] = pure["t"] > WANTED_PURE_T if pure else None
    return found


def controls_hold(skills: Mapping[str, Skill]) -> bool | None:
    """Whether no control's RankIC, raw or pure, is 3 standard errors from 0; None without one."""
    t = [
        skill.summary.get(f"{name}_t", 0.0)
        for model, skill in skills.items()
        if MODELS[model].control
        for name in ("rank_ic", "pure_rank_ic")
    ]
    return max(map(abs, t)) <= MAX_CONTROL_ERRORS if t else None


def _horizon(
    skills: Mapping[str, Skill], truth: Truth, folds: Sequence[Fold], reference: str
) -> Result:
    models = {
        name: {**skill.summary, "folds": _by_fold(skill, folds)} for name, skill in skills.items()
    }
    differences = {
        name: paired(skills[reference], skill, truth)
        for name, skill in skills.items()
        if name != reference
    }
    return {
        "models": models,
        "paired": differences,
        "best_rival": best_rival(skills, reference),
        "controls_within_3_se": controls_hold(skills),
        "styles": dict(
            zip(truth.exposures.names, truth.style_ic_DK.mean(axis=0).tolist(), strict=True)
        ),
    }


def _by_fold(skill: Skill, folds: Sequence[Fold]) -> list[dict[str, float | None]]:
    """Mean RankIC, raw and pure, of each fold's days."""
    first = folds[0].days.start
    rows = []
    for fold in folds:
        span = slice(fold.days.start - first, fold.days.stop - first)
        series = {"rank_ic": skill.rank_ic_D[span], "pure_rank_ic": skill.pure_D[span]}
        rows.append({name: _mean(values) for name, values in series.items()})
    return rows


def _mean(values: Any) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _fold(fold: Fold, panel: Panel) -> dict[str, Any]:
    def dates(days: range) -> list[str]:
        return [str(panel.dates[days.start]), str(panel.dates[days.stop - 1])]

    return {"train": dates(fold.train), "days": dates(fold.days)}
