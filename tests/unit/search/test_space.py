"""The space: what is refused and why, what is suggested, and that applying it round-trips."""

import warnings
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config, parse_config, with_values
from atft_hpo.errors import ConfigError
from atft_hpo.search.space import (
    NOT_SEARCHABLE,
    apply,
    baseline_gaps,
    baseline_params,
    check_space,
    decode,
    space_sha256,
    suggest,
)

FLOAT = {"type": "float", "low": 0.1, "high": 0.3}


def _with_space(space: dict[str, Any], **changes: Any) -> Config:
    return build_config({**changes, "search": {"space": space}})


def _study(seed: int = 0) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed)
    )


def test_every_kind_of_domain_is_accepted(searched: Config) -> None:
    check_space(searched)


def test_the_training_label_may_be_searched() -> None:
    config = _with_space({"loss.label": {"type": "categorical", "choices": ["rank", "pure"]}})
    check_space(config)
    assert apply(config, {"loss.label": "pure"}).loss.label == "pure"


def test_empty_space_is_accepted() -> None:
    check_space(Config())


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("model.droput", "did you mean 'dropout'"),
        ("modle.dropout", "did you mean 'model'"),
        ("datas.path", "did you mean 'data'"),
        ("phases.gta.lr", "did you mean 'gat'"),
        ("phases.gat.weights.shrape", "did you mean 'sharpe'"),
        ("model", "is a section; name one of its keys: hidden"),
        ("phases.gat.weights", "is a section"),
        ("model.hidden.x", "'model.hidden' is a value, not a section"),
        ("", "unknown key"),
    ],
)
def test_unknown_keys_name_the_nearest(key: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"search.space: '{key}': .*{hint}"):
        check_space(_with_space({key: FLOAT}))


@pytest.mark.parametrize(
    "key",
    [
        "study.name",
        "data.delay_days",
        "data.pack.clip",
        "split.train_share",
        "objective.metric",
        "search.sampler.kind",
        "budget.trials",
        "runtime.precision",
        "provenance.trial",
        "seed",
        "portfolio.cost_bps",
    ],
)
def test_what_makes_trials_incomparable_is_refused_with_the_reason(key: str) -> None:
    reason = NOT_SEARCHABLE.get(key) or NOT_SEARCHABLE[key.split(".")[0]]
    with pytest.raises(ConfigError) as caught:
        check_space(_with_space({key: FLOAT}))
    assert f"{key!r}: cannot be searched: {reason}" in str(caught.value)


def test_a_key_that_only_begins_like_a_fixed_one_is_free() -> None:
    check_space(_with_space({"portfolio.clip": {"type": "float", "low": 1.0, "high": 4.0}}))


@pytest.mark.parametrize(
    ("key", "domain", "words"),
    [
        ("model.dropout", {"type": "float", "low": 0.1, "high": 1.5}, "1.5.*less than 1"),
        ("optim.weight_decay", {"type": "float", "low": -0.1, "high": 0.1}, "-0.1"),
        ("model.fan.k", {"type": "float", "low": 1.0, "high": 3.0}, "the key is an integer"),
        ("model.fan.k", {"type": "float", "low": 1.2, "high": 3.4}, "valid integer"),
        ("model.fan.k", {"type": "int", "low": 1, "high": 40}, "must stay below lookback_days"),
        ("model.fan.k", {"type": "categorical", "choices": [1.0, 2.0]}, "the key is an integer"),
        ("model.fan.k", {"type": "categorical", "choices": ["1", "2"]}, "would be read as 1"),
        ("phases.gat.augment", {"type": "int", "low": 0, "high": 1}, "would be read as False"),
        ("phases.gat.freeze", {"type": "categorical", "choices": ["none", "all"]}, "'all'"),
        ("model.gat.heads", {"type": "categorical", "choices": [[4, 2], [3]]}, "divisible"),
        ("model.gat.heads", {"type": "int", "low": 1, "high": 2}, "valid tuple"),
        ("model.lookback_days", {"type": "categorical", "choices": [20, 60]}, "context_days"),
    ],
)
def test_each_end_and_choice_must_be_valid(key: str, domain: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_space(_with_space({key: domain}))


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ({"low": 0.0, "high": 1.0, "step": 0.3}, "use high = 0.9"),
        ({"low": 0.1, "high": 0.3, "step": 0.5}, "wider than the range"),
        ({"low": 0.1, "high": 0.3, "step": 0.0}, "positive"),
        ({"low": 0.1, "high": float("inf")}, "finite"),
    ],
)
def test_grids_that_optuna_would_change_are_refused(domain: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_space(_with_space({"optim.lr_scale": {"type": "float", **domain}}))


@pytest.mark.parametrize("choices", [[True, 1], [1, 1.0], [[4], [4]], ["a", "a"]])
def test_choices_optuna_cannot_tell_apart_are_refused(choices: list[Any]) -> None:
    with pytest.raises(ConfigError, match="equals an earlier one"):
        check_space(_with_space({"model.gat.heads": {"type": "categorical", "choices": choices}}))


def test_all_problems_come_in_one_line() -> None:
    space = {"seed": FLOAT, "modle.x": FLOAT, "model.dropout": {**FLOAT, "high": 2.0}}
    with pytest.raises(ConfigError) as caught:
        check_space(_with_space(space))
    message = str(caught.value)
    assert all(f"'{key}'" in message for key in space)
    assert "\n" not in message


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 1000))
def test_what_is_suggested_can_be_applied_and_read_back(searched: Config, seed: int) -> None:
    config, study = searched, _study(seed)
    trial = study.ask()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params = suggest(trial, config)
    trial_config = apply(config, params)
    for key, value in params.items():
        node: Any = trial_config
        for part in key.split("."):
            node = getattr(node, part)
        assert (list(node) if isinstance(node, tuple) else node) == value
    stored = study.trials[0].params
    assert params["phases.gat.weights.sharpe"] * 10 == pytest.approx(
        round(params["phases.gat.weights.sharpe"] * 10)
    )
    assert decode(config, stored) == params == decode(config, params)
    assert apply(config, stored) == trial_config


def test_lists_are_stored_as_json_text(searched: Config) -> None:
    study = _study()
    params = suggest(study.ask(), searched)
    assert params["model.gat.heads"] in ([4, 2], [2, 1], [4])
    assert study.trials[0].params["model.gat.heads"] in ("[4, 2]", "[2, 1]", "[4]")


def test_a_string_choice_that_looks_like_json_stays_text() -> None:
    config = _with_space({"data.path": {"type": "categorical", "choices": ["[1]", "x"]}})
    assert decode(config, {"data.path": "[1]"}) == {"data.path": "[1]"}


def test_pairs_that_exclude_each_other_fail_when_applied() -> None:
    config = _with_space(
        {
            "model.lookback_days": {"type": "categorical", "choices": [8, 20]},
            "model.fan.k": {"type": "int", "low": 1, "high": 6},
        }
    )
    check_space(config)
    with pytest.raises(ConfigError, match=r"model.fan.k is 6; it must stay below"):
        apply(config, {"model.lookback_days": 8, "model.fan.k": 6})


def test_applying_nothing_changes_nothing(searched: Config) -> None:
    assert apply(searched, {}) is searched


def test_the_baseline_is_the_base_itself(searched: Config) -> None:
    params = baseline_params(searched)
    assert set(params) == set(searched.search.space)
    assert params["model.gat.heads"] == "[4, 2]"
    assert baseline_gaps(searched) == ()
    assert apply(searched, suggest(FixedTrial(params), searched)) == searched


def test_the_enqueued_baseline_is_the_first_trial(searched: Config) -> None:
    study = _study()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.enqueue_trial(baseline_params(searched))
        trial_config = apply(searched, suggest(study.ask(), searched))
    assert trial_config == searched


def test_baseline_values_outside_the_space_are_left_out_and_told(searched: Config) -> None:
    config = with_values(
        searched,
        {"model.dropout": 0.5, "phases.gat.weights.sharpe": 0.15, "model.gat.heads": [1]},
    )
    left_out = set(config.search.space) - set(baseline_params(config))
    assert left_out == {"model.dropout", "phases.gat.weights.sharpe", "model.gat.heads"}
    assert len(baseline_gaps(config)) == 3
    assert (
        "the baseline's model.dropout = 0.5 is not in its search space" in baseline_gaps(config)[0]
    )


def test_an_absent_base_value_is_left_out() -> None:
    config = _with_space({"slices.stocks": {"type": "int", "low": 20, "high": 40}})
    check_space(config)
    assert baseline_params(config) == {}


def test_the_hash_sees_the_space_only(searched: Config) -> None:
    here = space_sha256(searched)
    assert here == space_sha256(with_values(searched, {"model.hidden": 32, "seed": 3}))
    turned = dict(reversed(searched.search.space.items()))
    search = searched.search.model_copy(update={"space": turned})
    assert here == space_sha256(searched.model_copy(update={"search": search}))
    assert len(here) == 64


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "float", "low": 0.1, "high": 0.4},
        {"type": "float", "low": 0.1, "high": 0.3, "log": True},
        {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1},
        {"type": "categorical", "choices": [0.1, 0.3]},
    ],
)
def test_a_changed_domain_changes_the_hash(changed: dict[str, Any]) -> None:
    before = space_sha256(_with_space({"model.dropout": FLOAT}))
    assert space_sha256(_with_space({"model.dropout": changed})) != before
    assert space_sha256(_with_space({"optim.lr_scale": FLOAT})) != before


def test_the_hash_does_not_depend_on_how_the_toml_is_written() -> None:
    first = parse_config('[search.space]\n"model.dropout" = {type="float", low=0, high=0.5}')
    other = parse_config('[search.space."model.dropout"]\nhigh=5e-1\nlow=0.0\ntype="float"')
    assert space_sha256(first) == space_sha256(other)
