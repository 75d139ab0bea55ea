"""Markup: everything is escaped once, the page fetches nothing."""

import re
from pathlib import Path

import plotly.graph_objects as go
import pytest

from atft_hpo.errors import VolumeError
from atft_hpo.results.study_report.page import (
    Markup,
    joined,
    outcome_bar,
    stats,
    table,
    tag,
    write_page,
)
from atft_hpo.results.study_report.page import Stat as PageStat
from atft_hpo.results.study_report.theme import Plate

NASTY = "<script>alert('x')</script> & \"q\""


def test_text_is_escaped_once_and_markup_is_kept() -> None:
    inner = tag("b", NASTY)
    assert "<script>" not in inner
    assert "&lt;script&gt;" in inner
    assert tag("p", inner) == f"<p>{inner}</p>"
    assert isinstance(joined(("a", inner)), Markup)
    assert joined((NASTY, inner)).count("&lt;script&gt;") == 2


def test_attributes_are_escaped() -> None:
    assert tag("p", "", title='"><script>') == '<p title="&quot;&gt;&lt;script&gt;"></p>'
    assert tag("p", "", class_="note", aria_label="x") == '<p class="note" aria-label="x"></p>'


def test_tables_escape_cells_and_mark_a_row() -> None:
    text = table([("a.b", "t"), ("n", "n")], [("1", NASTY), ("2", "3")], marked=1)
    assert "<script>" not in text
    assert text.count('class="best"') == 1
    assert '<tr class="best"><td class="t">2</td>' in text


def test_outcome_bar_is_proportional() -> None:
    bar = outcome_bar({"PRUNED": 3, "COMPLETE": 1})
    assert "flex:3" in bar
    assert bar.index("1 complete") < bar.index("3 pruned"), "in the order of the colours"
    assert "crashed" not in bar


def test_the_page_is_whole_and_asks_for_nothing(tmp_path: Path) -> None:
    figure = go.Figure(go.Scatter(x=[1], y=[2], name=NASTY))
    parts = [tag("p", NASTY), Plate("Seen.", figure, NASTY), Plate("Unseen.", None, NASTY)]
    out = write_page(tmp_path / "sub" / "page.html", NASTY, [*parts, stats([PageStat("a", "1")])])
    text = out.read_text(encoding="utf-8")
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "default-src 'none'" in own
    assert not re.findall(r'(?:src|href)="(?!data:)', own)
    assert "http" not in own.replace("http-equiv", "")
    assert NASTY not in text, "nor inside a figure's data"
    assert "&lt;script&gt;alert(&#x27;x&#x27;)" in own
    assert own.count("<h3>") == 2


def test_a_page_that_cannot_be_written_is_a_volume_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VolumeError, match="cannot be written"):
        write_page(tmp_path / "file" / "page.html", "t", [])
