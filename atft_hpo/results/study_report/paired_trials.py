"""The part of a report that compares trials day by day: against the base and against the best.

    parts = list(paired(study))

Only COMPLETE trials are compared, each by the epoch whose weights it kept: others ended in another
phase, under other losses.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atft_hpo.evaluation.mean_error import INTERVAL, MeanError
from atft_hpo.evaluation.paired import paired_difference
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.results.study_report.facts import best_epoch, finite
from atft_hpo.results.study_report.page import Markup, table, tag
from atft_hpo.results.wording import ABSENT, number, plural
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord, TrialRecord
from atft_hpo.training.phases.objective import objective_series, overlap_of

BASE = 0
"""Number of the trial that is the base configuration."""


@dataclass(frozen=True)
class _Scale:
    """How the mean of a daily series is printed."""

    label: str
    factor: float
    digits: int


SERIES = {
    "return_net": _Scale("net return, basis points a day", 1e4, 2),
    "ic": _Scale("IC", 1.0, 4),
    "rank_ic": _Scale("RankIC", 1.0, 4),
    "pure_rank_ic": _Scale("pure RankIC", 1.0, 4),
}


def paired(study: StudyRecord) -> Iterator[Markup]:
    """One table for the objective's daily series, and one for pure RankIC where it is another."""
    series = dict.fromkeys((objective_series(study.config.objective), "pure_rank_ic"))
    tables = [t for name in series if (t := _table(study, name)) is not None]
    if not tables:
        return
    yield tag("h2", "Trials compared day by day")
    yield tag(
        "p",
        "Mean daily difference on the days both have: mean ± standard error, its t-statistic and "
        f"its {INTERVAL:.0%} interval, which allow for overlapping labels and for days that are "
        "alike (|t| > 2 happens in 1 of 22 pairs that are equal in truth). The best trial "
        "was chosen on these days, so that its own lead is flattered; an interval around 0 says "
        "that the days cannot tell two trials apart.",
    )
    yield from tables


def against(
    trial: TrialRecord, other: TrialRecord | None, study: StudyRecord, series: str
) -> MeanError | None:
    """`trial` − `other` in a daily series; None where they cannot be compared."""
    if other is None or trial.number == other.number:
        return None
    ours, theirs = daily_of(trial, study), daily_of(other, study)
    if ours is None or theirs is None or not np.array_equal(ours.dates, theirs.dates):
        return None
    overlap = overlap_of(series, study.config.objective)
    return paired_difference(getattr(ours, series), getattr(theirs, series), overlap)


def daily_of(trial: TrialRecord, study: StudyRecord) -> DailySeries | None:
    """The days of the epoch that a COMPLETE trial kept."""
    kept = best_epoch(trial, study.config) if trial.outcome is Outcome.COMPLETE else None
    return kept.daily if kept else None


def base_trial(study: StudyRecord) -> TrialRecord | None:
    """The trial of the base configuration, where the study ran it first."""
    if not study.config.search.enqueue_baseline:
        return None
    return next((trial for trial in study.trials if trial.number == BASE), None)


def _table(study: StudyRecord, name: str) -> Markup | None:
    """Rows by trial; None with fewer than two trials to compare."""
    scale = SERIES[name]
    found = [(t, d) for t in study.trials if (d := daily_of(t, study)) is not None]
    known = [(t, d) for t, d in found if finite(getattr(d, name)).size]
    if len(known) < 2:
        return None
    base, best = base_trial(study), study.best()
    head = [("trial", "n"), (scale.label, "n")]
    for who in ("base", "best"):
        head += [(f"against the {who}", "n"), ("t", "n"), (f"{INTERVAL:.0%} interval", "n")]
    rows = []
    for trial, daily in known:
        mean = float(finite(getattr(daily, name)).mean()) * scale.factor
        cells = [str(trial.number), number(mean, scale.digits)]
        for other in (base, best):
            cells += _cells(against(trial, other, study, name), scale)
        rows.append(cells)
    marked = next((i for i, (trial, _) in enumerate(known) if trial is best), None)
    days = plural(len(known[0][1].dates), "validation day")
    title = tag("h3", f"{scale.label[:1].upper()}{scale.label[1:]}, {days}")
    return Markup(title + table(head, rows, marked=marked))


def _cells(found: MeanError | None, scale: _Scale) -> list[str]:
    if found is None:
        return [ABSENT, ABSENT, ABSENT]
    mean, error, low, high = (
        f"{value * scale.factor:+.{scale.digits}f}"
        for value in (found.mean, found.standard_error, found.low, found.high)
    )
    return [f"{mean} ± {error[1:]}", f"{found.t:+.2f}", f"{low} … {high}"]
