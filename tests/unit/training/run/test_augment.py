"""Each augmentation does its one thing, to live cells, from its own generator."""

import dataclasses

import pytest
import torch

from atft_hpo.config.training_schema import AugmentConfig
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.training.run.augment import (
    add_noise,
    augment,
    drop_edges,
    drop_stocks,
    mask_inputs,
    mix_stocks,
)

STOCKS, CONTEXT, DAYS, FEATURES, NEIGHBOURS = 40, 4, 6, 20, 5
OFF = AugmentConfig(
    feature_noise=0, feature_masking=0, time_masking=0, stock_dropout=0, edge_dropout=0
)
ALL = AugmentConfig(mixup=0.3, stock_dropout=0.2)


@pytest.fixture
def batch() -> Batch:
    """A slice with a dead stock, a late listing and a missing label."""
    generator = torch.Generator().manual_seed(0)
    alive = torch.ones(STOCKS, CONTEXT + DAYS, dtype=torch.bool)
    alive[0], alive[1, : CONTEXT + 2] = False, False
    label = torch.randn(STOCKS, DAYS, 2, generator=generator)
    label[2, 1, 0] = torch.nan
    label[~alive[:, CONTEXT:]] = torch.nan
    x = torch.randn(STOCKS, CONTEXT + DAYS, FEATURES, generator=generator)
    neighbours = torch.randint(-1, STOCKS, (DAYS, STOCKS, NEIGHBOURS), generator=generator)
    return Batch(
        x_NTF=x * alive[..., None],
        present_NT=alive,
        alive_NS=alive[:, CONTEXT:].clone(),
        sector_NT=torch.zeros(STOCKS, 1, dtype=torch.int64),
        sectors=1,
        label_NSQ=label,
        return_NS=label[..., 0] * 0.01,
        executable_NS=torch.ones(STOCKS, DAYS, dtype=torch.bool),
        neighbours_SNK=neighbours,
        edge_SNKE=torch.ones(DAYS, STOCKS, NEIGHBOURS, 2),
        context=CONTEXT,
        first_day=10,
        stocks=torch.arange(STOCKS),
    )


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(7)


def same(a: Batch, b: Batch) -> bool:
    """Bitwise equality, NaN equal to NaN."""
    pairs = ((getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Batch))
    return all(
        torch.equal(torch.nan_to_num(x, 99.0), torch.nan_to_num(y, 99.0))
        if isinstance(x, torch.Tensor)
        else x == y
        for x, y in pairs
    )


def test_all_off_is_the_same_batch(batch: Batch, generator: torch.Generator) -> None:
    assert augment(batch, OFF, generator) is batch


def test_the_generator_decides_and_the_global_state_does_not(batch: Batch) -> None:
    drawn = []
    for global_seed, seed in ((1, 7), (2, 7), (2, 8)):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        drawn.append(augment(batch, ALL, torch.Generator().manual_seed(seed)))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(drawn[0], drawn[1])
    assert not same(drawn[1], drawn[2])


def test_the_batch_given_is_not_changed(batch: Batch, generator: torch.Generator) -> None:
    tensors = {k: v.clone() for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    copy = dataclasses.replace(batch, **tensors)
    augment(batch, ALL, generator)
    assert same(batch, copy)


def test_a_dropped_stock_is_dead_everywhere(batch: Batch, generator: torch.Generator) -> None:
    found = drop_stocks(batch, 0.3, generator)
    gone = batch.present_NT.any(dim=1) & ~found.present_NT.any(dim=1)
    assert 4 < int(gone.sum()) < 25
    assert (found.x_NTF[gone] == 0).all()
    assert found.label_NSQ[gone].isnan().all()
    assert found.return_NS[gone].isnan().all()
    assert not torch.isin(found.neighbours_SNK, gone.nonzero()).any()
    kept = ~gone
    assert torch.equal(found.x_NTF[kept], batch.x_NTF[kept])
    assert torch.equal(found.present_NT[kept], batch.present_NT[kept])
    edge_kept = (found.neighbours_SNK >= 0) | ~kept[batch.neighbours_SNK.clamp(min=0)]
    assert (edge_kept | (batch.neighbours_SNK < 0)).all()


def test_mixing_takes_inputs_and_labels_by_the_same_part(
    batch: Batch, generator: torch.Generator
) -> None:
    linear = dataclasses.replace(
        batch,
        label_NSQ=batch.x_NTF[:, CONTEXT:, :2].masked_fill(batch.label_NSQ.isnan(), torch.nan),
    )
    found = mix_stocks(linear, 0.5, generator)
    changed = (found.x_NTF != batch.x_NTF).any(dim=(1, 2))
    assert 8 < int(changed.sum()) < 32
    both = found.label_NSQ.isfinite()
    torch.testing.assert_close(found.label_NSQ[both], found.x_NTF[:, CONTEXT:, :2][both])
    assert torch.equal(found.present_NT, batch.present_NT)


def test_mixing_takes_the_base_by_the_part_of_the_labels(
    batch: Batch, generator: torch.Generator
) -> None:
    based = dataclasses.replace(batch, base_NSQ=batch.label_NSQ.nan_to_num())
    found = mix_stocks(based, 0.5, generator)
    assert found.base_NSQ is not None
    both = found.label_NSQ.isfinite()
    torch.testing.assert_close(found.base_NSQ[both], found.label_NSQ[both])
    assert not torch.equal(found.base_NSQ, based.base_NSQ)


def test_mixing_leaves_dead_days_alone_and_spreads_no_missing_label_to_unmixed(
    batch: Batch, generator: torch.Generator
) -> None:
    found = mix_stocks(batch, 0.5, generator)
    assert (found.x_NTF[~batch.present_NT] == 0).all()
    unmixed = (found.x_NTF == batch.x_NTF).all(dim=(1, 2))
    before, after = batch.label_NSQ[unmixed], found.label_NSQ[unmixed]
    assert torch.equal(before.isnan(), after.isnan())


def test_mixing_takes_nothing_from_a_row_outside_of_the_universe(
    batch: Batch, generator: torch.Generator
) -> None:
    outside_NS = torch.zeros(STOCKS, DAYS, dtype=torch.bool)
    outside_NS[::2, 1:4] = True
    left = dataclasses.replace(
        batch,
        x_NTF=batch.x_NTF.clone(),
        alive_NS=batch.alive_NS & ~outside_NS,
        label_NSQ=batch.label_NSQ.masked_fill(outside_NS[..., None], torch.nan),
        return_NS=torch.where(outside_NS, 1e6, batch.return_NS),
    )
    left.x_NTF[:, CONTEXT:][outside_NS & batch.alive_NS] = 1e6
    found = mix_stocks(left, 1.0, generator)
    assert (found.x_NTF[:, CONTEXT:] != left.x_NTF[:, CONTEXT:]).any()
    assert found.x_NTF[:, CONTEXT:][left.alive_NS].abs().max() < 100
    assert found.return_NS[left.alive_NS].nan_to_num().abs().max() < 1
    assert torch.equal(found.label_NSQ[::2, 1:4].isnan(), left.label_NSQ[::2, 1:4].isnan())


def test_noise_has_the_size_asked_and_spares_dead_cells(
    batch: Batch, generator: torch.Generator
) -> None:
    found = add_noise(batch, 0.1, generator)
    change = found.x_NTF - batch.x_NTF
    assert change[batch.present_NT].std().item() == pytest.approx(0.1, rel=0.05)
    assert (change[~batch.present_NT] == 0).all()


def test_masks_take_whole_features_and_whole_days(batch: Batch, generator: torch.Generator) -> None:
    found = mask_inputs(batch, 0.3, 0.2, generator)
    zero = found.x_NTF[batch.present_NT.all(dim=1)] == 0
    features, days = zero.all(dim=(0, 1)), zero.all(dim=(0, 2))
    assert 0 < int(features.sum()) < FEATURES
    assert 0 < int(days.sum()) < CONTEXT + DAYS
    assert torch.equal(zero, (features[None, None] | days[None, :, None]).expand_as(zero))


def test_edges_are_taken_out_at_the_share_asked(batch: Batch, generator: torch.Generator) -> None:
    found = drop_edges(batch, 0.25, generator)
    there = batch.neighbours_SNK >= 0
    kept = found.neighbours_SNK >= 0
    assert not (kept & ~there).any()
    assert torch.equal(found.neighbours_SNK[kept], batch.neighbours_SNK[kept])
    assert (kept.sum() / there.sum()).item() == pytest.approx(0.75, abs=0.05)


def test_stored_types_are_kept(batch: Batch, generator: torch.Generator) -> None:
    half = dataclasses.replace(batch, x_NTF=batch.x_NTF.half())
    assert augment(half, ALL, generator).x_NTF.dtype == torch.float16


def with_channels(batch: Batch) -> Batch:
    """`batch` with two channels of its columns 3 and 5: the feature itself, and 1."""
    column_NTF = batch.x_NTF[..., [3, 5]]
    one = torch.ones_like(column_NTF)
    channels = {"fan": torch.stack([column_NTF, one], dim=-1)}
    return dataclasses.replace(batch, channels=channels, channel_columns=torch.tensor([3, 5]))


def test_channels_are_masked_with_their_feature(batch: Batch, generator: torch.Generator) -> None:
    masked = mask_inputs(with_channels(batch), 0.5, 0.3, generator)
    assert masked.channels is not None
    feature, one = masked.channels["fan"].unbind(-1)
    assert torch.equal(feature, masked.x_NTF[..., [3, 5]])
    live = batch.x_NTF[..., [3, 5]] != 0
    assert torch.equal(one[live] == 0, feature[live] == 0)
    assert 0 < int((one == 0).sum()) < one.numel()


def test_channels_leave_with_their_stock_and_mix_with_it(
    batch: Batch, generator: torch.Generator
) -> None:
    dropped = drop_stocks(with_channels(batch), 0.5, generator)
    assert dropped.channels is not None
    assert torch.equal(dropped.channels["fan"][..., 0], dropped.x_NTF[..., [3, 5]])
    mixed = mix_stocks(with_channels(batch), 0.9, generator)
    assert mixed.channels is not None
    assert torch.equal(mixed.channels["fan"][..., 0], mixed.x_NTF[..., [3, 5]])
    assert not torch.equal(mixed.x_NTF, batch.x_NTF)
