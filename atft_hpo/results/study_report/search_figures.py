"""Figures about the search: one function each, records in, a `Plate` out.

    plate = optimisation_history(study)
    plate.title, plate.figure, plate.note

A figure that the records do not allow yet comes back without a plotly figure and says why in its
note. Figures about one trial's days are in `daily_figures`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from atft_hpo.config.search_schema import FloatRange, IntRange
from atft_hpo.results.study_report.facts import status_of
from atft_hpo.results.study_report.importance import LEAST_TRIALS
from atft_hpo.results.study_report.theme import (
    ACCENT,
    INK,
    SERIES,
    STATUS_COLOURS,
    Plate,
    status_label,
    styled,
)
from atft_hpo.results.wording import (
    metric_label,
    number,
    parameter,
    plural,
)
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord, TrialRecord
from atft_hpo.search.space import decode

SLICE_COLUMNS = 3
SLICE_LIMIT = 12
"""Parameters drawn; the least important of a larger space are left to the table."""


def objective_label(study: StudyRecord) -> str:
    """The objective with its horizon."""
    return metric_label(study.config.objective.metric, study.config.objective.horizon_days)


def optimisation_history(study: StudyRecord) -> Plate:
    """Value of each complete trial and the best so far, over trial numbers."""
    done = _complete(study)
    if not done:
        return Plate(
            "No trial has a value yet.",
            None,
            "A value appears with the first trial that runs through all its phases.",
        )
    numbers, found = [t.number for t in done], np.array([t.value for t in done])
    best = done[int(found.argmax())]
    figure = go.Figure()
    figure.add_scatter(
        x=numbers,
        y=np.maximum.accumulate(found),
        name="best so far",
        mode="lines",
        line={"color": ACCENT, "width": 2, "shape": "hv"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=numbers,
        y=found,
        name="complete trial",
        mode="markers",
        marker={
            "color": [ACCENT if t is best else SERIES for t in done],
            "size": 9,
            "line": {"color": "white", "width": 1},
        },
        hovertemplate="trial %{x}<br>%{y:.4f}<extra></extra>",
    )
    _add_ended(figure, study.trials)
    styled(figure, 380)
    last = max(t.number for t in study.trials)
    figure.update_xaxes(title_text="trial", range=[-0.5, last + 0.5], nticks=12, anchor="y2")
    figure.update_yaxes(title_text=objective_label(study))
    figure.update_layout(
        yaxis={"domain": [0.12, 1]},
        yaxis2={"domain": [0, 0.1], "visible": False, "range": [-1, 1], "anchor": "x"},
    )
    among = plural(len(done), "complete trial")
    title = f"Trial {best.number} is the best of {among}, with {number(best.value)}."
    crosses = " Crosses along the bottom are trials that ended without a value."
    note = f"One point per complete trial.{crosses if len(figure.data) > 2 else ''}"
    return Plate(title, figure, note)


def importances(study: StudyRecord, found: Mapping[str, float] | None) -> Plate:
    """Parameter importances (`importance.parameter_importance`) as bars."""
    if found is None:
        count = len(_complete(study))
        why = (
            f"Importances need at least {LEAST_TRIALS} complete trials whose parameters differ; "
            f"there are {count}."
        )
        return Plate("Too few trials to say which parameter mattered.", None, why)
    names = list(found)[::-1]
    figure = go.Figure(
        go.Bar(
            x=[100 * found[n] for n in names],
            y=names,
            orientation="h",
            marker={"color": SERIES},
            text=[f"{100 * found[n]:.0f} %" for n in names],
            textposition="outside",
            cliponaxis=False,
            width=0.6,
            hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
        )
    )
    styled(figure, 90 + 30 * len(names), legend=False)
    figure.update_xaxes(title_text="share of importance", ticksuffix=" %", rangemode="tozero")
    figure.update_yaxes(showgrid=False, tickfont={"color": INK}, tickcolor="white")
    note = (
        f"PED-ANOVA over {plural(len(_complete(study)), 'complete trial')}. With few trials this "
        "is a hint; correlated parameters share importance arbitrarily."
    )
    return Plate(f"{names[-1]} mattered most.", figure, note)


def slices(study: StudyRecord, importance: Mapping[str, float] | None) -> Plate:
    """Value over each searched parameter, small multiples, most important first."""
    done = _complete(study)
    shares = importance or {}
    names = sorted(study.config.search.space, key=lambda n: -shares.get(n, 0.0))[:SLICE_LIMIT]
    if not done or not names:
        why = "The study searches no parameters." if not names else "No trial is complete yet."
        return Plate("Values by parameter cannot be drawn yet.", None, why)
    rows = -(-len(names) // SLICE_COLUMNS)
    gap = 0.3 / rows if rows > 1 else 0.0
    figure = make_subplots(
        rows, SLICE_COLUMNS, shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=gap
    )
    for k, name in enumerate(names):
        row, column = k // SLICE_COLUMNS + 1, k % SLICE_COLUMNS + 1
        figure.add_trace(_slice_trace(name, done, study), row, column)
        figure.update_xaxes(title_text=name, row=row, col=column, **_slice_axis(name, study))
    styled(figure, 60 + 220 * rows, legend=False)
    figure.update_xaxes(title_standoff=4)
    figure.update_xaxes(nticks=6, selector={"type": "linear"})
    figure.update_xaxes(dtick=1, selector={"type": "log"})
    figure.update_yaxes(title_text=objective_label(study), col=1)
    left = len(study.config.search.space) - len(names)
    more = f" The {left} least important parameters are left out." if left > 0 else ""
    return Plate(
        "Where the complete trials lie along each parameter.",
        figure,
        f"One point per complete trial, the best in orange; most important first.{more}",
    )


def _add_ended(figure: go.Figure, trials: Iterable[TrialRecord]) -> None:
    """A strip of crosses below the values: trials that ended without one, by status."""
    ended = [t for t in trials if t.outcome not in (None, Outcome.COMPLETE)]
    for status, own in by_status(ended):
        figure.add_scatter(
            x=[t.number for t in own],
            y=[0] * len(own),
            yaxis="y2",
            name=status_label(status),
            mode="markers",
            marker={
                "color": STATUS_COLOURS[status],
                "size": 9,
                "symbol": "x-thin",
                "line": {"color": STATUS_COLOURS[status], "width": 2},
            },
            hovertemplate="trial %{x}<extra>" + status_label(status) + "</extra>",
        )


def _complete(study: StudyRecord) -> list[TrialRecord]:
    return [t for t in study.trials if t.outcome is Outcome.COMPLETE and t.value is not None]


def by_status(trials: Iterable[TrialRecord]) -> list[tuple[str, list[TrialRecord]]]:
    """Trials by status, in the order of the legend."""
    groups: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        groups.setdefault(status_of(trial), []).append(trial)
    return [(status, groups[status]) for status in STATUS_COLOURS if status in groups]


def _slice_trace(name: str, done: Sequence[TrialRecord], study: StudyRecord) -> go.Scatter:
    trials = [t for t in done if name in t.params]
    best = study.best()
    values = [decode(study.config, t.params)[name] for t in trials]
    if any(not isinstance(v, int | float) or isinstance(v, bool) for v in values):
        values = [parameter(v) for v in values]
    return go.Scatter(
        x=values,
        y=[t.value for t in trials],
        mode="markers",
        customdata=[t.number for t in trials],
        marker={
            "color": [ACCENT if t is best else SERIES for t in trials],
            "size": [11 if t is best else 8 for t in trials],
            "opacity": 0.85,
            "line": {"color": "white", "width": 1},
        },
        hovertemplate="trial %{customdata}<br>%{x}<br>%{y:.4f}<extra></extra>",
    )


def _slice_axis(name: str, study: StudyRecord) -> dict[str, Any]:
    domain = study.config.search.space[name]
    if not isinstance(domain, FloatRange | IntRange):
        return {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [parameter(c) for c in domain.choices],
        }
    low, high = np.log10((domain.low, domain.high)) if domain.log else (domain.low, domain.high)
    margin = 0.05 * (high - low)
    ends = [low - margin, high + margin]
    return {"type": "log", "range": ends} if domain.log else {"type": "linear", "range": ends}
