"""Kept trees forecast what they forecast when fitted, on any range of days."""

import builtins
from typing import Any

import numpy as np
import pytest

from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import ConfigError
from atft_hpo.model import forest
from atft_hpo.model.forest import Stack, lightgbm

TRAIN = range(0, 120)


def test_dead_cells_are_zero_and_live_ones_are_not(tree_panel: Panel, stack: Stack) -> None:
    table = stack.forest.forecast(tree_panel, TRAIN)
    alive = np.asarray(tree_panel.alive[:120])
    assert not table[~alive].any()
    assert table[alive].all()


def test_a_range_is_forecast_like_its_days(
    tree_panel: Panel, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stack.forest.forecast(tree_panel, range(100, 150))
    monkeypatch.setattr(forest, "_CHUNK_DAYS", 7)
    assert np.array_equal(stack.forest.forecast(tree_panel, range(100, 150)), whole)


def test_rows_from_elsewhere_are_forecast_like_the_panels(tree_panel: Panel, stack: Stack) -> None:
    alive = np.asarray(tree_panel.alive[:120])
    x_RF = tree_panel.features_tensor(slice(0, 120)).float().numpy()[alive]
    found = stack.forest.opened().rows(x_RF)
    np.testing.assert_array_equal(found, stack.forest.forecast(tree_panel, TRAIN)[alive])


def test_the_planted_feature_gains_most(stack: Stack) -> None:
    signal, noise = stack.forest.opened().gain()
    assert signal + noise == pytest.approx(1.0)
    assert signal > 0.9


def test_content_comes_back_as_it_was(stack: Stack) -> None:
    assert Stack.from_content(stack.content()) == stack


def test_a_system_without_openmp_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return real(name, *rest, **named)

    lightgbm.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"libgomp\.so\.1.*libgomp1.*model\.trees\.rounds = 0"):
        lightgbm()
