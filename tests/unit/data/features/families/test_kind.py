"""Windows, names and the one documented order."""

import numpy as np
import pytest

from atft_hpo.config.data_schema import FeaturesConfig
from atft_hpo.data.features.families import FAMILIES, features_of
from atft_hpo.data.features.families.kind import Feature, Kind, interleave, order_of_family
from atft_hpo.errors import ConfigError


def kind(name: str, **settings: object) -> Kind:
    return Kind(name, "x over {w}", lambda h, w: np.zeros((1, w)), **settings)


def test_a_kind_uses_the_windows_that_make_sense_for_it() -> None:
    assert kind("a").windows((5, 1, 5, 20)) == (1, 5, 20)
    assert kind("a", least=2, most=10).windows((1, 2, 10, 20)) == (2, 10)
    assert kind("a", fixed=(3, 4)).windows((1, 2)) == (3, 4)
    assert kind("a", fixed=()).windows((1, 2)) == (0,)
    assert kind("a").windows(()) == ()


def test_name_and_formula_carry_the_window() -> None:
    feature = Feature("family", kind("a"), 5)
    assert (feature.name, feature.formula) == ("family__a_5d", "x over 5")
    assert Feature("family", kind("a", fixed=()), 0).name == "family__a"


def test_within_a_family_every_kind_comes_before_a_second_window() -> None:
    ordered = order_of_family("f", [kind("a"), kind("b", least=5)], (1, 2, 5, 10, 20))
    names = [feature.name for feature in ordered]
    assert names[:2] == ["f__a_5d", "f__b_10d"]
    assert len(names) == len(set(names)) == 8


def test_families_are_merged_in_proportion() -> None:
    large = [Feature("large", kind("a"), w) for w in range(1, 9)]
    small = [Feature("small", kind("a"), w) for w in range(1, 5)]
    merged = interleave([large, small])
    assert [f.window for f in merged if f.family == "large"] == list(range(1, 9))
    for end in range(3, 13, 3):
        assert sum(f.family == "small" for f in merged[:end]) == end // 3


def test_default_families_make_the_seed_scale() -> None:
    config = FeaturesConfig()
    assert len(features_of(config)) == 395
    assert len(features_of(config, with_sector=False)) == 361
    assert {f.family for f in features_of(config)} == set(FAMILIES) == set(config.families)
    names = [f.name for f in features_of(config)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("limit", [40, 120, 350])
def test_a_limit_keeps_the_beginning_and_all_families(limit: int) -> None:
    config = FeaturesConfig(limit=limit)
    kept = features_of(config)
    assert kept == features_of(FeaturesConfig())[:limit]
    assert {f.family for f in kept} == set(config.families)


def test_without_a_sector_no_feature_needs_one() -> None:
    assert not any(f.kind.needs_sector for f in features_of(FeaturesConfig(), with_sector=False))


def test_an_unknown_family_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'momentun': did you mean 'momentum'"):
        features_of(FeaturesConfig(families=("momentun",)))


def test_a_repeated_family_and_an_empty_list_are_errors() -> None:
    with pytest.raises(ConfigError, match="twice"):
        features_of(FeaturesConfig(families=("range", "range")))
    with pytest.raises(ConfigError, match="leaves no feature"):
        features_of(FeaturesConfig(families=("beta",), windows_days=(5,)))
