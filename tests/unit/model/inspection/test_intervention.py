"""Parts switched off and features shuffled, for as long as a context lasts and no longer."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from atft_hpo.data.sampling.batch import Batch
from atft_hpo.errors import ConfigError
from atft_hpo.model.atft import ATFT
from atft_hpo.model.inspection.intervention import parts, shuffle_stocks, shuffled, switched_off

MakeModel = Callable[..., ATFT]
MakeBatch = Callable[..., Batch]
ALL = ("fan", "san", "graph", "fan_forecast", "lag_kernel", "sectors")


def test_parts_are_those_the_model_has(make_model: MakeModel) -> None:
    assert parts(make_model()) == ALL
    assert parts(make_model(("graph",))) == ("graph", "lag_kernel", "sectors")
    assert parts(make_model(fan_columns=())) == ("graph", "lag_kernel", "sectors")
    assert parts(make_model(("graph",), without=("attention",))) == ("graph", "sectors")
    assert parts(make_model(("graph",), without=("static",))) == ("graph", "lag_kernel")
    assert parts(make_model(without=("lstm",))) == ALL
    assert parts(make_model(trees=5)) == (*ALL, "trees", "trees_smoothing")
    refused = pytest.raises(ConfigError, match=r"'fan': this model has graph, lag_kernel, sectors")
    with refused, switched_off(make_model(("graph",)), "fan"):
        pytest.fail("entered")


@pytest.mark.parametrize("part", ALL)
def test_each_part_matters_once_it_is_open(
    make_model: MakeModel, make_batch: MakeBatch, part: str
) -> None:
    model, batch = make_model(strengths=0.5), make_batch()
    with torch.no_grad():
        before = model(batch).point_SNQ
        with switched_off(model, part):
            assert not torch.allclose(model(batch).point_SNQ, before, atol=1e-5)
        assert torch.equal(model(batch).point_SNQ, before), "not restored"


@pytest.mark.parametrize("part", ALL[:-1])  # sectors weigh the code from the start
def test_a_closed_part_changes_nothing(
    make_model: MakeModel, make_batch: MakeBatch, part: str
) -> None:
    model, batch = make_model(), make_batch()  # strengths and kernels are 0
    with torch.no_grad(), switched_off(model, part):
        without = model(batch).point_SNQ
    torch.testing.assert_close(without, model(batch).point_SNQ)


def test_without_sectors_it_does_not_matter_which_a_stock_is_in(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model, batch = make_model(strengths=0.5), make_batch()
    other = dataclasses.replace(batch, sector_NT=(batch.sector_NT + 1) % 3)
    with torch.no_grad():
        assert not torch.allclose(model(batch).point_SNQ, model(other).point_SNQ, atol=1e-5)
        with switched_off(model, "sectors"):
            assert torch.equal(model(batch).point_SNQ, model(other).point_SNQ)


@pytest.mark.parametrize("left_out", ["lstm", "attention", "static"])
def test_a_smaller_trunk_keeps_its_other_parts(
    make_model: MakeModel, make_batch: MakeBatch, left_out: str
) -> None:
    model, batch = make_model(without=(left_out,)), make_batch()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        before = model(batch).point_SNQ
        for part in parts(model):
            with switched_off(model, part):
                assert not torch.allclose(model(batch).point_SNQ, before, atol=1e-6), part
            assert torch.equal(model(batch).point_SNQ, before), part


@pytest.mark.parametrize("part", ["graph", "lag_kernel"])
def test_a_failure_inside_leaves_the_model_whole(
    make_model: MakeModel, make_batch: MakeBatch, part: str
) -> None:
    model, batch = make_model(strengths=0.5), make_batch()
    before = model(batch).point_SNQ
    with pytest.raises(RuntimeError, match="inside"), switched_off(model, part):
        raise RuntimeError("inside")
    assert torch.equal(model(batch).point_SNQ, before)


def test_a_shuffle_gives_every_stock_another_ones_series(make_batch: MakeBatch) -> None:
    batch = make_batch()
    batch.present_NT.fill_(True)
    moved = shuffle_stocks(batch, [1, 4], seed=0)
    order = [
        next(m for m, series in enumerate(batch.x_NTF) if torch.equal(series[:, 1], own[:, 1]))
        for own in moved.x_NTF
    ]
    assert sorted(order) == list(range(len(order)))
    assert order != sorted(order)
    assert torch.equal(moved.x_NTF[..., 4], batch.x_NTF[order][..., 4]), "columns stay together"
    rest = [0, 2, 3, 5, 6, 7, 8]
    assert torch.equal(moved.x_NTF[..., rest], batch.x_NTF[..., rest])


def test_a_dead_donor_gives_nothing_and_dead_cells_stay_empty(make_batch: MakeBatch) -> None:
    batch = make_batch(stocks=40, seed=3)
    moved = shuffle_stocks(batch, [0], seed=1)
    assert not moved.x_NTF[~batch.present_NT].any()
    assert bool((moved.x_NTF[batch.present_NT][:, 0] != 0).all()), "a live cell became empty"
    assert torch.equal(shuffle_stocks(batch, [0], seed=1).x_NTF, moved.x_NTF)
    assert not torch.equal(shuffle_stocks(batch, [0], seed=2).x_NTF, moved.x_NTF)


def test_a_shuffled_model_sees_the_shuffled_batch(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model, batch = make_model(strengths=0.5), make_batch()
    with torch.no_grad():
        before = model(batch).point_SNQ
        expected = model(shuffle_stocks(batch, [3], 5)).point_SNQ
        with shuffled(model, [3], seed=5):
            assert torch.equal(model(batch).point_SNQ, expected)
        assert torch.equal(model(batch).point_SNQ, before)
    assert not torch.equal(before, expected)


def test_without_its_trees_the_net_forecasts_alone(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model, batch = make_model(trees=5), make_batch()
    with_base = dataclasses.replace(batch, base_NSQ=torch.randn_like(batch.label_NSQ))
    with torch.no_grad():
        model.correction.neighbours_part.fill_(0.5)
        alone = model(batch).point_SNQ
        rough = alone + with_base.base_NSQ.transpose(0, 1) @ model.correction.strength.T
        with switched_off(model, "trees_smoothing"):
            torch.testing.assert_close(model(with_base).point_SNQ, rough)
        assert not torch.allclose(model(with_base).point_SNQ, rough, atol=1e-3)
        with switched_off(model, "trees"):
            assert torch.equal(model(with_base).point_SNQ, alone)


class _Doubling:
    """Stands in for boosters: twice a row's fourth feature, for both horizons."""

    def rows(self, x_RF: np.ndarray) -> np.ndarray:
        return np.repeat(2.0 * x_RF[:, 3:4], 2, axis=1).astype(np.float32)


class _Forest:
    def opened(self) -> _Doubling:
        return _Doubling()


def test_trees_forecast_the_rows_that_the_net_sees_shuffled(
    make_model: MakeModel, make_batch: MakeBatch
) -> None:
    model, batch = make_model(trees=5), make_batch(stocks=20)
    model.forest = _Forest()
    today_NS = batch.x_NTF[:, batch.context :, 3]  # 0 where a stock is dead
    batch = dataclasses.replace(batch, base_NSQ=2.0 * today_NS[..., None].expand(-1, -1, 2))
    moved = shuffle_stocks(batch, [3], seed=5)
    base_NSQ = 2.0 * moved.x_NTF[:, batch.context :, 3, None].expand(-1, -1, 2)
    assert not torch.equal(base_NSQ, batch.base_NSQ)
    with torch.no_grad():
        expected = model(dataclasses.replace(moved, base_NSQ=base_NSQ)).point_SNQ
        before = model(batch).point_SNQ
        with shuffled(model, [3], seed=5):
            assert torch.equal(model(batch).point_SNQ, expected)
        net_alone = model(shuffle_stocks(batch, [4], seed=5)).point_SNQ
        with shuffled(model, [4], seed=5):  # the trees do not use it
            assert torch.equal(model(batch).point_SNQ, net_alone)
        assert torch.equal(model(batch).point_SNQ, before)
