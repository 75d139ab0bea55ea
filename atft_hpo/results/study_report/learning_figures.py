"""Figures about training: learning curves by phase, epochs and time per trial.

Like `search_figures`: records in, a `Plate` out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.results.study_report.facts import epochs_saved, phase_epochs
from atft_hpo.results.study_report.search_figures import by_status, objective_label
from atft_hpo.results.study_report.theme import (
    ACCENT,
    MUTED,
    PHASE_TINTS,
    STATUS_COLOURS,
    Plate,
    status_label,
    styled,
)
from atft_hpo.results.wording import duration, metric_label, phase_label, plural
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import EpochRecord, StudyRecord, TrialRecord


def learning_curves(study: StudyRecord, metric: str | None = None) -> Plate:
    """Smoothed objective (or a raw validation metric) over epochs, phases as bands."""
    begun = [t for t in study.trials if t.epochs]
    label = (
        objective_label(study)
        if metric is None
        else metric_label(metric, study.config.objective.horizon_days)
    )
    if not begun:
        return Plate(
            f"No epoch has been finished, so {label} has no curve.",
            None,
            "The first point appears after the first epoch of the first trial.",
        )
    offsets, end = _phase_offsets(study)
    best = study.best()
    figure = go.Figure()
    for status, trials in by_status([t for t in begun if t is not best]):
        figure.add_trace(_curves(status, trials, offsets, metric))
        if status not in ("COMPLETE", "RUNNING"):
            figure.add_trace(_last_points(status, trials, offsets, metric))
    if best is not None and best.epochs:
        figure.add_trace(_curves("BEST", [best], offsets, metric))
    styled(figure, 400)
    _draw_phases(figure, offsets, end)
    figure.update_xaxes(title_text="epoch, counted over the phases", range=[0.5, end + 0.5])
    figure.update_yaxes(title_text=label)
    figure.update_layout(margin_t=76, legend_y=1.1)
    pruned = sum(t.outcome is Outcome.PRUNED for t in begun)
    title = f"{label} by epoch: {plural(len(begun), 'trial')} begun, {pruned} pruned."
    smoothed = f"Smoothed over {study.config.objective.smoothing_epochs} epochs within a phase. "
    note = (
        smoothed if metric is None else "Not smoothed. "
    ) + "A cross marks where a trial ended early."
    return Plate(title, figure, note)


def epochs_and_time(study: StudyRecord) -> Plate:
    """Epochs run and saved per trial, and device time per trial, one above the other."""
    begun = [t for t in study.trials if t.state != "waiting"]
    if not begun:
        return Plate(
            "No trial has begun.", None, "Epochs and time per trial appear once trials run."
        )
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08)
    for status, trials in by_status(begun):
        shared: dict[str, Any] = {
            "x": [t.number for t in trials],
            "name": status_label(status),
            "legendgroup": status,
            "marker": {"color": STATUS_COLOURS[status]},
        }
        epochs = [len(t.epochs) for t in trials]
        minutes = [t.device_seconds / 60 for t in trials]
        figure.add_trace(
            go.Bar(y=epochs, hovertemplate="trial %{x}: %{y} epochs<extra></extra>", **shared), 1, 1
        )
        figure.add_trace(
            go.Bar(
                y=minutes,
                showlegend=False,
                hovertemplate="trial %{x}: %{y:.2f} min<extra></extra>",
                **shared,
            ),
            2,
            1,
        )
    saved = {t.number: epochs_saved(t, study.config) for t in begun}
    figure.add_trace(_saved_bars(saved), 1, 1)
    styled(figure, 420)
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_xaxes(nticks=12)
    figure.update_xaxes(title_text="trial", row=2, col=1)
    figure.update_yaxes(title_text="epochs", row=1, col=1)
    figure.update_yaxes(title_text="device time, minutes", row=2, col=1)
    longest = max(t.device_seconds for t in begun) / 60
    figure.update_yaxes(range=[0, 1.08 * max(longest, 1e-3)], row=2, col=1)
    most = max(len(t.epochs) + saved[t.number] for t in begun)
    figure.update_yaxes(range=[0, 1.08 * max(most, 1)], row=1, col=1)
    total = duration(sum(t.device_seconds for t in begun))
    spared = plural(sum(saved.values()), "epoch")
    title = f"Trials took {total} of device time; pruning saved {spared}."
    return Plate(title, figure, "Pale bars are epochs that pruning spared.")


def _phase_offsets(study: StudyRecord) -> tuple[dict[int, int], int]:
    """Epochs before each phase on the common axis, where a phase is as long as in any trial."""
    lengths: dict[int, int] = {}
    for k, name in enumerate(PHASE_NAMES):
        seen = [e.epoch + 1 for t in study.trials for e in t.epochs if e.phase == k]
        length = max([phase_epochs(None, study.config, name), *seen])
        if length:
            lengths[k] = length
    ends = np.cumsum([0, *lengths.values()])
    return dict(zip(lengths, ends[:-1].tolist(), strict=True)), int(ends[-1])


def _draw_phases(figure: go.Figure, offsets: dict[int, int], end: int) -> None:
    bounds = [*offsets.values(), end]
    for k, phase in enumerate(offsets):
        left, right = bounds[k] + 0.5, bounds[k + 1] + 0.5
        name = PHASE_NAMES[phase]
        figure.add_vrect(left, right, fillcolor=PHASE_TINTS[name], line_width=0, layer="below")
        figure.add_annotation(
            x=(left + right) / 2,
            y=1,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            text=phase_label(name),
            font={"size": 12, "color": MUTED},
        )


def _point(epoch: EpochRecord, offsets: dict[int, int], metric: str | None) -> tuple[int, float]:
    y = epoch.smoothed if metric is None else epoch.metrics.get(metric, float("nan"))
    return offsets[epoch.phase] + epoch.epoch + 1, y


def _curves(
    status: str, trials: Sequence[TrialRecord], offsets: dict[int, int], metric: str | None
) -> go.Scatter:
    """All curves of one status as a single trace, with gaps between trials."""
    xs: list[int | None] = []
    ys: list[float | None] = []
    numbers: list[int] = []
    for trial in trials:
        for x, y in (_point(e, offsets, metric) for e in trial.epochs):
            xs.append(x)
            ys.append(y)
        xs.append(None)
        ys.append(None)
        numbers += [trial.number] * (len(trial.epochs) + 1)
    best = status == "BEST"
    colour = ACCENT if best else STATUS_COLOURS[status]
    name = f"trial {trials[0].number}, the best" if best else status_label(status)
    return go.Scatter(
        x=xs,
        y=ys,
        customdata=numbers,
        name=name,
        mode="lines",
        legendgroup=status,
        connectgaps=False,
        opacity=1.0 if best else min(0.6, max(0.15, 20 / len(trials))),
        line={"color": colour, "width": 2.5 if best else 1.4},
        hovertemplate="trial %{customdata}<br>epoch %{x}: %{y:.4f}<extra></extra>",
    )


def _last_points(
    status: str, trials: Sequence[TrialRecord], offsets: dict[int, int], metric: str | None
) -> go.Scatter:
    points = [_point(t.epochs[-1], offsets, metric) for t in trials]
    colour = STATUS_COLOURS[status]
    return go.Scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        mode="markers",
        showlegend=False,
        legendgroup=status,
        customdata=[t.number for t in trials],
        marker={"symbol": "x-thin", "size": 9, "line": {"color": colour, "width": 2}},
        hovertemplate="trial %{customdata} ended: " + status_label(status) + "<extra></extra>",
    )


def _saved_bars(saved: dict[int, int]) -> go.Bar:
    spared = {number: count for number, count in saved.items() if count}
    return go.Bar(
        x=list(spared),
        y=list(spared.values()),
        name="saved by pruning",
        marker={"color": "#edf1f5", "line": {"color": "#cbd2d9", "width": 1}},
        hovertemplate="trial %{x}: %{y} epochs saved<extra></extra>",
    )
