"""`explain`: the tables of a checkpoint, on a market whose only signal is `signal__a`."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atft_hpo.config.toml import dump_config, with_values
from atft_hpo.errors import CheckpointError, ConfigError, DataError, VolumeError
from atft_hpo.paths import RunPaths
from atft_hpo.results.model_explanation.effects import forecast_change
from atft_hpo.results.model_explanation.explain import explain, write_explanation
from atft_hpo.results.model_explanation.explanation import Explanation, ExplanationFiles
from atft_hpo.results.predictions import forecast_checkpoint
from atft_hpo.training.phases.epoch_report import Decision
from atft_hpo.training.run.loop import run_phases
from atft_hpo.training.state.checkpoint import checkpoint_sha256, load_checkpoint, save_checkpoint
from atft_hpo.training.state.open_model import load_model

COLUMNS = {
    "selection": [
        "rank", "feature", "family", "normalisation", "decomposed", "weight", "relative", "std",
        "day_std", "code", "trees", "share_of_family",
    ],
    "selection_months": ["month", "tokens", "feature", "weight"],
    "selection_sectors": ["sector", "tokens", "feature", "weight"],
    "attention": [
        "path", "head", "channel", "lag", "weight", "strongest", "strongest_weight", "size",
    ],
    "graph": [
        "layer", "head", "dimension", "edge_type", "edges", "attention", "uniform", "relative",
    ],
    "strengths": ["module", "on", "parameter", "element", "channel", "value"],
    "effects": [
        "kind", "name", "horizon_days", "change", "days", "rank_ic", "rank_ic_without",
        "rank_ic_lost", "rank_ic_lost_t",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def found(trained: Any) -> Explanation:
    return explain(trained.paths.best, trained.panel, "validation", shuffles=2)


def altered(trained: Any, path: Path, **weights: Any) -> Path:
    """The best checkpoint with parameters filled: `graph__strength=0.0`."""
    content = load_checkpoint(trained.paths.best)
    for name, value in weights.items():
        content["model"][name.replace("__", ".")][...] = value
    save_checkpoint(path, content)
    return path


def effect(frame: pl.DataFrame, name: str, kind: str = "module") -> dict[str, Any]:
    return frame.filter(pl.col("kind") == kind, pl.col("name") == name).row(0, named=True)


def test_the_tables_have_the_documented_columns(found: Explanation) -> None:
    assert {name: frame.columns for name, frame in found.frames.items()} == COLUMNS


def test_tokens_are_the_live_cells_of_the_days(trained: Any, found: Explanation) -> None:
    days = forecast_checkpoint(trained.paths.best, trained.panel, "validation").days
    alive = trained.panel.alive[days.start : days.stop]
    assert not alive.all(), "one stock has left"
    assert found.tokens == alive.sum()
    assert found.days == len(days)
    assert found.origin["first_day"] == str(trained.panel.dates[days.start])
    assert found.origin["last_day"] == str(trained.panel.dates[days[-1]])


def test_selection_sums_to_one_in_every_table(trained: Any, found: Explanation) -> None:
    table = found.selection
    assert table["code"].sum() == pytest.approx(1.0)
    assert (table.filter("decomposed")["code"] == 0.0).all()
    assert sorted(table["feature"]) == sorted(trained.panel.feature_names)
    assert table["weight"].sum() == pytest.approx(1.0)
    assert table["weight"].is_sorted(descending=True)
    assert table["relative"].mean() == pytest.approx(1.0)
    shares = table.group_by("family").agg(pl.col("share_of_family").sum())
    assert shares["share_of_family"].to_list() == pytest.approx([1.0] * len(shares))
    assert table.filter("decomposed")["feature"].to_list() == ["returns__1d"]
    for key, name in (("month", "selection_months"), ("sector", "selection_sectors")):
        groups = found.frames[name]
        totals = groups.group_by(key).agg(pl.col("weight").sum(), pl.col("tokens").first())
        assert totals["weight"].to_list() == pytest.approx([1.0] * len(totals))
        assert totals["tokens"].sum() == found.tokens
        weighted = groups.group_by("feature").agg(
            (pl.col("weight") * pl.col("tokens")).sum() / found.tokens
        )
        assert dict(weighted.iter_rows()) == pytest.approx(
            dict(table.select("feature", "weight").iter_rows())
        )


def test_attention_sums_to_one_over_lags(trained: Any, found: Explanation) -> None:
    softmax = found.attention.filter(path="softmax").drop_nulls("lag")
    sums = softmax.group_by("head").agg(pl.col("weight").sum(), pl.len())
    assert set(sums["head"]) == {None, 0, 1}
    assert sums["weight"].to_list() == pytest.approx([1.0] * 3)
    assert set(sums["len"]) == {trained.config.model.lookback_days}
    assert softmax["channel"].null_count() == len(softmax)
    whole = found.attention.filter(pl.col("lag").is_null())
    assert whole["path"].to_list() == ["softmax", "kernel"]
    assert (whole["size"] > 0).all()


def test_the_kernel_is_shown_by_channel_and_lag(trained: Any, found: Explanation) -> None:
    kernel_HL = load_model(trained.paths.best, trained.panel)[0].attention.kernel().detach().numpy()
    kernel = found.attention.filter(path="kernel").drop_nulls("lag")
    assert kernel["head"].null_count() == len(kernel)
    channels = kernel.drop_nulls("channel")
    assert kernel_HL.any()
    np.testing.assert_allclose(channels["weight"], kernel_HL.ravel(), rtol=1e-6)
    hidden, lookback = kernel_HL.shape
    pairs = [(h, lag) for h in range(hidden) for lag in range(lookback)]
    assert channels.select("channel", "lag").rows() == pairs
    by_lag = kernel.filter(pl.col("channel").is_null())
    assert by_lag["lag"].to_list() == list(range(lookback))
    np.testing.assert_allclose(by_lag["weight"], (kernel_HL**2).mean(0) ** 0.5, rtol=1e-5)
    largest = kernel_HL[by_lag["strongest"].to_numpy(), by_lag["lag"].to_numpy()]
    np.testing.assert_allclose(by_lag["strongest_weight"], largest, rtol=1e-6)
    np.testing.assert_allclose(np.abs(largest), np.abs(kernel_HL).max(0))


def test_graph_shares_sum_to_one(found: Explanation) -> None:
    sums = found.graph.group_by("layer", "head", "dimension").agg(
        pl.col("attention").sum(), pl.col("uniform").sum(), pl.col("edges").sum()
    )
    assert sums["attention"].to_list() == pytest.approx([1.0] * len(sums), rel=1e-5)
    assert sums["uniform"].to_list() == pytest.approx([1.0] * len(sums))
    assert sums["edges"].n_unique() == 1
    absent = found.graph.filter(edges=0)
    assert absent["relative"].null_count() == len(absent)


def test_strengths_of_trees_are_named_and_trees_can_be_switched_off(
    trained: Any, tmp_path: Path
) -> None:
    config = with_values(
        trained.config, {"model.trees": {"rounds": 3, "leaves": 4, "blocks": 2, "bags": 1}}
    )
    paths = RunPaths(tmp_path)
    run_phases(config, trained.panel, paths, torch.device("cpu"), lambda _: Decision.CONTINUE)
    found = explain(paths.best, trained.panel, "validation", shuffles=0)
    rows = found.strengths.filter(module="trees")
    assert rows["element"].to_list() == [
        "1 d from the trees' 1 d", "1 d from the trees' 5 d",
        "5 d from the trees' 1 d", "5 d from the trees' 5 d",
    ]  # fmt: skip
    assert rows["on"].all()
    assert effect(found.effects, "trees")["change"] > 0


def test_a_feature_that_only_the_trees_use_has_an_effect(trained: Any, tmp_path: Path) -> None:
    """A net whose heads are closed passes its trees' forecast on, and nothing else."""
    trees = {"rounds": 5, "leaves": 4, "blocks": 2, "bags": 1, "feature_share": 1.0}
    config = with_values(trained.config, {"model.trees": trees})
    paths = RunPaths(tmp_path)
    run_phases(config, trained.panel, paths, torch.device("cpu"), lambda _: Decision.CONTINUE)
    content = load_checkpoint(paths.best)
    for name in ("heads.point.weight", "heads.quantile.weight", "main_forecast.strength"):
        content["model"][name][...] = 0.0
    save_checkpoint(tmp_path / "trees.pt", content)
    found = explain(tmp_path / "trees.pt", trained.panel, "validation", shuffles=2)
    gain = dict(found.selection.select("feature", "trees").iter_rows())
    assert gain["signal__a"] > 0.7
    assert sum(gain.values()) == pytest.approx(1.0)
    assert effect(found.effects, "lag_kernel")["change"] == 0.0, "the net is not closed"
    signal = effect(found.effects, "signal__a", "feature")
    assert signal["change"] > 0.3
    assert signal["rank_ic_lost"] > 0.1
    noise = effect(found.effects, "returns__1d", "feature")
    assert noise["change"] < signal["change"] / 3


def test_strengths_are_named(trained: Any, found: Explanation) -> None:
    rows = found.strengths
    fan = rows.filter(parameter="selection.added.fan.strength")
    assert fan["element"].unique().to_list() == ["returns__1d"]
    assert fan["channel"].to_list() == ["residual", "main", "energy", "scale"]
    san = rows.filter(parameter="selection.added.san.strength")
    assert san["channel"].to_list() == [
        "standard 2d", "log_std 2d", "mean 2d", "standard 8d", "log_std 8d", "mean 8d",
    ]  # fmt: skip
    forecast = rows.filter(parameter="main_forecast.strength")
    assert forecast["element"].to_list() == ["1 d", "5 d"]
    assert set(forecast["module"]) == {"fan"}
    graph = rows.filter(module="graph")
    assert graph["element"].to_list() == [f"unit {n}" for n in range(trained.config.model.hidden)]
    weights = load_checkpoint(trained.paths.best)
    np.testing.assert_allclose(graph["value"], weights["model"]["graph.strength"].numpy())
    on = dict(rows.select("module", "on").unique().iter_rows())
    assert on == {name: name in weights["modules"] for name in ("fan", "san", "graph")}


def test_the_signal_is_what_a_trained_forecast_cannot_do_without(
    trained: Any, tmp_path: Path
) -> None:
    phases = {"phases.baseline.epochs": 30, "phases.baseline.lr": 1e-2, "phases.gat.epochs": 0}
    run = RunPaths(tmp_path / "run")
    config = with_values(trained.config, phases)
    run_phases(config, trained.panel, run, torch.device("cpu"), lambda _: Decision.CONTINUE)
    found = explain(run.best, trained.panel, "validation", shuffles=2)
    signal = effect(found.effects, "signal__a", "feature")
    assert signal["rank_ic"] > 0.4
    assert signal["change"] > 0.5
    assert signal["rank_ic_lost"] > 0.3
    assert signal["rank_ic_lost"] == pytest.approx(signal["rank_ic"] - signal["rank_ic_without"])
    assert signal["rank_ic_lost_t"] > 3
    noise = effect(found.effects, "returns__1d", "feature")
    assert noise["change"] < signal["change"] / 3
    assert noise["rank_ic_lost"] < signal["rank_ic_lost"] / 3
    assert found.effects.filter(pl.col("kind") == "feature")["name"][0] == "signal__a"


def test_a_family_of_one_is_its_feature(found: Explanation) -> None:
    kinds = found.effects["kind"].cast(pl.String).unique(maintain_order=True).to_list()
    assert kinds == ["module", "family", "feature"]
    for name in ("signal__a", "returns__1d"):
        feature = effect(found.effects, name, "feature")
        family = effect(found.effects, name.split("__")[0], "family")
        assert {**feature, "kind": "", "name": ""} == {**family, "kind": "", "name": ""}


def test_a_part_of_strength_zero_has_no_effect_at_all(trained: Any, tmp_path: Path) -> None:
    closed = altered(
        trained, tmp_path / "closed.pt", graph__strength=0.0, attention__lag_kernel=0.0
    )
    found = explain(closed, trained.panel, "validation")
    for part in ("graph", "lag_kernel"):
        row = effect(found.effects, part)
        assert row["change"] == 0.0, part
        assert row["rank_ic_lost"] == 0.0, part
    assert found.graph_size == 0.0
    assert effect(found.effects, "sectors")["change"] > 0.0


def test_a_favoured_feature_and_a_kernel_set_by_hand_show(trained: Any, tmp_path: Path) -> None:
    content = load_checkpoint(trained.paths.best)
    bias_F, kernel_HB = (
        content["model"][name] for name in ("selection.weigh.norm.bias", "attention.lag_kernel")
    )
    bias_F[:] = torch.tensor([-9.0, 9.0])  # inside, the decomposed column comes last
    kernel_HB[...] = 0.0
    kernel_HB[6, 4] = -3.0  # the basis begins with single days
    save_checkpoint(tmp_path / "set.pt", content)
    found = explain(tmp_path / "set.pt", trained.panel, "validation")
    assert found.selection.row(0, named=True)["feature"] == "returns__1d"
    kernel = found.attention.filter(path="kernel").drop_nulls("lag").filter(pl.col("weight") != 0)
    assert kernel.drop_nulls("channel").select("channel", "lag", "weight").rows() == [(6, 4, -3.0)]
    by_lag = kernel.filter(pl.col("channel").is_null()).drop("head", "channel", "size", "path")
    assert by_lag.rows() == [(4, pytest.approx(3.0 / 8**0.5), 6, -3.0)]


LEFT_OUT = {
    "lstm": ("recurrence.",),
    "attention": ("attention.",),
    "static": ("enrichment.embedding.", "enrichment.film.", "enrichment.meaning."),
}
"""Prefixes of the parameters that a model without the part lacks."""


@pytest.mark.parametrize("part", list(LEFT_OUT))
def test_a_model_without_a_part_of_its_trunk(trained: Any, tmp_path: Path, part: str) -> None:
    content = load_checkpoint(trained.paths.best)
    weights = {n: w for n, w in content["model"].items() if not n.startswith(LEFT_OUT[part])}
    assert len(weights) < len(content["model"])
    config = dump_config(with_values(trained.config, {"model.without": [part]}))
    save_checkpoint(tmp_path / "cut.pt", content | {"model": weights, "config": config})
    found = explain(tmp_path / "cut.pt", trained.panel, "validation")
    assert found.attention.columns == COLUMNS["attention"]
    assert found.attention.is_empty() == (part == "attention")
    lost = {"lstm": set(), "attention": {"lag_kernel"}, "static": {"sectors"}}[part]
    parts = {*found.modules, "fan_forecast", "lag_kernel", "sectors"}
    assert set(found.effects["name"]) == parts - lost
    assert len(write_explanation(found, tmp_path / "out")) == 6 + len(COLUMNS)


def test_without_the_graph_its_table_is_empty(trained: Any, tmp_path: Path) -> None:
    content = load_checkpoint(trained.paths.best) | {"modules": ["fan"]}
    save_checkpoint(tmp_path / "fan.pt", content)
    found = explain(tmp_path / "fan.pt", trained.panel, "validation")
    assert found.modules == ("fan",)
    assert found.graph.is_empty()
    assert found.graph.columns == COLUMNS["graph"]
    assert found.graph_size is None
    assert set(found.strengths.filter("on")["module"]) == {"fan"}
    assert set(found.effects["name"]) == {"fan", "fan_forecast", "lag_kernel", "sectors"}


def test_the_same_call_gives_the_same_tables(trained: Any, found: Explanation) -> None:
    again = explain(trained.paths.best, trained.panel, "validation", shuffles=2)
    for name, frame in again.frames.items():
        assert frame.equals(found.frames[name]), name


def test_files_hold_the_tables_and_say_where_they_come_from(
    trained: Any, found: Explanation, tmp_path: Path
) -> None:
    written = write_explanation(found, tmp_path / "out")
    files = ExplanationFiles(tmp_path / "out")
    assert written[0] == files.figure("explain")
    assert set(written) == set(files.root.iterdir())
    for name, frame in found.frames.items():
        assert pl.read_parquet(files.table(name)).equals(frame), name
        metadata = pl.read_parquet_metadata(files.table(name))
        assert metadata["checkpoint_sha256"] == checkpoint_sha256(trained.paths.best)
        assert metadata["panel"] == trained.panel.fingerprint
    (tmp_path / "file").write_text("")
    with pytest.raises(VolumeError):
        write_explanation(found, tmp_path / "file" / "out")


def test_what_cannot_be_explained(trained: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no trained model"):
        explain(trained.paths.last, trained.panel, "validation")
    content = load_checkpoint(trained.paths.best)
    fewer = content["panel_record"]["features"][:-1]
    record = content["panel_record"] | {"features": fewer}
    save_checkpoint(tmp_path / "other.pt", content | {"panel_record": record})
    with pytest.raises(CheckpointError, match="another feature list"):
        explain(tmp_path / "other.pt", trained.panel, "validation")
    delayed = dump_config(with_values(trained.config, {"data.delay_days": 0}))
    save_checkpoint(tmp_path / "delay.pt", content | {"config": delayed})
    with pytest.raises(DataError, match="trained for"):
        explain(tmp_path / "delay.pt", trained.panel, "validation")


def test_the_test_range_needs_permission(trained: Any) -> None:
    with pytest.raises(ConfigError, match="test range, which begins on 2020-05-"):
        explain(trained.paths.best, trained.panel, "test")
    late = explain(trained.paths.best, trained.panel, "test", allow_test=True)
    assert late.origin["last_day"] == str(trained.panel.dates[-1])


def test_days_without_labels_have_no_rank_ic(trained: Any) -> None:
    day = trained.panel.dates[-1].astype(object)
    found = explain(trained.paths.best, trained.panel, (day, day), allow_test=True)
    assert found.days == 1
    assert found.effects["change"].null_count() == 0
    for name in ("rank_ic", "rank_ic_without", "rank_ic_lost", "rank_ic_lost_t"):
        assert found.effects[name].null_count() == len(found.effects)


forecasts = arrays(np.float64, (2, 3, 8), elements=st.floats(-5, 5, width=32))


@given(forecasts)
def test_change_is_one_minus_the_correlation(pair: np.ndarray) -> None:
    one_DN, other_DN = pair
    change_D = forecast_change(one_DN, other_DN)
    for one_N, other_N, change in zip(one_DN, other_DN, change_D, strict=True):
        if min(one_N.std(), other_N.std()) > 1e-3:
            assert change == pytest.approx(1 - np.corrcoef(one_N, other_N)[0, 1], abs=1e-9)
    same_D = forecast_change(one_DN, one_DN)
    assert not same_D[np.isfinite(same_D)].any(), "equal forecasts differ by exactly nothing"


def test_change_leaves_out_dead_stocks_and_constant_days() -> None:
    one_DN = np.array([[1.0, 2.0, 4.0, np.nan], [3.0, 3.0, 3.0, 3.0]])
    other_DN = np.array([[2.0, 1.0, 4.0, np.nan], [1.0, 2.0, 3.0, 4.0]])
    change_D = forecast_change(one_DN, other_DN)
    expected = 1 - np.corrcoef(one_DN[0, :3], other_DN[0, :3])[0, 1]
    assert change_D[0] == pytest.approx(expected)
    assert np.isnan(change_D[1])
