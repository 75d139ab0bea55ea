"""The figures of the CPU set: one function per part, a program's JSON in, plates out.

A bar that misses what was asked is in the colour of a loss. A part that failed has a plate without
a figure, which says why.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from atft_hpo.results.study_report.theme import (
    GRID,
    LOSS,
    MUTED,
    SECOND_SERIES,
    SERIES,
    Plate,
    styled,
)
from bench.cpu_set.parts import Outcome
from bench.search import cost, startup
from bench.training_speed import step, validation

Result = Mapping[str, Any]
HEIGHT = 320


def plates(outcomes: Mapping[str, Outcome]) -> list[Plate]:
    """All figures of the parts that have any, in the order of the parts."""
    found: list[Plate] = []
    for name, outcome in outcomes.items():
        if name not in _PLATES:
            continue
        if outcome.result is None:
            found.append(Plate(outcome.part.title, None, f"failed: {outcome.error}"))
        else:
            found += _PLATES[name](outcome.result)
    return found


def _step(result: Result) -> list[Plate]:
    found = list(result["stocks"].values())
    stocks = [f"{one['stocks']:,} stocks" for one in found]
    speed = go.Figure()
    speed.add_bar(
        x=stocks, y=[one["samples_per_second"] for one in found], name="slices",
        marker={"color": SERIES}, texttemplate="%{y:,.0f}", textposition="outside",
        cliponaxis=False,
    )  # fmt: skip
    speed.add_bar(
        x=stocks, y=[one["window_samples_per_second"] for one in found], name="windows",
        marker={"color": SECOND_SERIES}, texttemplate="%{y:,.0f}", textposition="outside",
    )  # fmt: skip
    styled(speed, HEIGHT)
    speed.update_yaxes(title_text="samples per second", rangemode="tozero")
    ratios = " and ".join(f"{one['ratio_to_window_path']:.0f}" for one in found)
    memory = _bars(stocks, [one["peak_rss_gib"] for one in found], "GiB", "%{y:.2f}")
    return [
        Plate(
            f"Slices train {ratios} times as many samples per second as windows.", speed,
            f"One step of the full model, {found[0]['threads']} thread(s). "
            f"Asked: {step.TARGET_RATIO:.0f} times.",
        ),
        Plate(
            "Peak of memory of a training step.", memory,
            f"Resident memory of the process. Asked: at most {step.TARGET_GIB:.0f} GiB at "
            f"{step.TARGET_STOCKS} stocks.",
        ),
    ]  # fmt: skip


def _validation(result: Result) -> list[Plate]:
    epochs = result["epochs"]
    shares = [100 * epoch["share"] for epoch in epochs]
    bound = 100 * validation.TARGET_SHARE
    phases = [epoch["phase"].replace("_", " ") for epoch in epochs]
    figure = _bars(phases, shares, "% of the epoch's seconds", "%{y:.1f} %", bound)
    return [
        Plate(
            f"Validation takes {max(shares):.1f} % of an epoch at most.", figure,
            f"{result['training_days']:,} days of training, {result['validation_days']} validated."
            f" Asked: at most {bound:.0f} %.",
        )
    ]  # fmt: skip


def _search(result: Result) -> list[Plate]:
    total, bound = result["milliseconds_per_trial_epoch"], cost.TARGET_MS
    steps = result["by_step"]
    figure = _bars(list(steps), list(steps.values()), "milliseconds per trial-epoch", "%{y:.1f}")
    note = f"After {result['trials']:,} finished trials. Asked: at most {bound:.0f} ms in total."
    return [Plate(f"The search costs {total:.1f} ms per trial-epoch.", figure, note)]


def _startup(result: Result) -> list[Plate]:
    middle = sorted(result["later"], key=lambda one: sum(one.values()))[len(result["later"]) // 2]
    figure = _bars(list(middle), list(middle.values()), "seconds", "%{y:.2f}")
    title = f"A trial's first step is done {result['median_seconds']:.2f} s after its launch."
    note = f"The trial of median length. Asked: at most {startup.TARGET_SECONDS:.0f} s."
    return [Plate(title, figure, note)]


def _pack(result: Result) -> list[Plate]:
    names = [name for name in ("decode", "write", "pack", "open") if name in result]
    seconds = [result[name]["seconds"] for name in names]
    figure = _bars(names, seconds, "seconds", "%{y:.2f}")
    note = f"{result['rows']:,} rows × {result['features']} columns; decode is pyarrow's reading."
    return [Plate(f"Packing takes {result['pack']['seconds']:.1f} s.", figure, note)]


def _bars(
    names: Sequence[str], values: Sequence[float], unit: str, text: str, bound: float | None = None
) -> go.Figure:
    """Bars of one measure, with a line at what was asked."""
    colours = [LOSS if bound is not None and value > bound else SERIES for value in values]
    figure = go.Figure()
    figure.add_bar(
        x=list(names), y=list(values), width=0.5, marker={"color": colours},
        texttemplate=text, textposition="outside", cliponaxis=False,
    )  # fmt: skip
    styled(figure, HEIGHT, legend=False)
    figure.update_yaxes(title_text=unit, rangemode="tozero", gridcolor=GRID)
    if bound is not None:
        figure.add_hline(y=bound, line={"color": MUTED, "dash": "dash", "width": 1})
    return figure


_PLATES: Mapping[str, Callable[[Result], list[Plate]]] = {
    "step": _step,
    "validation": _validation,
    "search": _search,
    "startup": _startup,
    "pack": _pack,
}
