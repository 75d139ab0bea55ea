"""The pictures: every panel drawn, empty ones say why, long and odd names fit."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from atft_hpo.results import explain_figures as figures
from atft_hpo.results.explain import Explanation, explain
from atft_hpo.results.explain_axes import LONGEST_NAME, plain, short, signed_text
from atft_hpo.results.explain_frames import _channel, attention_frame
from atft_hpo.results.explain_rich import explanation_tables
from atft_hpo.training.checkpoint import load_checkpoint, save_checkpoint

NAMES = ["explain", "selection", "attention", "graph", "strengths", "effects"]


@pytest.fixture(scope="module")
def found(trained: Any) -> Explanation:
    return explain(trained.paths.best, trained.panel, "validation", shuffles=2)


@pytest.fixture(scope="module")
def bare(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    """A checkpoint without optional modules, all strengths and kernels 0, nothing shuffled."""
    content = load_checkpoint(trained.paths.best) | {"modules": []}
    for name, value in content["model"].items():
        if name.endswith(("strength", "lag_kernel")):
            value.zero_()
    path = tmp_path_factory.mktemp("bare") / "bare.pt"
    save_checkpoint(path, content)
    return explain(path, trained.panel, "validation")


def texts(figure: Figure) -> str:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        marks = [*axes.texts, axes.title, axes._left_title, *axes.get_yticklabels()]  # type: ignore[attr-defined]
        found += [text.get_text() for text in marks]
    return "\n".join(found)


@pytest.mark.parametrize("name", ["found", "bare"])
def test_every_figure_is_a_png_with_something_on_it(
    request: pytest.FixtureRequest, name: str
) -> None:
    drawn = figures.draw_figures(request.getfixturevalue(name))
    assert list(drawn) == NAMES
    for png in drawn.values():
        with Image.open(io.BytesIO(png)) as image:
            assert image.format == "PNG"
            assert min(image.size) > 500
            assert len(image.convert("L").getcolors() or []) > 20


def test_the_overview_names_features_parts_and_where_it_comes_from(found: Explanation) -> None:
    said = texts(figures.overview(found))
    for word in ("signal__a", "returns__1d", "head 1", "same sector", "graph", "sectors"):
        assert word in said
    assert f"{found.tokens:,} live tokens" in said
    assert found.origin["checkpoint_sha256"][:12] in said


def test_panels_without_data_say_why(bare: Explanation) -> None:
    assert "the graph is off" in texts(figures.graph(bare))
    assert "all strengths are 0; module off" in texts(figures.strengths(bare))
    assert "--permute" in texts(figures.effects(bare))


def test_a_model_without_attention(found: Explanation) -> None:
    assert attention_frame(None).columns == found.attention.columns
    blind = dataclasses.replace(found, attention=attention_frame(None))
    assert texts(figures.attention(blind)).count("has no attention") == 3
    assert all(png.startswith(b"\x89PNG") for png in figures.draw_figures(blind).values())
    assert len(explanation_tables(blind).renderables) + 1 == len(
        explanation_tables(found).renderables
    )


def test_four_hundred_features_show_the_top_and_say_so(found: Explanation) -> None:
    count = 400
    wide = pl.DataFrame(
        {
            "rank": range(1, count + 1),
            "feature": [f"momentum__${'very_' * 9}long_${n}d" for n in range(count)],
            "family": ["momentum"] * count,
            "decomposed": [False] * count,
            "weight": [2 * (count - n) / count / (count + 1) for n in range(count)],
        }
    )
    months = wide.select(pl.lit("2020-05").alias("month"), "feature", "weight")
    explanation = dataclasses.replace(found, selection=wide, selection_months=months)
    figure = figures.selection(explanation)
    assert "top 30 of 400" in texts(figure)
    assert len(figure.axes[0].get_yticklabels()) == 30
    assert figures._png(figure).startswith(b"\x89PNG"), "a $ in a name is no formula"


def test_names_and_numbers() -> None:
    assert short("a" * LONGEST_NAME) == "a" * LONGEST_NAME
    assert len(short("a" * 50 + "z")) == LONGEST_NAME - 1
    assert short("a" * 50 + "z").endswith("z")
    assert _channel(("a", "b"), 1) == "b"
    assert _channel(("a", "b"), 3) == "b 2"
    assert plain("$x$") == r"\$x\$"
    assert signed_text(-0.0004, 3) == "0.000"
    assert signed_text(0.25, 2) == "+0.25"
    assert signed_text(-0.5, 1) == "−0.5"


def test_the_terminal_says_what_stands_out(found: Explanation, tmp_path: Path) -> None:
    from rich.console import Console

    with (tmp_path / "out.txt").open("w+", encoding="utf-8") as file:
        Console(file=file, width=140).print(explanation_tables(found))
        file.seek(0)
        printed = file.read()
    for word in ("signal__a", "features shuffled", "lag_kernel", "same sector", "graph.strength"):
        assert word in printed
