"""An explanation as tables for a terminal: what stands out; the files hold everything."""

import polars as pl
from rich.console import Group
from rich.table import Table
from rich.text import Text

from atft_hpo.results.console import number_columns
from atft_hpo.results.model_explanation.explanation import Explanation
from atft_hpo.results.model_explanation.frames import KERNEL, SOFTMAX, strength_summary

TOP_LAGS = 3


def explanation_tables(explanation: Explanation, features: int = 15) -> Group:
    """The strongest features, families, lags, edges, strengths and effects."""
    e = explanation
    tables = [_features(e, features), _families(e)]
    tables += [] if e.attention.is_empty() else [_lags(e)]
    tables += [] if e.graph.is_empty() else [_edges(e)]
    tables += [_strengths(e), _effects(e, "module", "parts switched off at inference")]
    seen_by = ", for net and trees" if _has_trees(e) else ""
    for kind, title in (("family", "families shuffled"), ("feature", "features shuffled")):
        tables += [_effects(e, kind, title + seen_by)] if kind in e.effects["kind"] else []
    return Group(_heading(e), *tables)


def _has_trees(e: Explanation) -> bool:
    return bool((e.selection["trees"] > 0).any())


def _heading(e: Explanation) -> Text:
    modules = ", ".join(e.modules) or "none"
    return Text(
        f"{e.origin['first_day']} to {e.origin['last_day']} · {e.days} days · "
        f"{e.tokens:,} live tokens · modules on: {modules}"
    )


def _features(e: Explanation, count: int) -> Table:
    shown = min(count, len(e.selection))
    title = f"features: {shown} of {len(e.selection)} by selection weight"
    trees = ["trees"] if _has_trees(e) else []
    numbers = number_columns("weight", "× equal", "std", "code", *trees)
    table = Table(*number_columns(""), "feature", *numbers, title=title)
    for row in e.selection.head(shown).iter_rows(named=True):
        weight = (
            f"{row['weight']:.2%}",
            f"{row['relative']:.2f}",
            f"{row['std']:.2%}",
            *(f"{row[name]:.2%}" for name in ("code", *trees)),
        )
        table.add_row(str(row["rank"]), Text(row["feature"]), *weight)
    return table


def _families(e: Explanation) -> Table:
    table = Table("family", *number_columns("features", "weight", "× equal"), title="families")
    totals = e.selection.group_by("family").agg(
        pl.len(), pl.col("weight").sum(), pl.col("relative").mean()
    )
    for family, count, weight, relative in totals.sort("weight", descending=True).iter_rows():
        table.add_row(Text(family), str(count), f"{weight:.1%}", f"{relative:.2f}")
    return table


def _lags(e: Explanation) -> Table:
    size = dict(e.attention.filter(pl.col("lag").is_null()).select("path", "size").iter_rows())
    rows = e.attention.drop_nulls("lag").filter(
        pl.col("head").is_null(), pl.col("channel").is_null()
    )
    top = rows.sort("weight", descending=True)
    change = number_columns("change without")
    table = Table("path", "largest lags", *change, title="attention over lags")
    mean = top.filter(path=SOFTMAX).head(TOP_LAGS).select("lag", "weight")
    named = "\n".join(f"{lag} d {weight:.1%}" for lag, weight in mean.iter_rows())
    table.add_row(SOFTMAX, named, f"{size[SOFTMAX]:.1%}")
    signed = top.filter(path=KERNEL).head(TOP_LAGS)
    columns = signed.select("lag", "weight", "strongest", "strongest_weight").iter_rows()
    named = "\n".join(
        f"{lag} d rms {weight:.3f} (channel {channel} {strongest:+.3f})"
        for lag, weight, channel, strongest in columns
    )
    table.add_row(KERNEL, named, f"{size[KERNEL]:.1%}")
    return table


def _edges(e: Explanation) -> Table:
    heads = e.graph.select("layer", "head").unique(maintain_order=True).rows()
    names = [f"layer {layer}\nhead {head}" for layer, head in heads]
    table = Table("edges", *number_columns("count", *names), title="graph attention, × equal share")
    types = e.graph.drop_nulls("relative").group_by("dimension", "edge_type", maintain_order=True)
    for (dimension, edge_type), rows in types:
        name = f"{edge_type} sector" if dimension == "sector" else str(edge_type)
        count = f"{rows['edges'][0]:,}"
        table.add_row(name, count, *(f"{value:.3f}" for value in rows["relative"]))
    return table


def _strengths(e: Explanation) -> Table:
    sizes = number_columns("elements", "rms", "largest")
    table = Table("module", "parameter", *sizes, title="strengths")
    for row in strength_summary(e.strengths).iter_rows(named=True):
        module = row["module"] + ("" if row["on"] else " (off)")
        cells = (str(row["elements"]), f"{row['rms']:.3f}", f"{row['max']:.3f}")
        table.add_row(module, row["parameter"], *cells)
    return table


def _effects(e: Explanation, kind: str, title: str) -> Table:
    table = Table("without", *number_columns("1 − corr.", "RankIC", "lost", "t"), title=title)
    for row in e.effects.filter(pl.col("kind") == kind).iter_rows(named=True):
        cells = ("change", "rank_ic_without", "rank_ic_lost")
        t = row["rank_ic_lost_t"]
        numbers = ["–" if row[name] is None else f"{row[name]:.4f}" for name in cells]
        table.add_row(Text(row["name"]), *numbers, "–" if t is None else f"{t:.1f}")
    return table
