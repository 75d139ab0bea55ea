"""An explanation as PNG pictures: one per table, and an overview.

    for name, png in draw_figures(explanation).items(): ...

Matplotlib draws without a browser and without global state (no pyplot). The panels, each on axes it
is given, are in `panels`; here they are put on pages.
"""

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from atft_hpo.results.model_explanation import lag_panels as lags
from atft_hpo.results.model_explanation import panels
from atft_hpo.results.model_explanation.axes import nothing, plain
from atft_hpo.results.model_explanation.explanation import Explanation
from atft_hpo.results.study_report.theme import INK, MUTED
from atft_hpo.results.wording import plural

DPI = 130
TOP = 30
"""Features or channels named in a figure; the tables have all."""
TOP_OVERVIEW = 12
_MARGIN_INCHES = 0.95
"""Above the panels, for the title."""


def draw_figures(explanation: Explanation) -> dict[str, bytes]:
    """PNG by name, the overview `explain` first; deterministic for the same explanation."""
    draw = {
        "explain": overview,
        "selection": selection,
        "attention": attention,
        "graph": graph,
        "strengths": strengths,
        "effects": effects,
    }
    return {name: _png(make(explanation)) for name, make in draw.items()}


def overview(e: Explanation) -> Figure:
    """Six small panels: features, families, lags, kernel, edges, effects."""
    figure = _page(e, "What the model looks at", 15.0, 9.6)
    grid = figure.subplots(2, 3)
    panels.features(grid[0, 0], e.selection, TOP_OVERVIEW)
    panels.families(grid[0, 1], e.selection)
    panels.parts(grid[0, 2], e.effects)
    lags.softmax(grid[1, 0], e.attention)
    lags.kernel(grid[1, 1], e.attention, TOP_OVERVIEW)
    panels.edges(grid[1, 2], e.graph)
    return figure


def selection(e: Explanation) -> Figure:
    """The top features, family totals, and weights by month."""
    shown = min(TOP, len(e.selection))
    figure = _page(e, "Variable selection: which features get weight", 15.0, 3.6 + 0.23 * shown)
    grid = figure.add_gridspec(2, 2, width_ratios=[1.0, 1.1])
    panels.features(figure.add_subplot(grid[:, 0]), e.selection, TOP)
    panels.families(figure.add_subplot(grid[0, 1]), e.selection)
    panels.months(figure.add_subplot(grid[1, 1]), e.selection_months, e.selection)
    return figure


def attention(e: Explanation) -> Figure:
    """Attention by lag, the signed kernel by lag, and by channel and lag."""
    figure = _page(e, "Attention over lags: which days back the model reads", 15.0, 9.6)
    grid = figure.add_gridspec(2, 2)
    lags.softmax(figure.add_subplot(grid[0, 0]), e.attention)
    lags.kernel_by_lag(figure.add_subplot(grid[1, 0]), e.attention)
    lags.kernel(figure.add_subplot(grid[:, 1]), e.attention, TOP)
    return figure


def graph(e: Explanation) -> Figure:
    """Attention relative to equal shares, by type of edge, layer and head."""
    figure = _page(e, "Graph attention: which neighbours the model listens to", 11.0, 6.4)
    axes: Axes = figure.subplots()
    panels.edges(axes, e.graph)
    return figure


def strengths(e: Explanation) -> Figure:
    """Every learned strength."""
    rows = panels.strength_rows(e.strengths, TOP)
    figure = _page(
        e, "Strengths: how far each module has opened (all start at 0)",
        14.0, 3.6 + 0.24 * max(rows, 12),
    )  # fmt: skip
    grid = figure.add_gridspec(2, 3, width_ratios=[3, 4, 2])
    panels.channels(figure.add_subplot(grid[:, 0]), e.strengths, "fan", TOP)
    panels.channels(figure.add_subplot(grid[:, 1]), e.strengths, "san", TOP)
    panels.units(figure.add_subplot(grid[0, 2]), e.strengths)
    panels.horizons(figure.add_subplot(grid[1, 2]), e.strengths)
    return figure


def effects(e: Explanation) -> Figure:
    """Parts switched off; families and features shuffled."""
    kinds = [kind for kind in ("module", "family", "feature") if kind in e.effects["kind"]]
    longest = max([len(e.effects.filter(kind=kind).head(TOP)) for kind in kinds], default=1)
    title = "Effects: what the forecast loses without a part, or with a feature shuffled"
    figure = _page(e, title, 5.4 * max(len(kinds), 2), 2.8 + 0.27 * max(longest, 8))
    grid = figure.subplots(1, max(len(kinds), 2), squeeze=False)
    for axes, kind in zip(grid[0], kinds, strict=False):
        panels.losses(axes, e.effects, kind, TOP)
    for axes in grid[0, len(kinds) :]:
        nothing(axes, "Features", "not shuffled; ask for it with --permute N")
    return figure


def _page(e: Explanation, title: str, width: float, height: float) -> Figure:
    below_title = 1.0 - _MARGIN_INCHES / height
    layout = ConstrainedLayoutEngine(
        rect=(0.012, 0.015, 0.976, below_title - 0.015), wspace=0.04, hspace=0.06
    )
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    left, first = 0.2 / width, 1.0 - 0.22 / height
    figure.text(left, first, title, size=17, weight="bold", color=INK, va="top")
    modules = ", ".join(e.modules) or "none"
    days = f"{e.origin['first_day']} to {e.origin['last_day']}"
    line = (
        f"{plain(e.origin['study'])} · checkpoint {e.origin['checkpoint_sha256'][:12]} · {days}, "
        f"{plural(e.days, 'day')}, {e.tokens:,} live tokens · modules on: {modules}"
    )
    figure.text(left, first - 0.36 / height, line, size=10, color=MUTED, va="top")
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
