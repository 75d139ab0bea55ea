"""From trained variants to the shares they attain, and to the targets that are reached.

Shares are of the attainable: a part's β over its ceiling, the total correlation with the oracle
over √(Σ share · ceiling). Means are over seeds; standard errors are their spread over √seeds.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from atft_hpo.data.synthetic.planted_parts import PART_FEATURES, PART_SHARES
from bench.planted.attainable import attainable
from bench.planted.runs import PhaseTruth
from bench.planted.variants import VARIANTS

Runs = Mapping[str, Sequence[Sequence[PhaseTruth]]]
"""Variant → seeds → phases."""
GRAPH_ONLY = "d_links"
"""The part whose feature variable selection has no reason to choose."""


@dataclass(frozen=True)
class Target:
    """One thing the issue of a benchmark asks for."""

    name: str
    found: float
    asked: str
    reached: bool


def shares(phases: Sequence[PhaseTruth], ceilings: Mapping[str, float]) -> dict[str, Any]:
    """Mean shares of the attainable over seeds that end at the same phase."""
    best = attainable(PART_SHARES, dict(ceilings))
    totals = [truth.total / best for truth in phases]
    parts = {k: [truth.betas[k] / c for truth in phases] for k, c in ceilings.items()}
    return {
        "total": fmean(totals),
        "total_standard_error": standard_error(totals),
        "parts": {k: fmean(v) for k, v in parts.items()},
        "parts_standard_error": {k: standard_error(v) for k, v in parts.items()},
    }


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean over seeds; None with a single one."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def by_phase(runs: Sequence[Sequence[PhaseTruth]], ceilings: Mapping[str, float]) -> dict[str, Any]:
    """`shares` after each phase."""
    ends = zip(*runs, strict=True)
    return {phases[0].phase: shares(phases, ceilings) for phases in ends}


def lost_share(runs: Runs, variant: str) -> float | None:
    """Share of its part that a variant lacks, against the full model after the same phase."""
    part = VARIANTS[variant].part
    if part is None or "full" not in runs or variant not in runs:
        return None
    end = runs[variant][0][-1].phase
    full = fmean(_at(run, end).betas[part] for run in runs["full"])
    left = fmean(run[-1].betas[part] for run in runs[variant])
    return 1.0 - left / full if full > 0 else None


def true_features_in_top_decile(truth: PhaseTruth) -> float:
    """Share of the features that the trunk needs among the top tenth by selection weight."""
    order = sorted(truth.selection, key=lambda name: -truth.selection[name])
    top = set(order[: math.ceil(len(order) / 10)])
    true = [f for part, names in PART_FEATURES.items() if part != GRAPH_ONLY for f in names]
    return fmean(feature in top for feature in true)


def targets(runs: Runs, ceilings: Mapping[str, float]) -> list[Target]:
    """What is asked of the model, and what was found."""
    found: list[Target] = []
    if "full" in runs:
        ends = [run[-1] for run in runs["full"]]
        share = shares(ends, ceilings)
        found.append(_least("total, share of attainable", share["total"], 0.9))
        found += [_least(f"{k}, share of ceiling", v, 0.75) for k, v in share["parts"].items()]
        coverage = fmean(truth.coverage_90 for truth in ends)
        inside = 0.88 <= coverage <= 0.92
        found.append(Target("coverage of 90 % intervals", coverage, ".88 … .92", inside))
        top = fmean(true_features_in_top_decile(truth) for truth in ends)
        found.append(_least("true features in the top decile of selection", top, 1.0))
        if len(ends) > 1:
            found.append(_largest_fall("the total's", runs["full"], ["total"]))
            found.append(_largest_fall("a part's", runs["full"], list(ceilings)))
    for name, variant in VARIANTS.items():
        lost = lost_share(runs, name)
        if lost is not None and variant.least_loss is not None:
            found.append(_least(f"{name} loses {variant.part}", lost, variant.least_loss))
    if "dft_fan" in runs and (lost := lost_share(runs, "dft_fan")) is not None:
        found.append(_least("least squares over DFT: e_arbitrary lost without", lost, 0.3))
    return found


def _largest_fall(whose: str, runs: Sequence[Sequence[PhaseTruth]], keys: Sequence[str]) -> Target:
    """From one phase to the next, in standard errors.

    The standard error is that of the earlier phase's mean and the fall's own, whichever is larger.
    β are of the forecast scaled onto the oracle, so that Σ share · β = total²: when one part is
    learned later, and the total stays, the others fall by the scaling alone.
    """
    worst = 0.0
    for before, after in itertools.pairwise(zip(*runs, strict=True)):
        for key in keys:
            old, new = ([_value(truth, key) for truth in phase] for phase in (before, after))
            falls = [a - b for a, b in zip(old, new, strict=True)]
            error = max(standard_error(old) or 0.0, standard_error(falls) or 0.0)
            worst = max(worst, fmean(falls) / error if error > 0 else 0.0)
    return Target(
        f"{whose} largest fall between phases, standard errors", worst, "≤ 1", worst <= 1.0
    )


def _value(truth: PhaseTruth, key: str) -> float:
    return truth.total if key == "total" else truth.betas[key]


def _at(run: Sequence[PhaseTruth], phase: str) -> PhaseTruth:
    return next(truth for truth in run if truth.phase == phase)


def _least(name: str, found: float, asked: float) -> Target:
    return Target(name, found, f"≥ {asked:.2f}", found >= asked)
