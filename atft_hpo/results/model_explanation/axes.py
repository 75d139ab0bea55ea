"""How the panels of an explanation look: titles, bars, ticks, colours of signs and heads."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from atft_hpo.results.study_report.theme import GRID, INK, LOSS, MUTED, SERIES

HEADS = ("#2b6cb0", "#2f9e78", "#8b4f9f", "#b7881b", "#c2571a", "#4a7c8c", "#b4413c", "#6b5b4b")
DIVERGING = "RdBu"
"""Negative red, positive blue, as the bars are."""
LONGEST_NAME = 34
SPINE = "#cbd2d9"


def nothing(axes: Axes, title: str, why: str) -> None:
    """A panel without data says so."""
    titled(axes, title, "")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, color=MUTED)


def bars(
    axes: Axes, names: list[str], values: list[float], colours: list[str], left: float = 0.0
) -> list[int]:
    """Horizontal bars, the first on top; their places."""
    places = list(range(len(names)))
    axes.barh(places, values, color=colours, height=0.72, left=left)
    axes.set_yticks(places, [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    return places


def titled(axes: Axes, title: str, note: str, x: str = "", y: str = "") -> None:
    """The house style: bold title with a sentence under it, pale grid, no box."""
    axes.set_title(note or " ", loc="left", size=9, color=MUTED, pad=6)
    axes.annotate(title, (0, 1), (0, 20), xycoords="axes fraction", textcoords="offset points",
                  size=12, weight="bold", color=INK)  # fmt: skip
    axes.set_xlabel(x, size=9, color=MUTED)
    axes.set_ylabel(y, size=9, color=MUTED)
    axes.tick_params(labelsize=9, color=SPINE, labelcolor=INK)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(SPINE)
    axes.set_axisbelow(True)
    if x or y:
        axes.grid(axis="y" if y else "x", color=GRID, lw=0.9)


def legend(axes: Axes, columns: int = 1) -> None:
    """Without a box, where there is room."""
    axes.legend(ncols=columns, frameon=False, fontsize=8, labelcolor=INK, loc="best")


def percent(axis: Any) -> None:
    """Shares as percentages, at few ticks."""
    axis.set_major_formatter(PercentFormatter(1.0))
    axis.set_major_locator(MaxNLocator(5))


def lag_ticks(axes: Axes, count: int) -> None:
    """At most a dozen of the lags 0 … count − 1."""
    step = -(-count // 12)
    axes.set_xticks(range(0, count, step))


def month_ticks(axes: Axes, labels: list[str]) -> None:
    """At most eight of the months."""
    step = -(-len(labels) // 8)
    axes.set_xticks(range(0, len(labels), step), labels[::step])


def heads_of(rows: pl.DataFrame) -> list[tuple[int, str]]:
    """The heads in `rows`, each with its colour."""
    heads = rows["head"].drop_nulls().unique(maintain_order=True).to_list()
    return [(head, HEADS[head % len(HEADS)]) for head in heads]


def short(name: str) -> str:
    """A name that fits, cut in the middle: both ends of a feature's name tell something."""
    if len(name) <= LONGEST_NAME or "\n" in name:
        return plain(name)
    half = (LONGEST_NAME - 1) // 2
    return plain(f"{name[:half]}…{name[-half:]}")


def plain(text: str) -> str:
    """Text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")


def signed_text(value: float, digits: int) -> str:
    """With a true minus sign; what rounds to zero has none."""
    sign = "+" if round(value, digits) else ""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def sign_colours(value: NDArray[np.float64]) -> list[str]:
    """A colour per sign."""
    return [LOSS if v < 0 else SERIES for v in value]


def largest_size(values: pl.Series) -> float:
    """Largest size; 0 for none."""
    return float(np.abs(values.to_numpy()).max(initial=0.0))
