"""The schema: defaults that hold together, checks that name the setting, nothing unknown."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from atft_hpo.config.schema import Config
from atft_hpo.config.section import Section
from atft_hpo.config.toml import build_config, dump_config, parse_config
from atft_hpo.config.training_schema import PHASE_NAMES, PhasesConfig
from atft_hpo.errors import ConfigError


def _section_of(annotation: Any) -> type[BaseModel] | None:
    kinds = (annotation, *get_args(annotation))
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for info in model.model_fields.values():
        if section := _section_of(info.annotation):
            yield from _sections(section)


def test_defaults_are_valid() -> None:
    assert Config() == build_config({})


@pytest.mark.parametrize("section", list(_sections(Config)), ids=lambda s: s.__name__)
def test_sections_are_frozen_and_refuse_unknown_keys(section: type[BaseModel]) -> None:
    assert issubclass(section, Section)
    assert section.model_config["frozen"] is True
    assert section.model_config["extra"] == "forbid"


def test_frozen_means_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().model.hidden = 3  # type: ignore[misc]


def test_every_value_says_what_it_means() -> None:
    """Sections have their own docstring; a value has one under it."""
    silent = [
        f"{section.__name__}.{name}"
        for section in _sections(Config)
        for name, info in section.model_fields.items()
        if not info.description and _section_of(info.annotation) is None
    ]
    assert silent == []
    assert all(section.__doc__ for section in _sections(Config))


def test_phase_table_is_the_designs() -> None:
    phases = Config().phases
    assert [name for name, _ in phases.in_order] == list(PHASE_NAMES)
    assert [phase.epochs for _, phase in phases.in_order] == [5, 10, 8, 6, 15]
    assert [phase.lr for _, phase in phases.in_order] == [5e-4, 5e-4, 1e-4, 5e-5, 5e-5]
    assert [phase.weights.sharpe for _, phase in phases.in_order] == [0.0, 0.1, 0.1, 0.15, 0.2]
    assert phases.adaptive_norm.horizon_weights == (1.0, 0.45, 0.25, 0.10)


def test_a_phase_given_in_part_keeps_its_other_defaults() -> None:
    config = build_config({"phases": {"gat": {"epochs": 2, "weights": {"sharpe": 0.3}}}})
    gat, default = config.phases.gat, Config().phases.gat
    assert gat.epochs == 2
    assert gat.weights.sharpe == 0.3
    assert gat.weights.rank_ic == default.weights.rank_ic
    assert (gat.lr, gat.modules, gat.horizon_weights) == (
        default.lr,
        default.modules,
        default.horizon_weights,
    )
    assert config.phases.augmentation == Config().phases.augmentation


def test_phases_without_epochs_are_left_out() -> None:
    config = build_config({"phases": {"gat": {"epochs": 0}}})
    assert "gat" not in dict(config.phases.in_order)
    assert len(config.phases.in_order) == 4


def test_spans_of_san_are_cut_to_the_lookback() -> None:
    values = {"lookback_days": 12, "san": {"slice_days": 5, "spans": [1, 2, 4]}}
    assert Config(model=values).model.san_windows_days == (5, 10, 12)


def test_phases_can_be_given_as_models() -> None:
    assert Config(phases=PhasesConfig()) == Config()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": {"hidden": 30}}, "model.hidden is 30; .* model.attention_heads = 4"),
        ({"model": {"gat": {"heads": [3]}}}, "divisible by model.gat.heads = 3"),
        ({"model": {"fan": {"k": 11}}}, "model.fan.k is 11; .*= 11"),
        ({"model": {"lookback_days": 4, "fan": {"k": 1}}}, "san.slice_days is 5"),
        ({"model": {"quantiles": [0.5, 0.1]}}, "expected ascending levels"),
        ({"model": {"dropout": 1.0}}, "model.dropout = 1.0: .*less than 1"),
        ({"slices": {"context_days": 5}}, "context_days is 5; .*lookback_days = 20"),
        ({"data": {"horizons_days": [5, 1]}}, "ascending days beginning with 1"),
        ({"data": {"horizons_days": []}}, "ascending days beginning with 1"),
        ({"objective": {"horizon_days": 3}}, "objective.horizon_days is 3; expected one of"),
        ({"split": {"train_share": 0.9}}, "must stay below 1"),
        ({"split": {"fold": 1}}, "split.fold is 1, but split.folds is 1"),
        ({"phases": {name: {"epochs": 0} for name in PHASE_NAMES}}, "at least one phase"),
        ({"phases": {"gat": {"modules": ["gnn"]}}}, "'fan', 'san' or 'graph'"),
        ({"study": {"name": "../up"}}, "study.name = '../up'"),
        ({"study": {"name": "a" * 65}}, "at most 64"),
        ({"seed": -1}, "seed = -1"),
        ({"search": {"pruner": {"keep_share": 0.0}}}, "keep_share = 0.0"),
        ({"search": {"pruner": {"kind": "asha"}}}, "kind = 'asha'"),
        ({"optim": {"clip_norm": float("nan")}}, "clip_norm = nan"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_config(values)


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ({"type": "float", "low": 1.0, "high": 1.0}, "expected low < high"),
        ({"type": "float", "low": 0.0, "high": 1.0, "log": True}, "low > 0 with log"),
        ({"type": "float", "low": 0.1, "high": 1.0, "log": True, "step": 0.1}, "exclude"),
        ({"type": "int", "low": 2, "high": 1}, "expected low < high"),
        ({"type": "int", "low": 0, "high": 3, "log": True}, "low >= 1 with log"),
        ({"type": "int", "low": 1, "high": 3, "log": True, "step": 2}, "exclude"),
        ({"type": "int", "low": 1.5, "high": 3}, "low = 1.5"),
        ({"type": "categorical", "choices": [1]}, "expected at least 2"),
        ({"type": "flaot", "low": 1, "high": 2}, "'float', 'int', 'categorical'"),
    ],
)
def test_wrong_domains_are_named(domain: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_config({"search": {"space": {"model.dropout": domain}}})


@pytest.mark.parametrize("choice", [True, 1, 1.5, "a", (4, 2)])
def test_choices_keep_their_types(choice: Any) -> None:
    domain = {"type": "categorical", "choices": [choice, "other"]}
    stored = build_config({"search": {"space": {"x": domain}}}).search.space["x"]
    assert stored.type == "categorical"
    assert stored.choices[0] == choice
    assert type(stored.choices[0]) is type(choice)


def test_fewer_horizons_shorten_the_default_weights_only() -> None:
    config = parse_config("[data]\nhorizons_days = [1, 5]\n[phases.gat]\nepochs = 2\n")
    assert config.phases.gat.horizon_weights == (1.0, 0.8)
    assert config.phases.gat.epochs == 2
    assert config.phases.augmentation.patience == 5
    with pytest.raises(ConfigError, match="3 values for 2 horizons"):
        parse_config("[data]\nhorizons_days = [1, 5]\n[phases.gat]\nhorizon_weights = [1, 1, 1]\n")


def test_a_pruner_that_could_never_compare_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_peers = 3, min_peers = 5.*raise max_peers"):
        build_config({"search": {"pruner": {"max_peers": 3}}})
    build_config({"search": {"pruner": {"max_peers": 3, "kind": "median"}}})


DATES = {
    "train_first": "2015-01-05", "train_last": "2018-01-05", "validation_first": "2018-02-05",
    "validation_last": "2019-02-05", "test_first": "2019-03-05", "test_last": "2020-03-05",
    "purge_days": 21, "embargo_days": 5,
}  # fmt: skip


def test_a_split_is_shares_or_dates() -> None:
    config = build_config({"split": {"dates": DATES}})
    assert config.model_dump(mode="json")["split"] == {"dates": DATES}
    assert config.split.model_dump(mode="json") == {"dates": DATES}
    assert parse_config(dump_config(config)) == config
    assert "train_share" in dump_config(Config())
    assert "train_share" not in dump_config(config)
    both = {"split": {"dates": DATES, "train_share": 0.5, "fold": 0}}
    with pytest.raises(ConfigError, match=r"leave out split.train_share, split.fold, or"):
        build_config(both)
    written = "split.dates.train_first = 2015-01-05"  # a date of TOML's own
    others = [f"split.dates.{k} = {v!r}" for k, v in DATES.items() if k != "train_first"]
    assert parse_config("\n".join([written, *others])) == config


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("train_last", "2018-02-05", "validation_first is 2018-02-05, train_last is 2018-02-05"),
        ("test_last", "2019-01-01", "test_last is 2019-01-01, test_first is 2019-03-05"),
        ("purge_days", 20, "reach 21 days ahead, the gaps of split.dates were left for 20"),
        ("train_first", "soon", "split.dates.train_first = 'soon'"),
    ],
)
def test_dates_that_cannot_be(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_config({"split": {"dates": DATES | {key: value}}})
