"""One self-contained HTML page: plotly inline, nothing fetched, every text escaped.

    write_page(out, "Study quick", [heading("…"), plate(figure_plate), table(head, rows)])

The functions below turn plain text and plates into markup; text that comes from a study is given
to them as it is and escaped here, nowhere else. The page forbids itself any request by a content
security policy, so it can be mailed and opened anywhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from itertools import count
from pathlib import Path
from string import Template

import plotly.io
from plotly.offline import get_plotlyjs

from atft_hpo import __version__
from atft_hpo.files import write_atomically
from atft_hpo.results.study_report.theme import STATUS_COLOURS, Plate, status_label

_PLOTLY_OPTIONS = {"displayModeBar": False, "responsive": True}


class Markup(str):
    """HTML that is ready for the page; any other text is escaped first."""

    __slots__ = ()


@dataclass(frozen=True)
class Stat:
    """One number of a page's head."""

    label: str
    value: str
    note: str = ""


def write_page(out: Path, title: str, parts: Iterable[Markup | Plate]) -> Path:
    """Write the page to `out`, whole or not at all.

    Raises:
        VolumeError: the volume is full or cannot be written.
    """
    numbers = count(1)
    body = [_plate(p, next(numbers)) if isinstance(p, Plate) else p for p in parts]
    template = files("atft_hpo.results.study_report").joinpath("page.html").read_text("utf-8")
    text = Template(template).substitute(
        title=escape(title),
        plotly=get_plotlyjs(),
        body="\n".join(body),
        footer=f"Written by atft-hpo {__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
    )
    write_atomically(out, text.encode())
    return out


def tag(name: str, content: str, **attributes: str) -> Markup:
    """An element; `class_` is `class`. Content is escaped unless it is Markup."""
    pairs = "".join(
        f' {k.rstrip("_").replace("_", "-")}="{escape(v)}"' for k, v in attributes.items()
    )
    return Markup(f"<{name}{pairs}>{_safe(content)}</{name}>")


def joined(parts: Iterable[str]) -> Markup:
    """Parts one after the other, each escaped unless it is Markup."""
    return Markup("".join(_safe(p) for p in parts))


def stats(items: Sequence[Stat]) -> Markup:
    """A row of large numbers."""
    cells = (
        tag("div", joined((tag("dt", s.label), tag("dd", joined((s.value, tag("small", s.note)))))))
        for s in items
    )
    return tag("dl", joined(cells), class_="stats")


def outcome_bar(counts: Mapping[str, int]) -> Markup:
    """Trials by status as one bar in the outcomes' colours, with its key."""
    parts, keys = [], []
    for status in (s for s in STATUS_COLOURS if counts.get(s)):
        colour, label = STATUS_COLOURS[status], f"{counts[status]} {status_label(status)}"
        parts.append(
            tag("span", "", style=f"flex:{counts[status]};background:{colour}", title=label)
        )
        keys.append(tag("li", joined((dot(status), label))))
    bar = tag("div", joined(parts), class_="bar", role="img", aria_label="trials by outcome")
    return joined((bar, tag("ul", joined(keys), class_="key")))


def dot(status: str) -> Markup:
    """The colour of a status as a dot."""
    return tag("span", "", class_="dot", style=f"background:{STATUS_COLOURS[status]}")


def table(
    head: Sequence[tuple[str, str]],
    rows: Iterable[Sequence[str]],
    marked: int | None = None,
) -> Markup:
    """A table; each column of `head` is (label, class: "n" number, "t" short text, "w" prose).

    Row `marked` (from 0) is set off.
    """
    kinds = [kind for _, kind in head]
    top = tag("tr", joined(tag("th", _breakable(label), class_=kind) for label, kind in head))
    body = []
    for number, row in enumerate(rows):
        cells = joined(tag("td", c, class_=k) for c, k in zip(row, kinds, strict=True))
        body.append(tag("tr", cells, class_="best" if number == marked else ""))
    content = joined((tag("thead", top), tag("tbody", joined(body))))
    return tag("div", tag("table", content), class_="scroll")


def absent(title: str, why: str) -> Markup:
    """What stands in the place of a figure that cannot be drawn."""
    return joined((tag("h3", title), tag("p", why, class_="absent")))


def _plate(plate: Plate, number: int) -> Markup:
    if plate.figure is None:
        return absent(plate.title, plate.note)
    drawing = plotly.io.to_html(
        plate.figure,
        config=_PLOTLY_OPTIONS,
        include_plotlyjs=False,
        full_html=False,
        div_id=f"plate-{number}",
    )
    return joined(
        (
            tag("h3", plate.title),
            tag("p", plate.note, class_="note"),
            tag("figure", Markup(drawing), aria_label=plate.title),
        )
    )


def _breakable(key: str) -> Markup:
    """A dotted key that may be broken after its dots."""
    return joined(".\N{ZERO WIDTH SPACE}" if c == "." else c for c in key)


def _safe(content: str) -> str:
    return content if isinstance(content, Markup) else escape(content)
