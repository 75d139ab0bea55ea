"""The pictures: every panel drawn, empty ones say why, long and odd names fit."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from atft_hpo.config.model_schema import ModelConfig, SanConfig
from atft_hpo.model.inspection.watch_attention import AttentionSums
from atft_hpo.results.model_explanation import pictures as figures
from atft_hpo.results.model_explanation.axes import LONGEST_NAME, plain, short, signed_text
from atft_hpo.results.model_explanation.explain import explain
from atft_hpo.results.model_explanation.explanation import Explanation
from atft_hpo.results.model_explanation.frames import attention_frame, channel_names
from atft_hpo.results.model_explanation.terminal import explanation_tables
from atft_hpo.training.state.checkpoint import load_checkpoint, save_checkpoint

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
    for word in ("signal__a", "returns__1d", "channel 1", "same sector", "graph", "sectors"):
        assert word in said
    assert f"{found.tokens:,} live tokens" in said
    assert found.origin["checkpoint_sha256"][:12] in said


def test_panels_without_data_say_why(bare: Explanation) -> None:
    assert "the graph is off" in texts(figures.graph(bare))
    assert "all strengths are 0; module off" in texts(figures.strengths(bare))
    assert "κ is 0 everywhere" in texts(figures.attention(bare))
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


def test_san_channels_carry_the_days_they_look_at() -> None:
    names = channel_names(ModelConfig(san=SanConfig(slice_days=5, spans=(1, 4))))["san"]
    assert names == [
        "standard 5d", "log_std 5d", "mean 5d", "standard 20d", "log_std 20d", "mean 20d",
    ]  # fmt: skip
    cut = ModelConfig(lookback_days=20, san=SanConfig(slice_days=10, spans=(4, 8)))
    assert channel_names(cut)["san"][::3] == ["standard 20d", "standard 20d #2"]


def test_the_kernels_map_begins_with_its_strongest_channel(found: Explanation) -> None:
    channels, lags = 50, 8
    kernel_HL = np.random.default_rng(0).normal(size=(channels, lags))
    kernel_HL[17] *= 10
    weight_AL = torch.ones(2, lags, dtype=torch.float64)
    sums = AttentionSums(8.0, torch.from_numpy(kernel_HL), weight_AL, 1.0, 0.25, 4.0)
    frame = attention_frame(sums)
    assert frame.columns == found.attention.columns
    assert frame.filter(pl.col("lag").is_null())["size"].to_list() == [0.5, 0.25]
    figure = figures.attention(dataclasses.replace(found, attention=frame))
    said = texts(figure)
    assert "top 30 of 50" in said
    assert "softmax 50%, kernel 25%" in said
    order = [text.get_text() for text in figure.axes[2].get_yticklabels()]
    assert order[0] == "channel 17"
    assert len(order) == 30
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array()[0], kernel_HL[17])


def test_names_and_numbers() -> None:
    assert short("a" * LONGEST_NAME) == "a" * LONGEST_NAME
    assert len(short("a" * 50 + "z")) == LONGEST_NAME - 1
    assert short("a" * 50 + "z").endswith("z")
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
