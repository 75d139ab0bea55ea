"""Colours and layout that every figure of a report shares, and `Plate`: a figure with its sentence.

Outcomes and phases have fixed colours, so that one figure can be read with the key of another.
"""

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.results.study_report.facts import RUNNING, WAITING
from atft_hpo.search.outcome import Outcome

INK = "#1f2933"
MUTED = "#616e7c"
GRID = "#e8ecf0"
ACCENT = "#d9730d"
"""The best trial, and nothing else."""
SERIES = "#2b6cb0"
SECOND_SERIES = "#94a3b8"
LOSS = "#b4413c"
FONT = 'Inter, "Segoe UI", -apple-system, BlinkMacSystemFont, "Helvetica Neue", Arial, sans-serif'

STATUS_COLOURS = {
    Outcome.COMPLETE.name: SERIES,
    Outcome.PRUNED.name: "#94a3b8",
    Outcome.CANCELLED.name: "#6b5b4b",
    Outcome.OUT_OF_MEMORY.name: "#c2571a",
    Outcome.TIMED_OUT.name: "#b7881b",
    Outcome.NON_FINITE.name: "#b4413c",
    Outcome.UNHEALTHY.name: "#8b4f9f",
    Outcome.CRASHED.name: "#8f1d2c",
    Outcome.ERROR.name: "#4a1a1f",
    RUNNING: "#2f9e78",
    WAITING: "#cbd2d9",
}
PHASE_TINTS = dict(
    zip(PHASE_NAMES, ("#f6f8fa", "#eef3f8", "#f6f8fa", "#eef3f8", "#f6f8fa"), strict=True)
)


@dataclass(frozen=True)
class Plate:
    """One figure of a report with the sentence it shows."""

    title: str
    """A sentence, plain text."""
    figure: go.Figure | None
    """None when there is nothing to draw; the note then says why."""
    note: str
    """How to read it, or why it is not there; plain text."""


def status_label(status: str) -> str:
    """`OUT_OF_MEMORY` as a reader sees it: `out of memory`."""
    return status.lower().replace("_", " ")


def styled(figure: go.Figure, height: int, legend: bool = True) -> go.Figure:
    """The house style: white ground, pale grid, no box, the legend above on the left."""
    figure.update_layout(
        height=height,
        template="none",
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        margin={"l": 72, "r": 24, "t": 36 if legend else 16, "b": 56},
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        hoverlabel={"bgcolor": "white", "bordercolor": GRID, "font": {"color": INK}},
        hovermode="closest",
        dragmode="zoom",
    )
    axis: dict[str, Any] = {
        "gridcolor": GRID,
        "linecolor": "#cbd2d9",
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "#cbd2d9",
        "tickfont": {"color": MUTED, "size": 12},
        "title": {"font": {"color": MUTED, "size": 12}, "standoff": 10},
        "automargin": True,
    }
    figure.update_xaxes(**axis, showgrid=False, showline=True)
    figure.update_yaxes(**axis, showgrid=True, showline=False)
    return figure
