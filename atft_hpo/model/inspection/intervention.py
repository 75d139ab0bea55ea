"""Parts of a trained model switched off, or features shuffled, for as long as a context lasts.

    with switched_off(model, "graph"):
        without = forecast_panel(model, source, days, config)
    with shuffled(model, [3], seed=0): ...

Switching off at inference overstates what a module is worth: the rest was trained beside it and
could have learned part of it. Only retraining without it tells (bench programs do).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

from atft_hpo.data.sampling.batch import Batch
from atft_hpo.errors import ConfigError
from atft_hpo.model.atft import ATFT, MODULES
from atft_hpo.model.forest import OpenForest

ZEROED: Final = {
    "fan_forecast": ("main_forecast.strength",),
    "lag_kernel": ("attention.lag_kernel",),
    "sectors": (
        "enrichment.film.weight", "enrichment.film.bias", "enrichment.meaning.weight",
    ),
    "trees": ("correction.strength",),
    "trees_smoothing": ("correction.neighbours_part",),
}  # fmt: skip
"""Parts inside modules, by the parameters that are zero where the part contributes nothing."""


def parts(model: ATFT) -> tuple[str, ...]:
    """What can be switched off in this model: active modules, then the parts of ZEROED it has."""
    modules = tuple(name for name in MODULES if name in model.active)
    present = {name for name, _ in model.named_parameters()}
    inner = [part for part, names in ZEROED.items() if present.issuperset(names)]
    return (*modules, *(p for p in inner if p != "fan_forecast" or "fan" in model.active))


@contextmanager
def switched_off(model: ATFT, part: str) -> Iterator[None]:
    """The model without `part`, one of `parts(model)`, while the context lasts.

    Raises:
        ConfigError: the model has no such part.
    """
    if part not in parts(model):
        raise ConfigError(f"part {part!r}: this model has {', '.join(parts(model))}")
    if part in MODULES:
        before = model.enabled
        model.enable(before - {part})
        try:
            yield
        finally:
            model.enable(before)
        return
    named = dict(model.named_parameters())
    zeroed = [named[name] for name in ZEROED[part]]
    values = [parameter.detach().clone() for parameter in zeroed]
    _fill(zeroed, [torch.zeros_like(value) for value in values])
    try:
        yield
    finally:
        _fill(zeroed, values)


@contextmanager
def shuffled(model: ATFT, columns: Sequence[int], seed: int) -> Iterator[None]:
    """The model sees feature columns `columns` shuffled across stocks, see `shuffle_stocks`.

    All of the model: the trees that the net corrects forecast the shuffled rows anew.
    """
    trees = model.forest.opened() if model.forest is not None else None

    def hook(_: nn.Module, given: tuple[Batch, ...]) -> tuple[Batch, ...]:
        batch = shuffle_stocks(given[0], columns, seed)
        return (batch if trees is None else _with_trees(batch, trees),)

    handle = model.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _with_trees(batch: Batch, trees: OpenForest) -> Batch:
    """The batch with what `trees` say of its own features, as `Forest.forecast` of the panel's."""
    if batch.base_NSQ is None:
        return batch
    alive_NS = batch.alive_NS
    x_RF = batch.x_NTF[:, batch.context :][alive_NS].float().cpu().numpy()
    base_NSQ = torch.zeros_like(batch.base_NSQ)
    base_NSQ[alive_NS] = torch.from_numpy(trees.rows(x_RF)).to(base_NSQ)
    return dataclasses.replace(batch, base_NSQ=base_NSQ)


def shuffle_stocks(batch: Batch, columns: Sequence[int], seed: int) -> Batch:
    """Every stock gets another stock's `columns`, the same one's on all days of the slice.

    So every day is shuffled across its stocks, and what each column does over time stays as it
    was. Where the other has no row, the stock keeps its own value. The order depends on `seed` and
    the slice's first day alone.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + batch.first_day)
    order_N = torch.randperm(len(batch.x_NTF), generator=generator).to(batch.x_NTF.device)
    column_f = torch.tensor(columns, device=batch.x_NTF.device)
    own_NTf = batch.x_NTF[..., column_f]
    both_NT1 = (batch.present_NT & batch.present_NT[order_N]).unsqueeze(-1)
    x_NTF = batch.x_NTF.clone()
    x_NTF[..., column_f] = torch.where(both_NT1, own_NTf[order_N], own_NTf)
    return dataclasses.replace(batch, x_NTF=x_NTF)


@torch.no_grad()
def _fill(parameters: list[nn.Parameter], values: list[torch.Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
