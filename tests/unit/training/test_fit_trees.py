"""Trees learn the planted feature, and never see the days they are stacked on."""

from typing import Any

import numpy as np
import pytest
import torch

from atft_hpo.config.model_schema import TreesConfig
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import DataError
from atft_hpo.model.forest import Forest, Stack, Table, lightgbm
from atft_hpo.training import fit_trees
from atft_hpo.training.fit_trees import fit_stack, live_cells

DAYS, STOCKS = 160, 30
TRAIN = range(0, 120)


def correlation(table: Table, label: Table, q: int) -> float:
    """Over all live cells with a label."""
    known = np.isfinite(label[..., q])
    return float(np.corrcoef(table[..., q][known], label[..., q][known])[0, 1])


def test_every_horizon_learns_its_own_label(
    tree_panel: Panel, tree_label: Table, stack: Stack
) -> None:
    later = range(120, DAYS)
    table = stack.forest.forecast(tree_panel, later)
    assert table.shape == (len(later), STOCKS, 2)
    assert table.dtype == np.float32
    assert correlation(table, tree_label[120:], 0) > 0.7
    assert correlation(table, tree_label[120:], 1) > 0.7
    swapped = table[..., ::-1]
    assert abs(correlation(swapped, tree_label[120:], 0)) < 0.2


def test_blocks_cover_the_train_range_and_know_nothing_of_their_days(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig
) -> None:
    few = trees_config.model_copy(update={"rounds": 5})  # measured once: nothing to choose
    stack = fit_stack(tree_panel, tree_label, TRAIN, few, seed=0)
    blocks = [days for days, _ in stack.blocks]
    assert [day for days in blocks for day in days] == list(TRAIN)
    middle, gap = blocks[1], 5 + tree_panel.manifest.delay_days
    changed = tree_label.copy()
    changed[middle.start - gap : middle.stop + gap] *= -1
    again = fit_stack(tree_panel, changed, TRAIN, few, seed=0)
    assert again.blocks[1][1] == stack.blocks[1][1]
    assert again.blocks[0][1] != stack.blocks[0][1]
    assert again.forest != stack.forest
    changed = tree_label.copy()
    changed[middle.stop + gap] *= -1
    outside = fit_stack(tree_panel, changed, TRAIN, few, seed=0)
    assert outside.blocks[1][1] != stack.blocks[1][1]


def rounds_of(forest: Forest, q: int) -> list[int]:
    """Trees of each booster of a horizon."""
    return [lightgbm().Booster(model_str=text).num_trees() for text in forest.bags_Q[q]]


def test_rounds_are_those_that_serve_the_days_left_out(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig
) -> None:
    """A label with signal takes many rounds, one whose blocks contradict one another few."""
    x_DN = np.asarray(tree_panel.features_tensor(slice(None))[..., 0].float())
    alternating = x_DN * np.where(np.arange(DAYS) // 40 % 2, -1.0, 1.0)[:, None]  # by block
    both = np.stack([tree_label[..., 0], alternating], axis=2).astype(np.float32)
    both[~np.asarray(tree_panel.alive)] = np.nan
    many = trees_config.model_copy(update={"rounds": 42})
    stack = fit_stack(tree_panel, both, TRAIN, many, seed=0)
    signal, against = rounds_of(stack.forest, 0), rounds_of(stack.forest, 1)
    assert min(signal) > 10
    assert all(rounds in range(5, 43, 5) or rounds == 42 for rounds in against)
    assert max(against) < min(signal)
    assert all(rounds_of(part, 1) == against for _, part in stack.blocks)


def test_every_second_booster_draws_its_thresholds(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig
) -> None:
    four = trees_config.model_copy(update={"bags": 4})
    stack = fit_stack(tree_panel, tree_label, TRAIN, four, seed=0)
    assert ["[extra_trees: 1]" in text for text in stack.forest.bags_Q[0]] == [0, 1, 0, 1]
    assert all(len(part.bags_Q[0]) == 2 for _, part in stack.blocks)
    searched, drawn = (rounds_of(stack.forest, 0)[kind::2] for kind in (0, 1))
    assert len(set(searched)) == len(set(drawn)) == 1  # the rounds of a kind


def test_with_a_half_life_trees_follow_the_last_days(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig
) -> None:
    """A label that turned round for the last quarter of the train range."""
    turned = tree_label.copy()
    turned[90:] *= -1
    found = []
    for half_life in (None, 10):
        stack = fit_stack(tree_panel, turned, TRAIN, trees_config, seed=0, half_life_days=half_life)
        found.append(
            correlation(stack.forest.forecast(tree_panel, range(120, DAYS)), turned[120:], 0)
        )
    assert found[0] < -0.3
    assert found[1] > 0.3


def test_staged_forecasts_are_those_of_so_many_rounds(tree_panel: Panel, stack: Stack) -> None:
    booster = lightgbm().Booster(model_str=stack.forest.bags_Q[0][0])
    x_RF = live_cells(tree_panel, TRAIN)[:200]
    found = fit_trees._staged(booster, x_RF, [2, 5])
    for score_R, rounds in zip(found, (2, 5), strict=True):
        np.testing.assert_allclose(score_R, booster.predict(x_RF, num_iteration=rounds))


def test_the_ic_of_a_day_is_pearsons_and_leaves_missing_labels_out(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig, stack: Stack
) -> None:
    holes = tree_label.copy()
    holes[3, ::2] = np.nan
    holes[4] = np.nan
    holes[5] = 1.0
    booster = lightgbm().Booster(model_str=stack.forest.bags_Q[0][0])
    fit = fit_trees._Fit(tree_panel, holes, TRAIN, np.ones(120), trees_config, 0, lambda: None)
    found_DK = fit._daily_ic(0, range(2, 90), booster, [2, 5])
    assert np.isnan(found_DK[2:4]).all()
    assert np.isfinite(np.delete(found_DK, [2, 3], axis=0)).all()
    x_NF = tree_panel.features_tensor(slice(3, 4))[0].float().numpy()
    known_N = np.asarray(tree_panel.alive[3]) & np.isfinite(holes[3, :, 0])
    for k, rounds in enumerate((2, 5)):
        score_N = booster.predict(x_NF, num_iteration=rounds)
        expected = np.corrcoef(score_N[known_N], holes[3, known_N, 0])[0, 1]
        assert found_DK[1, k] == pytest.approx(expected)


def test_cross_fitted_forecasts_are_honest_on_pure_noise(
    tree_panel: Panel, trees_config: TreesConfig
) -> None:
    noise = np.random.default_rng(2).standard_normal((DAYS, STOCKS, 2)).astype(np.float32)
    noise[~np.asarray(tree_panel.alive)] = np.nan
    deep = trees_config.model_copy(update={"rounds": 60, "bags": 1})
    stack = fit_stack(tree_panel, noise, TRAIN, deep, seed=0)
    crossed = np.concatenate([table for _, table in stack.cross_fitted(tree_panel)])
    inside = stack.forest.forecast(tree_panel, TRAIN)
    assert correlation(inside, noise[:120], 0) > 0.15
    assert abs(correlation(crossed, noise[:120], 0)) < 0.06


def test_a_seed_repeats_and_another_differs(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig, stack: Stack
) -> None:
    assert fit_stack(tree_panel, tree_label, TRAIN, trees_config, seed=0) == stack
    assert fit_stack(tree_panel, tree_label, TRAIN, trees_config, seed=1).forest != stack.forest


def test_days_after_the_train_range_change_nothing(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig, stack: Stack
) -> None:
    changed = tree_label.copy()
    changed[120:] = 1.0
    assert fit_stack(tree_panel, changed, TRAIN, trees_config, seed=0) == stack


def test_the_bags_of_a_forest_differ_and_their_mean_is_the_forecast(
    tree_panel: Panel, stack: Stack
) -> None:
    later = range(120, DAYS)
    alone = [
        Forest(tuple((bags[b],) for bags in stack.forest.bags_Q)).forecast(tree_panel, later)
        for b in range(2)
    ]
    assert not np.array_equal(*alone)
    whole = stack.forest.forecast(tree_panel, later)
    np.testing.assert_allclose(whole, np.mean(alone, axis=0), atol=1e-6)


def test_missing_labels_are_left_out(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig, stack: Stack
) -> None:
    holes = tree_label.copy()
    holes[::2, :, 1] = np.nan
    found = fit_stack(tree_panel, holes, TRAIN, trees_config, seed=0)
    assert found.forest.bags_Q[0] == stack.forest.bags_Q[0]
    assert found.forest.bags_Q[1] != stack.forest.bags_Q[1]


def test_a_horizon_without_labels_is_an_error(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig
) -> None:
    none = tree_label.copy()
    none[..., 1] = np.nan
    with pytest.raises(DataError, match="no label of horizon 5"):
        fit_stack(tree_panel, none, TRAIN, trees_config, seed=0)


def test_too_few_days_for_the_blocks_are_an_error(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig
) -> None:
    with pytest.raises(DataError, match=r"30 days; without a block of 10, .* 8 are left"):
        fit_stack(tree_panel, tree_label, range(30), trees_config, seed=0)


def test_whoever_listens_may_end_the_fit(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig
) -> None:
    class StopError(Exception):
        pass

    heard: list[int] = []

    def listen() -> None:
        heard.append(len(heard))
        if len(heard) == 20:
            raise StopError

    with pytest.raises(StopError):
        fit_stack(tree_panel, tree_label, TRAIN, trees_config, seed=0, on_round=listen)
    assert len(heard) == 20
    heard.clear()
    fit_stack(tree_panel, tree_label, TRAIN, trees_config.model_copy(update={"rounds": 1}), seed=0,
              on_round=lambda: heard.append(0))  # fmt: skip
    kinds = min(2, trees_config.bags)
    assert len(heard) == 2 * (trees_config.bags + kinds * trees_config.blocks)


@pytest.mark.parametrize("index", [3, slice(5, 900), [7, 2, 2500]])
def test_rows_are_the_panels_live_cells(tree_panel: Panel, index: Any) -> None:
    cells = live_cells(tree_panel, TRAIN)
    alive = np.asarray(tree_panel.alive[:120])
    expected = tree_panel.features_tensor(slice(0, 120)).float().numpy()[alive]
    assert len(cells) == len(expected)
    assert np.array_equal(cells[index], expected[index])


def test_bfloat16_stores_are_read_alike(
    tree_panel: Panel, tree_label: Table, trees_config: TreesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = tree_panel.features_tensor(slice(None)).bfloat16().view(torch.uint16).numpy()
    other = Panel.open(tree_panel.root)
    monkeypatch.setattr(other, "features", bits)
    monkeypatch.setattr(other, "manifest", other.manifest.model_copy(update={"dtype": "bfloat16"}))
    found = fit_stack(other, tree_label, TRAIN, trees_config, seed=0).forest.forecast(
        other, range(120, DAYS)
    )
    assert correlation(found, tree_label[120:], 0) > 0.7
