"""Training of the baseline nets: squared error on the label, a fixed number of steps, EMA weights.

    score_DNQ = train_net("lstm", task)

Weight decay, dropout and feature masking are those that helped nets on such panels; no early stop,
since a short inner window says nothing. A step takes 20 days of all live stocks.
"""

import dataclasses
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.data.sampling.slices import SliceSource
from bench.real.models.nets import NETS
from bench.real.samples import Scores, Task

SLICE_DAYS: Final = 20
LR: Final = 2e-3
WEIGHT_DECAY: Final = 0.1
MASKING: Final = 0.2
"""Share of features set to 0 in a step."""
EMA_DECAY: Final = 0.97
WARMUP_SHARE: Final = 0.1
CLIP_NORM: Final = 1.0


def train_net(name: str, task: Task) -> Scores:
    """Forecasts [D, N, Q] of the fold's days by the net of that name in `NETS`."""
    torch.manual_seed(task.seed)
    generator = torch.Generator().manual_seed(task.seed)
    source = SliceSource(task.panel, slice_config(task), task.device)
    net = NETS[name](len(task.panel.feature_names), task.horizons).to(task.device)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    steps = task.setup.profile.net_steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, steps, pct_start=WARMUP_SHARE, cycle_momentum=False
    )
    net.train()
    for _, batch in zip(range(steps), _batches(source, generator), strict=False):
        optimizer.zero_grad()
        torch.autograd.backward(_loss(net(_masked(batch, generator)), batch))
        nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
        optimizer.step()
        schedule.step()
        average.update_parameters(net)
    return _forecast(average.module, source, task)


def slice_config(task: Task) -> Config:
    """Short slices of the same panel, split and graph as the full model's."""
    return build_config(
        {
            "data": task.config.data.model_dump(mode="json", exclude_none=True),
            "split": task.config.split.model_dump(mode="json"),
            "graph": task.config.graph.model_dump(mode="json"),
            "loss": task.config.loss.model_dump(mode="json"),
            "slices": {"days": SLICE_DAYS, "context_days": SLICE_DAYS},
        }
    )


def _batches(source: SliceSource, generator: torch.Generator) -> Iterator[Batch]:
    """Epoch after epoch; slices without any label are left out."""
    while True:
        for index in source.training_plan(generator):
            batch = source.batch(index)
            if bool(batch.label_NSQ.isfinite().any()):
                yield batch


def _masked(batch: Batch, generator: torch.Generator) -> Batch:
    keep_F = (torch.rand(batch.x_NTF.shape[2], generator=generator) >= MASKING).to(batch.x_NTF)
    return dataclasses.replace(batch, x_NTF=batch.x_NTF * keep_F)


def _loss(score_SNQ: Tensor, batch: Batch) -> Tensor:
    """Mean squared error where there is a label; horizons count alike."""
    label_SNQ = batch.label_NSQ.transpose(0, 1)
    known_SNQ = label_SNQ.isfinite()
    square_SNQ = (score_SNQ - label_SNQ.nan_to_num()).square() * known_SNQ
    return (square_SNQ.sum(dim=(0, 1)) / known_SNQ.sum(dim=(0, 1)).clamp(min=1)).mean()


@torch.no_grad()
def _forecast(net: nn.Module, source: SliceSource, task: Task) -> Scores:
    net.eval()
    days = task.fold.days
    score_DNQ = np.full((len(days), source.stock_count, task.horizons), np.nan, dtype=np.float32)
    for index in source.evaluation_plan(days):
        batch = source.batch(index)
        dead_SN = ~batch.alive_NS.T
        score_SNQ = net(batch).masked_fill(dead_SN[..., None], torch.nan)
        first = batch.first_day - days.start
        cells = np.s_[first : first + len(score_SNQ), batch.stocks.cpu().numpy()]
        score_DNQ[cells] = score_SNQ.cpu().numpy()
    return score_DNQ
