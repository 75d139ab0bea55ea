"""How numbers are written in summaries and reports: one place for digits, signs, units and absence.

A number that is not known is an en dash, never a zero. Minus signs are hyphens, so that the text
can be searched and pasted.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

ABSENT = "–"
METRIC_LABELS = {
    "sharpe": "Sharpe (annual, net)",
    "rank_ic": "RankIC",
    "pure_rank_ic": "pure RankIC",
    "ic": "IC",
    "weighted": "weighted objective",
}
PHASE_LABELS = {
    "baseline": "Baseline",
    "adaptive_norm": "Adaptive Norm",
    "gat": "GAT",
    "fine_tuning": "Fine-tuning",
    "augmentation": "Augmentation",
}
PHASE_PURPOSES = {
    "baseline": "the temporal fusion transformer alone, as a yardstick for what follows",
    "adaptive_norm": "frequency and slice normalisation (FAN, SAN) join in",
    "gat": "graph attention over correlated stocks joins in",
    "fine_tuning": "the whole network at a low rate, lower layers frozen by choice",
    "augmentation": "noise, masking and dropout of stocks against over-fitting",
}


def number(value: float | None, digits: int = 4) -> str:
    """Fixed decimals; an en dash for None and NaN."""
    if value is None or math.isnan(value):
        return ABSENT
    return f"{value:.{digits}f}"


def plus_minus(mean: float | None, error: float | None, digits: int = 4) -> str:
    """`mean ± error`, or the mean alone where the error is not known."""
    if error is None or math.isnan(error):
        return number(mean, digits)
    return f"{number(mean, digits)} ± {number(error, digits)}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share (0–1) in per cent."""
    if share is None or math.isnan(share):
        return ABSENT
    return f"{100.0 * share:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """Two leading units: `45 s`, `3 min 07 s`, `2 h 05 min`, `3 d 04 h`."""
    if seconds is None or math.isnan(seconds):
        return ABSENT
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h"


def file_size(size_bytes: int) -> str:
    """Bytes in binary units."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024.0:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024.0
    return f"{size:.2f} GiB"


def plural(count: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listing(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def parameter(value: Any) -> str:
    """A searched value: four significant digits, lists in brackets."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(parameter(v) for v in value)}]"
    return str(value)


def shortened(text: str, limit: int = 120) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def metric_label(metric: str, horizon_days: int) -> str:
    """The objective's metric as a reader calls it, with its horizon when that is not one day."""
    label = METRIC_LABELS.get(metric, metric)
    return label if horizon_days == 1 else f"{label}, {horizon_days} days"


def phase_label(name: str) -> str:
    """A phase as a heading."""
    return PHASE_LABELS.get(name, name.replace("_", " ").capitalize())


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1
) -> list[str]:
    """Lines of a Markdown table; columns after the first `text_columns` are set to the right."""
    rule = ["---" if k < text_columns else "---:" for k in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
