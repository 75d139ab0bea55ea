"""TOML in and out: equal round trips, and errors that name file, key and remedy in one line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.config.schema import Config, Provenance
from atft_hpo.config.toml import (
    build_config,
    dump_config,
    load_config,
    nearest,
    parse_config,
    section_at,
    with_values,
)
from atft_hpo.errors import ConfigError

SPACE = {
    "model.dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "model.gat.heads": {"type": "categorical", "choices": [[4, 2], [2, 1]]},
    "model.fan.k": {"type": "int", "low": 1, "high": 4, "step": 1},
}


def test_defaults_survive_the_round_trip() -> None:
    assert parse_config(dump_config(Config())) == Config()


def test_a_full_configuration_survives_the_round_trip() -> None:
    config = build_config(
        {
            "study": {"name": "x", "question": 'Why "so"?\nSecond line \\ ü 月'},
            "search": {"space": SPACE},
            "slices": {"stocks": 30},
            "budget": {"target_value": 1.5, "trial_hours": 0.5},
            "objective": {"metric": "weighted", "weights": {"rank_ic": 1.0}},
        }
    )
    origin = Provenance(study="x", trial=3, panel="p", features_sha256="f", version="1")
    config = config.model_copy(update={"provenance": origin})
    assert parse_config(dump_config(config)) == config


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "optim.lr_scale": st.floats(1e-12, 1e6),
            "model.dropout": st.floats(0.0, 0.99),
            "phases.gat.epochs": st.integers(0, 10**6),
            "phases.gat.lr": st.floats(1e-300, 1e3),
            "study.question": st.text(max_size=30),
            "seed": st.integers(0, 2**62),
        }
    )
)
def test_any_values_survive_the_round_trip(values: dict[str, Any]) -> None:
    config = with_values(Config(), values)
    assert parse_config(dump_config(config)) == config


def test_files_are_read_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('[study]\nquestion = "日本?"\n', encoding="utf-8")
    assert load_config(path).study.question == "日本?"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"cannot be read \(No such file or directory\); give an existing TOML file"),
        (b"[study\n", "not valid TOML: .*line 1"),
        (b"\xff\xfe[study]", "byte 0 is not UTF-8"),
        (b"[modle]\nhidden = 3", "unknown key 'modle': did you mean 'model'"),
        (b"[model]\nhidden = 'x'", "model.hidden = 'x': .*valid integer"),
        (b"phases = 3", "phases = 3"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give an existing TOML file"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model]\nhiden = 8", "unknown key 'model.hiden': did you mean 'hidden'"),
        ("[phases.gta]\nlr = 1.0", "unknown key 'phases.gta': did you mean 'gat'"),
        ("[phases.gat.weights]\nshrape = 1.0", "did you mean 'sharpe'"),
        ("[phases.gat]\nspeed = 1.0", "unknown key 'phases.gat.speed': .*valid keys: augment"),
        ("[search.pruner]\nkeep = 0.5", "did you mean 'keep_share'"),
        ("[provenance]\nstudy = 'a'\ntrial = 1", "provenance.panel is missing"),
    ],
)
def test_wrong_keys_name_the_nearest(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('"model.dropout" = {type="float", lwo=0.1, high=0.2}', "did you mean 'low'"),
        ('"model.dropout" = {type="float", high=0.2}', "float.low is missing"),
        ('"model.dropout" = {low=0.1, high=0.2}', "has no type"),
        ('model.dropout = {type="float", low=0.1, high=0.2}', "write a dotted key in quotes"),
    ],
)
def test_slips_in_the_space_are_told(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(f"[search.space]\n{line}\n")


def test_several_problems_come_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config("[model]\nhidden = 'x'\ndroput = 1\n[optim]\nlr_scale = -1")
    message = str(caught.value)
    assert message.count(";") == 2
    assert "\n" not in message


def test_with_values_replaces_deep_keys_only() -> None:
    config = with_values(
        Config(), {"phases.gat.weights.sharpe": 0.25, "model.gat.heads": [2], "slices.stocks": 40}
    )
    assert config.phases.gat.weights.sharpe == 0.25
    assert config.model.gat.heads == (2,)
    assert config.slices.stocks == 40
    assert config.phases.gat.weights.rank_ic == Config().phases.gat.weights.rank_ic
    assert config.phases.fine_tuning == Config().phases.fine_tuning
    assert Config().model.gat.heads == (4, 2)


def test_with_values_keeps_the_space() -> None:
    config = build_config({"search": {"space": SPACE}})
    assert with_values(config, {"model.dropout": 0.3}).search == config.search


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model.hiden": 8}, "configuration with model.hiden: unknown key 'model.hiden'"),
        ({"nothing": 8}, "unknown key 'nothing'"),
        ({"model.hidden.x": 8}, "'hidden' is a value, not a section"),
        ({"model.gat.heads.x": 8}, "'heads' is a value, not a section"),
        ({"model": 8}, "model = 8"),
        ({"model.hidden": 8, "model.attention_heads": 3}, "must be divisible"),
    ],
)
def test_with_values_refuses_what_the_schema_refuses(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        with_values(Config(), values)


def test_values_that_need_each_other_are_set_together() -> None:
    values = {"model.lookback_days": 60, "slices.context_days": 60}
    assert with_values(Config(), values).model.lookback_days == 60


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ((), "Config"),
        (("model", "gat"), "GatConfig"),
        (("phases", "gat", "weights"), "LossWeights"),
        (("provenance",), "Provenance"),
        (("model", "hidden"), None),
        (("model", "nothing"), None),
        (("search", "space", "x"), None),
    ],
)
def test_sections_are_found_by_path(path: tuple[str, ...], name: str | None) -> None:
    section = section_at(path)
    assert (section.__name__ if section else None) == name


def test_nearest_lists_all_when_nothing_is_near() -> None:
    assert nearest("zzz", ["b", "a"]) == "valid keys: a, b"
    assert nearest("dropuot", ["dropout", "drop"]) == "did you mean 'dropout'?"


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[3].glob("studies/*.toml")), ids=str)
def test_the_studies_of_the_project_are_valid(path: Path) -> None:
    config = load_config(path)
    assert parse_config(dump_config(config)) == config
    assert config.study.question
