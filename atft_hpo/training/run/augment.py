"""Augmentations of a training slice, drawn from a generator of their own.

    batch = augment(batch, config.augment, generator)      # generator on the batch's device

Order: stock dropout, mixup, noise, masks, edges. A resumed run restores the generator and draws the
same. Shapes never change: a stock taken out is dead for the whole step, not removed. Channels that
the batch already holds (FAN and SAN) are masked, mixed and dropped with their feature, not computed
again: a day masked inside its window would look like a jump of the cycle.
"""

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from atft_hpo.config.training_schema import AugmentConfig
from atft_hpo.data.sampling.batch import Batch


def augment(batch: Batch, config: AugmentConfig, generator: torch.Generator) -> Batch:
    """A copy of `batch` with every augmentation of `config` whose share is above 0."""
    if config.stock_dropout > 0:
        batch = drop_stocks(batch, config.stock_dropout, generator)
    if config.mixup > 0:
        batch = mix_stocks(batch, config.mixup, generator)
    if config.feature_noise > 0:
        batch = add_noise(batch, config.feature_noise, generator)
    if config.feature_masking > 0 or config.time_masking > 0:
        batch = mask_inputs(batch, config.feature_masking, config.time_masking, generator)
    if config.edge_dropout > 0:
        batch = drop_edges(batch, config.edge_dropout, generator)
    return batch


def drop_stocks(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Take a share of stocks out: without features and labels, nobody's neighbour."""
    keep_N = ~_chosen(len(batch.stocks), share, generator)
    neighbours = batch.neighbours_SNK
    reachable = (neighbours >= 0) & keep_N[neighbours.clamp(min=0).long()]
    return dataclasses.replace(
        batch,
        x_NTF=batch.x_NTF * keep_N[:, None, None],
        channels=_each(batch, lambda c_NTFc: c_NTFc * keep_N[:, None, None, None]),
        present_NT=batch.present_NT & keep_N[:, None],
        alive_NS=batch.alive_NS & keep_N[:, None],
        label_NSQ=batch.label_NSQ.masked_fill(~keep_N[:, None, None], torch.nan),
        return_NS=batch.return_NS.masked_fill(~keep_N[:, None], torch.nan),
        neighbours_SNK=neighbours.masked_fill(~reachable, -1),
    )


def mix_stocks(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Mix a share of stocks with another stock of the same days, inputs and labels alike.

    The partner's part is uniform in [0, ½]; days when either has no row stay unmixed, as do slice
    days when either is not in the universe: nobody learns from such rows. A label that either
    lacks is lacking (mixup, Zhang et al. 2018, with λ kept above a half).
    """
    stocks = len(batch.stocks)
    device = batch.x_NTF.device
    partner_N = torch.randperm(stocks, generator=generator, device=device)
    part_N = 0.5 * torch.rand(stocks, generator=generator, device=device)
    part_N = part_N * _chosen(stocks, share, generator)
    both_NT = batch.present_NT & batch.present_NT[partner_N]
    both_NT[:, batch.context :] &= batch.alive_NS & batch.alive_NS[partner_N]
    part_NT1 = (part_N[:, None] * both_NT).unsqueeze(2)
    part_NS1 = part_NT1[:, batch.context :]

    def mixed(value: Tensor, part: Tensor) -> Tensor:
        # Where nothing is mixed the partner's missing label must not spread.
        return torch.where(part > 0, torch.lerp(value, value[partner_N], part), value)

    x_NTF = mixed(batch.x_NTF.float(), part_NT1).to(batch.x_NTF.dtype)
    labels = mixed(batch.label_NSQ, part_NS1)
    returns = mixed(batch.return_NS, part_NS1[..., 0])
    channels = _each(batch, lambda c_NTFc: mixed(c_NTFc, part_NT1.unsqueeze(3)))
    base = None if batch.base_NSQ is None else mixed(batch.base_NSQ, part_NS1)
    return dataclasses.replace(
        batch,
        x_NTF=x_NTF,
        channels=channels,
        label_NSQ=labels,
        return_NS=returns,
        base_NSQ=base,
    )


def add_noise(batch: Batch, std: float, generator: torch.Generator) -> Batch:
    """Normal noise of this standard deviation on the features that are there."""
    x = batch.x_NTF
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    noisy = x.float().addcmul(noise, batch.present_NT.unsqueeze(2), value=std)
    return dataclasses.replace(batch, x_NTF=noisy.to(x.dtype))


def mask_inputs(batch: Batch, features: float, days: float, generator: torch.Generator) -> Batch:
    """Set a share of features to 0 for the whole slice, and a share of days for all features."""
    keep_F = ~_chosen(batch.x_NTF.shape[2], features, generator)
    keep_T = ~_chosen(batch.x_NTF.shape[1], days, generator)
    keep_TF = keep_T[:, None] & keep_F[None, :]
    columns = batch.channel_columns
    return dataclasses.replace(
        batch,
        x_NTF=batch.x_NTF * keep_TF,
        channels=_each(batch, lambda c_NTFc: c_NTFc * keep_TF[:, columns, None]),
    )


def drop_edges(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Take a share of graph edges out."""
    neighbours = batch.neighbours_SNK
    drawn = torch.rand(neighbours.shape, generator=generator, device=generator.device)
    return dataclasses.replace(batch, neighbours_SNK=neighbours.masked_fill(drawn < share, -1))


def _each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Mapping[str, Tensor] | None:
    if batch.channels is None:
        return None
    return {name: change(channel) for name, channel in batch.channels.items()}


def _chosen(count: int, share: float, generator: torch.Generator) -> Tensor:
    """[count] bool on the generator's device, each True with probability `share`."""
    return torch.rand(count, generator=generator, device=generator.device) < share
