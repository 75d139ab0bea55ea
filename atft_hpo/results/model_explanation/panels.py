"""The panels of an explanation's pictures, each drawn on the axes it is given.

Bars are sorted, axes carry units, and where equal shares would be there is a grey line. A panel
without data says why in its place.
"""

from itertools import cycle
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from atft_hpo.results.model_explanation.axes import (
    DIVERGING,
    HEADS,
    bars,
    largest_size,
    legend,
    month_ticks,
    nothing,
    percent,
    short,
    sign_colours,
    signed_text,
    titled,
)
from atft_hpo.results.study_report.theme import ACCENT, GRID, INK, MUTED, SECOND_SERIES, SERIES

MONTHS_SHOWN = 6


def features(axes: Axes, selection: pl.DataFrame, count: int) -> None:
    """Mean weight of the features with most."""
    top = selection.head(count)
    colours = [SERIES if decomposed else SECOND_SERIES for decomposed in top["decomposed"]]
    bars(axes, top["feature"].to_list(), top["weight"].to_list(), colours)
    axes.axvline(1.0 / len(selection), color=INK, lw=1, ls=":")
    percent(axes.xaxis)
    more = f"top {count} of {len(selection)}" if count < len(selection) else f"all {len(selection)}"
    blue = "; blue: decomposed by FAN and SAN" if any(top["decomposed"]) else ""
    note = f"{more}; dotted: equal weights{blue}"
    titled(axes, "Features", note, x="mean selection weight")


def families(axes: Axes, selection: pl.DataFrame) -> None:
    """Total weight of each family against its share of the features."""
    totals = (
        selection.group_by("family")
        .agg(pl.col("weight").sum(), pl.len().alias("features"))
        .sort("weight", "family", descending=[True, False])
    )
    names = [f"{row['family']} ({row['features']})" for row in totals.iter_rows(named=True)]
    places = bars(axes, names, totals["weight"].to_list(), [SERIES] * len(names))
    equal = (totals["features"] / len(selection)).to_list()
    axes.plot(equal, places, "|", color=ACCENT, markersize=12, markeredgewidth=2)
    axes.set_xlim(0, 1.08 * max(*totals["weight"], *equal))
    percent(axes.xaxis)
    note = "number of features in brackets; orange: equal weights"
    titled(axes, "Families", note, x="total selection weight")


def months(axes: Axes, by_month: pl.DataFrame, selection: pl.DataFrame) -> None:
    """Weight over time of the features with most."""
    names = selection["feature"].head(MONTHS_SHOWN).to_list()
    labels = by_month["month"].unique(maintain_order=True).to_list()
    for name, colour in zip(names, cycle(HEADS)):
        weight = by_month.filter(feature=name)["weight"].to_list()
        axes.plot(range(len(labels)), weight, "o-", color=colour, lw=1.6, ms=4, label=short(name))
    month_ticks(axes, labels)
    axes.set_ylim(bottom=0)
    percent(axes.yaxis)
    legend(axes, columns=2)
    titled(axes, "Over time", f"the {len(names)} features of largest weight", y="mean weight")


def edges(axes: Axes, graph: pl.DataFrame) -> None:
    """Attention of each type of edge relative to equal shares: heads as dots, their mean as bar."""
    rows = graph.drop_nulls("relative")
    if rows.is_empty():
        nothing(axes, "Graph attention", "the graph is off, or no stock has a neighbour")
        return
    types = rows.select("dimension", "edge_type", "edges").unique(maintain_order=True)
    total = types.filter(dimension="sector")["edges"].sum()
    labels = [f"{name}\n{count / total:.1%} of edges" for _, name, count in types.iter_rows()]
    labels = [label.replace("same", "same sector").replace("other", "other sector")
              for label in labels]  # fmt: skip
    means = [rows.filter(edge_type=name)["relative"].mean() for name in types["edge_type"]]
    places = bars(
        axes, labels, [float(str(m)) - 1.0 for m in means], [GRID] * len(labels), left=1.0
    )
    pairs = list(rows.select("layer", "head").unique(maintain_order=True).iter_rows())
    for (layer, head), colour in zip(pairs, cycle(HEADS)):
        one = dict(rows.filter(layer=layer, head=head).select("edge_type", "relative").iter_rows())
        axes.plot([one[name] for name in types["edge_type"]], places, "o", ms=5, color=colour,
                  label=f"layer {layer}, head {head}")  # fmt: skip
    axes.axvline(1.0, color=INK, lw=1, ls=":")
    axes.margins(x=0.08)
    axes.legend(ncols=3, frameon=False, fontsize=8, labelcolor=INK, loc="upper center",
                bbox_to_anchor=(0.5, -0.13), columnspacing=1.0, handletextpad=0.2)  # fmt: skip
    titled(axes, "Graph attention", "1 = equal shares among a stock's live neighbours",
            x="attention / equal share")  # fmt: skip


def channels(axes: Axes, strengths: pl.DataFrame, module: str, count: int) -> None:
    """Strengths of a module's added channels as a map, the most opened columns first."""
    rows = strengths.filter(module=module).drop_nulls("channel")
    title = f"{module.upper()} channels"
    if rows.is_empty():
        nothing(axes, title, "the panel has no columns to decompose")
        return
    table = rows.pivot("channel", index="element", values="value")
    values_FC = table.drop("element").to_numpy()
    order = np.argsort(-np.abs(values_FC).max(axis=1), kind="stable")[:count]
    shown_FC, names = values_FC[order], [table["element"][int(i)] for i in order]
    bound = largest_size(rows["value"])
    if not bound:
        nothing(axes, title, f"all strengths are 0{_off(rows)}")
        return
    axes.imshow(shown_FC, cmap=DIVERGING, vmin=-bound, vmax=bound, aspect="auto")
    for (f, c), value in np.ndenumerate(shown_FC):
        ink = "white" if abs(value) > 0.6 * bound else INK
        axes.text(
            c, f, f"{value:+.2f}".replace("-", "−"), ha="center", va="center", size=8, color=ink
        )
    names_C = [name.replace(" ", "\n") for name in table.columns[1:]]
    axes.set_xticks(range(shown_FC.shape[1]), names_C)
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    more = f"top {count} of {len(values_FC)} columns" if count < len(values_FC) else "all columns"
    titled(axes, title, f"{more} by largest size{_off(rows)}")
    axes.tick_params(length=0)


def units(axes: Axes, strengths: pl.DataFrame) -> None:
    """The graph's strength of each hidden unit, by size."""
    rows = strengths.filter(module="graph")
    value = np.sort(rows["value"].to_numpy())
    axes.bar(np.arange(len(value)), value, color=sign_colours(value))
    axes.axhline(0.0, color=INK, lw=1)
    axes.set_xticks([])
    titled(axes, "Graph", f"hidden units, sorted{_off(rows)}", y="strength")


def horizons(axes: Axes, strengths: pl.DataFrame) -> None:
    """The strength of FAN's own forecast by horizon."""
    rows = strengths.filter(parameter="main_forecast.strength")
    if rows.is_empty():
        nothing(axes, "FAN's own forecast", "the panel has no columns to decompose")
        return
    value = rows["value"].to_numpy()
    axes.bar(rows["element"].to_list(), value, color=sign_colours(value))
    axes.axhline(0.0, color=INK, lw=1)
    titled(axes, "FAN's own forecast", f"by horizon{_off(rows)}", y="strength")


def parts(axes: Axes, effects: pl.DataFrame) -> None:
    """What switching each part off changes."""
    losses(axes, effects, "module", len(effects))


def losses(axes: Axes, effects: pl.DataFrame, kind: str, count: int) -> None:
    """Change of the forecast as bars; RankIC lost and its t as text."""
    title, note = {
        "module": ("Parts switched off", "at inference: overstates what retraining would lose"),
        "family": ("Families shuffled", "all features of a family together"),
        "feature": ("Features shuffled", "across stocks, one at a time"),
    }[kind]
    rows = effects.filter(pl.col("kind") == kind).drop_nulls("change").head(count)
    if rows.is_empty():
        nothing(axes, title, "no day with a forecast that differs between stocks")
        return
    places = bars(axes, rows["name"].to_list(), rows["change"].to_list(), [SERIES] * len(rows))
    reach = largest_size(rows["change"]) or 1.0
    for place, row in zip(places, rows.iter_rows(named=True), strict=True):
        axes.text(row["change"] + 0.02 * reach, place, _lost(row), va="center", size=8, color=MUTED)
    axes.set_xlim(0, 1.55 * reach)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    titled(axes, title, note, x="1 − correlation with the whole forecast")


def strength_rows(strengths: pl.DataFrame, count: int) -> int:
    """Rows that the channel maps will have."""
    opened = strengths.drop_nulls("channel").filter(pl.col("value") != 0)
    return min(count, opened["element"].n_unique())


def _off(rows: pl.DataFrame) -> str:
    return "" if rows["on"].all() else "; module off"


def _lost(row: dict[str, Any]) -> str:
    if row["rank_ic_lost"] is None:
        return ""
    t = row["rank_ic_lost_t"]
    return f"RankIC {signed_text(-row['rank_ic_lost'], 3)}" + (
        "" if t is None else f" (t {signed_text(-t, 1)})"
    )
