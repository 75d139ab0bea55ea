"""Parts, windows, scaling, and what is chosen for a series."""

import numpy as np
import pytest
import torch

from atft_hpo.errors import DataError
from bench.fan.series import Series, random_walk
from bench.fan.task import (
    K_BY_NAME,
    LENGTH,
    choose_k,
    choose_slice,
    count_frequencies,
    make_task,
    split,
    standardise,
)

CPU = torch.device("cpu")


def ramp(rows: int, channels: int = 2) -> Series:
    """Value = row + 1000 × channel, so that a window tells where it was cut."""
    values = np.arange(rows)[:, None] + 1000.0 * np.arange(channels)
    return Series("ramp", tuple(f"c{i}" for i in range(channels)), values)


def test_parts_are_seven_two_one() -> None:
    parts = split(17420, 720)
    assert (parts.train_end, parts.validation_end, parts.rows) == (12194, 15678, 17420)


def test_windows_cover_each_part_once() -> None:
    rows, ahead = 1000, 24
    task = make_task(ramp(rows), ahead, "train", CPU)
    assert len(task.train) == 700 - LENGTH - ahead + 1
    assert len(task.validation) == 200 - ahead + 1
    assert len(task.test) == 100 - ahead + 1
    mean, std = np.arange(700).mean(), np.arange(700).std()
    for part, first, end in (("train", LENGTH, 700), ("validation", 700, 900), ("test", 900, 1000)):
        windows = getattr(task, part)
        x, y = (torch.cat(side) for side in zip(*windows.batches(32), strict=True))
        begins, ends = x[:, 0, 0] * std + mean, y[:, 0, -1] * std + mean
        targets = y[:, 0, 0] * std + mean
        assert (x.shape, y.shape) == ((len(windows), 2, LENGTH), (len(windows), 2, ahead))
        assert torch.allclose(targets, torch.arange(first, end - ahead + 1.0), atol=1e-2)
        assert torch.allclose(begins, targets - LENGTH, atol=1e-2)
        assert ends.max() == pytest.approx(end - 1, abs=1e-2)


def test_shuffled_batches_hold_every_window_once() -> None:
    windows = make_task(ramp(1000), 24, "train", CPU).train
    shuffled = list(windows.batches(32, torch.Generator().manual_seed(0)))
    begins = torch.cat([x[:, 0, 0] for x, _ in shuffled])
    assert len(shuffled[-1][0]) == len(windows) % 32
    assert not torch.equal(begins, begins.sort().values)
    assert torch.equal(
        begins.sort().values, torch.cat([x[:, 0, 0] for x, _ in windows.batches(32)])
    )


def test_scaling_on_the_training_part_ignores_what_comes_after() -> None:
    series = random_walk(1000, 3)
    changed = Series("w", series.channels, series.values_NC.copy())
    changed.values_NC[700:] += 50.0
    kept, moved = (standardise(s, 700)[:700] for s in (series, changed))
    assert np.array_equal(kept, moved)
    assert np.allclose(kept.mean(0), 0)
    assert np.allclose(kept.std(0), 1)
    everything = standardise(changed, 1000)
    assert np.allclose(everything.std(0), 1)
    assert not np.allclose(everything[:700], kept)


def test_column_constant_where_the_scale_is_fitted() -> None:
    series = random_walk(1000, 2)
    series.values_NC[:700, 1] = 4.0
    with pytest.raises(DataError, match="'c1' is constant in the 700 rows"):
        make_task(series, 24, "train", CPU)
    assert make_task(series, 24, "all", CPU).channels == 2


@pytest.mark.parametrize(("rows", "short"), [(230, "validation part 46 of 96, test part 23 of 96")])
def test_too_short_for_a_horizon(rows: int, short: str) -> None:
    with pytest.raises(DataError, match=f"horizon 96: .* 230 rows; .*{short}.*about 960 rows"):
        split(rows, 96)
    split(960, 96)


def test_data_sets_are_known_by_name() -> None:
    named = {
        n: Series(n, ("a",), np.zeros((1, 1))) for n in ("ETTm1", "exchange_rate", "TRAFFIC-h")
    }
    assert [choose_k(s)[0] for s in named.values()] == [11, 2, 30]
    assert [choose_slice(s)[0] for s in named.values()] == [12, 6, 24]
    assert set(K_BY_NAME.values()) == {4, 3, 11, 5, 2, 30}


def test_k_counts_the_frequencies_that_stand_out() -> None:
    rng, t = np.random.default_rng(0), np.arange(2000)
    wave = sum(a * np.sin(2 * np.pi * b * t / LENGTH) for a, b in ((1, 4), (0.5, 8), (0.05, 12)))
    series = Series("eclipse", ("a",), (wave + 0.01 * rng.standard_normal(2000))[:, None])
    assert count_frequencies(series) == 2
    assert choose_k(series)[0] == 2
