"""Trees learn the planted feature, never see the days they are stacked on, and travel as text."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from atft_hpo.config.schema import DataConfig, TreesConfig
from atft_hpo.data.pack import pack_table
from atft_hpo.data.panel import Panel
from atft_hpo.errors import DataError
from atft_hpo.model import trees
from atft_hpo.model.trees import Stack, Table, fit_stack

DAYS, STOCKS = 160, 30
TRAIN = range(0, 120)
CONFIG = TreesConfig(rounds=12, learning_rate=0.2, leaves=4, l2=1.0, blocks=3)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """160 days × 30 stocks; feature `signal__a` is the label, `signal__b` noise; 10 % dead."""
    generator = np.random.default_rng(0)
    day = np.repeat(np.arange(DAYS), STOCKS)
    table = pl.DataFrame(
        {
            "date": np.datetime64("2020-01-01") + day,
            "code": np.tile([f"S{n:02d}" for n in range(STOCKS)], DAYS),
            "sector": np.tile([f"sector {n % 3}" for n in range(STOCKS)], DAYS),
            "close": 100.0 + generator.random(DAYS * STOCKS),
            "signal__a": generator.standard_normal(DAYS * STOCKS),
            "signal__b": generator.standard_normal(DAYS * STOCKS),
        }
    ).filter(pl.Series(generator.random(DAYS * STOCKS) > 0.1))
    root = tmp_path_factory.mktemp("trees")
    table.write_parquet(root / "table.parquet")
    path = root / "table.parquet"
    data = DataConfig(path=str(path), source="features", horizons_days=(1, 5))
    return pack_table(path, root / "store", data)


@pytest.fixture(scope="module")
def label(panel: Panel) -> Table:
    """[D, N, 2]: sign of the signal, and its square, with noise; NaN where dead."""
    x_DN = np.asarray(panel.features_tensor(slice(None))[..., 0].float())
    noise_DNQ = np.random.default_rng(1).standard_normal((*x_DN.shape, 2))
    both = np.stack([np.sign(x_DN), x_DN**2 - 1.0], axis=2) + 0.5 * noise_DNQ
    return np.where(panel.alive[..., None], both, np.nan).astype(np.float32)


@pytest.fixture(scope="module")
def stack(panel: Panel, label: Table) -> Stack:
    """Trees of the planted labels."""
    return fit_stack(panel, label, TRAIN, CONFIG, seed=0)


def correlation(table: Table, label: Table, q: int) -> float:
    """Over all live cells with a label."""
    known = np.isfinite(label[..., q])
    return float(np.corrcoef(table[..., q][known], label[..., q][known])[0, 1])


def test_every_horizon_learns_its_own_label(panel: Panel, label: Table, stack: Stack) -> None:
    later = range(120, DAYS)
    table = stack.forest.forecast(panel, later)
    assert table.shape == (len(later), STOCKS, 2)
    assert table.dtype == np.float32
    assert correlation(table, label[120:], 0) > 0.7
    assert correlation(table, label[120:], 1) > 0.7
    swapped = table[..., ::-1]
    assert abs(correlation(swapped, label[120:], 0)) < 0.2


def test_dead_cells_are_zero_and_live_ones_are_not(panel: Panel, stack: Stack) -> None:
    table = stack.forest.forecast(panel, TRAIN)
    alive = np.asarray(panel.alive[:120])
    assert not table[~alive].any()
    assert table[alive].all()


def test_a_range_is_forecast_like_its_days(
    panel: Panel, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stack.forest.forecast(panel, range(100, 150))
    monkeypatch.setattr(trees, "_CHUNK_DAYS", 7)
    assert np.array_equal(stack.forest.forecast(panel, range(100, 150)), whole)


def test_blocks_cover_the_train_range_and_know_nothing_of_their_days(
    panel: Panel, label: Table, stack: Stack
) -> None:
    blocks = [days for days, _ in stack.blocks]
    assert [day for days in blocks for day in days] == list(TRAIN)
    middle, gap = blocks[1], 5 + panel.manifest.delay_days
    changed = label.copy()
    changed[middle.start - gap : middle.stop + gap] *= -1
    again = fit_stack(panel, changed, TRAIN, CONFIG, seed=0)
    assert again.blocks[1][1] == stack.blocks[1][1]
    assert again.blocks[0][1] != stack.blocks[0][1]
    assert again.forest != stack.forest
    changed = label.copy()
    changed[middle.stop + gap] *= -1
    outside = fit_stack(panel, changed, TRAIN, CONFIG, seed=0)
    assert outside.blocks[1][1] != stack.blocks[1][1]


def test_cross_fitted_forecasts_are_honest_on_pure_noise(panel: Panel) -> None:
    noise = np.random.default_rng(2).standard_normal((DAYS, STOCKS, 2)).astype(np.float32)
    noise[~np.asarray(panel.alive)] = np.nan
    deep = CONFIG.model_copy(update={"rounds": 60})
    stack = fit_stack(panel, noise, TRAIN, deep, seed=0)
    crossed = np.concatenate([table for _, table in stack.cross_fitted(panel)])
    inside = stack.forest.forecast(panel, TRAIN)
    assert correlation(inside, noise[:120], 0) > 0.15
    assert abs(correlation(crossed, noise[:120], 0)) < 0.06


def test_a_seed_repeats_and_another_differs(panel: Panel, label: Table, stack: Stack) -> None:
    assert fit_stack(panel, label, TRAIN, CONFIG, seed=0) == stack
    assert fit_stack(panel, label, TRAIN, CONFIG, seed=1).forest != stack.forest


def test_content_comes_back_as_it_was(stack: Stack) -> None:
    assert Stack.from_content(stack.content()) == stack


def test_days_after_the_train_range_change_nothing(
    panel: Panel, label: Table, stack: Stack
) -> None:
    changed = label.copy()
    changed[120:] = 1.0
    assert fit_stack(panel, changed, TRAIN, CONFIG, seed=0) == stack


def test_missing_labels_are_left_out(panel: Panel, label: Table, stack: Stack) -> None:
    holes = label.copy()
    holes[::2, :, 1] = np.nan
    found = fit_stack(panel, holes, TRAIN, CONFIG, seed=0)
    assert found.forest.text_Q[0] == stack.forest.text_Q[0]
    assert found.forest.text_Q[1] != stack.forest.text_Q[1]


def test_a_horizon_without_labels_is_an_error(panel: Panel, label: Table) -> None:
    none = label.copy()
    none[..., 1] = np.nan
    with pytest.raises(DataError, match="no label of horizon 5"):
        fit_stack(panel, none, TRAIN, CONFIG, seed=0)


def test_too_few_days_for_the_blocks_are_an_error(panel: Panel, label: Table) -> None:
    with pytest.raises(DataError, match=r"30 days, model\.trees\.blocks = 3 .* at least 36"):
        fit_stack(panel, label, range(30), CONFIG, seed=0)


def test_whoever_listens_may_end_the_fit(panel: Panel, label: Table) -> None:
    class StopError(Exception):
        pass

    heard: list[int] = []

    def listen() -> None:
        heard.append(len(heard))
        if len(heard) == 20:
            raise StopError

    with pytest.raises(StopError):
        fit_stack(panel, label, TRAIN, CONFIG, seed=0, on_round=listen)
    assert len(heard) == 20
    heard.clear()
    fit_stack(panel, label, TRAIN, CONFIG.model_copy(update={"rounds": 1}), seed=0,
              on_round=lambda: heard.append(0))  # fmt: skip
    assert len(heard) == 2 * (CONFIG.blocks + 1)


@pytest.mark.parametrize("index", [3, slice(5, 900), [7, 2, 2500]])
def test_rows_are_the_panels_live_cells(panel: Panel, index: Any) -> None:
    cells = trees._LiveCells(panel, TRAIN)
    alive = np.asarray(panel.alive[:120])
    expected = panel.features_tensor(slice(0, 120)).float().numpy()[alive]
    assert len(cells) == len(expected)
    assert np.array_equal(cells[index], expected[index])


def test_bfloat16_stores_are_read_alike(
    panel: Panel, label: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = panel.features_tensor(slice(None)).bfloat16().view(torch.uint16).numpy()
    other = Panel.open(panel.root)
    monkeypatch.setattr(other, "features", bits)
    monkeypatch.setattr(other, "manifest", other.manifest.model_copy(update={"dtype": "bfloat16"}))
    found = fit_stack(other, label, TRAIN, CONFIG, seed=0).forest.forecast(other, range(120, DAYS))
    assert correlation(found, label[120:], 0) > 0.7
