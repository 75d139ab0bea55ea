"""The panels of an explanation's pictures that show the attention over lags."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from atft_hpo.results.model_explanation.axes import (
    DIVERGING,
    heads_of,
    lag_ticks,
    largest_size,
    legend,
    nothing,
    percent,
    sign_colours,
    titled,
)
from atft_hpo.results.model_explanation.frames import KERNEL, SOFTMAX
from atft_hpo.results.study_report.theme import GRID, INK, SECOND_SERIES

LAG = "lag, trading days"
NO_ATTENTION = "the model has no attention"


def softmax(axes: Axes, attention: pl.DataFrame) -> None:
    """Attention by lag: each head thin, their mean, which the model uses, as bars."""
    if attention.is_empty():
        nothing(axes, "Softmax attention", NO_ATTENTION)
        return
    rows = attention.filter(pl.col("path") == SOFTMAX, pl.col("lag").is_not_null())
    mean = rows.filter(pl.col("head").is_null())
    axes.bar(mean["lag"].to_list(), mean["weight"].to_list(), color=SECOND_SERIES, width=0.8,
             label="mean of heads, in use")  # fmt: skip
    for head, colour in heads_of(rows):
        one = rows.filter(head=head)
        axes.plot(one["lag"].to_list(), one["weight"].to_list(), color=colour, lw=1.4,
                  label=f"head {head}")  # fmt: skip
    axes.axhline(1.0 / len(mean), color=INK, lw=1, ls=":", label="equal attention")
    axes.set_ylim(0, 1.3 * max(rows["weight"]))
    lag_ticks(axes, len(mean))
    percent(axes.yaxis)
    legend(axes, columns=2)
    titled(axes, "Softmax attention", "sums to 100 % over lags", x=LAG, y="mean attention")


def kernel(axes: Axes, attention: pl.DataFrame, count: int) -> None:
    """The signed kernel κ as a map of lags by channels, the strongest `count` channels first."""
    title = "Signed kernel κ by channel"
    rows = attention.filter(path=KERNEL).drop_nulls("channel")
    if rows.is_empty():
        nothing(axes, title, NO_ATTENTION)
        return
    table = rows.pivot("lag", index="channel", values="weight")
    kernel_HL = table.drop("channel").to_numpy()
    if not kernel_HL.any():
        nothing(axes, title, "κ is 0 everywhere")
        return
    order = np.argsort(-np.square(kernel_HL).sum(axis=1), kind="stable")[:count]
    bound = largest_size(rows["weight"])
    axes.imshow(kernel_HL[order], cmap=DIVERGING, vmin=-bound, vmax=bound, aspect="auto")
    lag_ticks(axes, kernel_HL.shape[1])
    more = f"top {count} of {len(kernel_HL)}" if count < len(kernel_HL) else "all channels"
    note = f"{more} by size; blue > 0, red < 0; darkest: ±{bound:.2g}"
    titled(axes, title, note, x=LAG)
    axes.set_yticks(range(len(order)), [f"channel {table['channel'][int(h)]}" for h in order])
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.grid(False)


def kernel_by_lag(axes: Axes, attention: pl.DataFrame) -> None:
    """Size of κ by lag: root mean square over channels, and the strongest channel with its sign."""
    title = "Signed kernel κ by lag"
    rows = attention.filter(path=KERNEL).drop_nulls("strongest")
    if rows.is_empty():
        nothing(axes, title, NO_ATTENTION)
        return
    value = rows["strongest_weight"].to_numpy()
    axes.bar(rows["lag"].to_list(), rows["weight"].to_list(), color=SECOND_SERIES, width=0.8,
             label="root mean square over channels")  # fmt: skip
    axes.vlines(rows["lag"], 0.0, value, color=GRID, lw=1.2, zorder=0)
    axes.scatter(rows["lag"], value, s=22, c=sign_colours(value), label="strongest channel, signed")
    axes.axhline(0.0, color=INK, lw=1)
    reach = 1.4 * (largest_size(rows["strongest_weight"]) or 1.0)
    axes.set_ylim(-reach, reach)
    lag_ticks(axes, len(rows))
    legend(axes)
    sizes = attention.filter(pl.col("lag").is_null()).select("path", "size")
    shares = ", ".join(f"{path} {size:.0%}" for path, size in sizes.iter_rows())
    titled(axes, title, f"change of the output without a path: {shares}", x=LAG, y="value of κ")
