"""The gate before epoch 1: a dead network fails here, by name, not after a night of epochs.

    check_inputs(model, batch, families)         # every input family moves the output
    check_gradients(model, batch, rules)         # every part in use has a live, finite gradient

`check_gradients` runs again whenever a phase switches modules on. Neither changes the model, nor
draws from the global random state, so a run is the same with and without them. Each looks at a few
days of a few stocks: a dead part is dead there too, and a trial's start is not to wait for more.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor

from atft_hpo.data.sampling.batch import Batch
from atft_hpo.errors import HealthGateError
from atft_hpo.model.atft import ATFT
from atft_hpo.training.forecasting.forecast import evaluating
from atft_hpo.training.loss.balance import weighted_sum
from atft_hpo.training.loss.terms import LossRules, SliceTargets, loss_terms

MIN_SPREAD: Final = 1e-4
"""Least cross-sectional std of the point forecast, in stds of the label."""
MIN_EFFECT: Final = 1e-4
"""Least change of the point forecast when a family changes by one std, relative to its spread; well
above rounding, well below what a single feature of hundreds does."""
PROBE_STOCKS: Final = 16
PROBE_DAYS: Final = 5
PROBE_CONTEXT: Final = 10
"""What a check of the inputs needs; all families are asked in one forward pass."""
PART_STOCKS: Final = 32
"""About as many as a check of gradients takes: who hears most, and whom they hear."""
PART_DAYS: Final = 10
"""Days with a loss there, after the whole context; enough for a Sharpe ratio."""
_OWNERS: Final = {
    "correction.": "trees",
    "graph.": "graph",
    "main_forecast.": "fan",
    "selection.added.fan.": "fan",
    "selection.added.san.": "san",
}
"""Optional module by prefix of its parameters; the trees' correction is there when they are."""


def check_inputs(model: ATFT, batch: Batch, families: Mapping[str, Sequence[int]]) -> None:
    """Every family of columns moves the forecast, and forecasts differ between stocks.

    Raises:
        HealthGateError: names the families that do nothing, or the spread found.
    """
    probe = _probe(batch)
    with evaluating(model), torch.no_grad():
        point_SNQ, *moved = model(_shaken(probe, families.values())).point_SNQ.split(
            len(probe.stocks), dim=1
        )
    live_SN = probe.alive_NS.T
    spread = _spread(point_SNQ, live_SN)
    if not spread > MIN_SPREAD:
        raise HealthGateError(
            f"forecasts differ by {spread:.1e} between stocks before epoch 1, expected more "
            f"than {MIN_SPREAD:.0e}: the head reads nothing; check the features of the panel"
        )
    effects = [float((m - point_SNQ).abs().amax(dim=2)[live_SN].max()) for m in moved]
    dead = [n for n, e in zip(families, effects, strict=True) if not e > MIN_EFFECT * spread]
    if dead:
        raise HealthGateError(
            f"input families {', '.join(sorted(dead))} do not move the forecast; see "
            "what they hold (the command panel describe), or leave them out"
        )


def check_gradients(model: ATFT, batch: Batch, rules: LossRules) -> None:
    """Every part of the model that is in use and not frozen has a finite, non-zero gradient.

    Raises:
        HealthGateError: names the parameters with a non-finite gradient, or the dead parts.
    """
    edges = int((batch.neighbours_SNK >= 0).sum())
    part = _part(batch)
    with _sandbox(model, batch.x_NTF.device):
        forecast = model(part)
        targets = SliceTargets.of(part)
        loss = weighted_sum(loss_terms(forecast, targets, rules), rules.weights)
        torch.autograd.backward(loss)
        gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        broken = [n for n, g in gradients.items() if g is not None and not bool(g.isfinite().all())]
        dead = _dead_parts(model, gradients)
    if broken:
        raise HealthGateError(f"gradient is NaN or infinite before epoch 1 in {', '.join(broken)}")
    if dead:
        raise HealthGateError(
            f"no gradient reaches {', '.join(dead)} (modules on: {sorted(model.active)}, graph "
            f"edges in the slice: {edges}); check the panel, graph.min_correlation and the weights"
        )


def _dead_parts(model: ATFT, gradients: Mapping[str, Tensor | None]) -> list[str]:
    """Parts, parameter groups and strengths in use without any non-zero gradient."""
    alive = {n for n, g in gradients.items() if g is not None and bool((g != 0).any())}
    names = {id(p): n for n, p in model.named_parameters()}
    used = {name for name in gradients if _in_use(model, name)}
    claims: dict[str, list[str]] = {}
    for name in used:
        claims.setdefault(name.split(".")[0], []).append(name)
    for group, parameters in model.parameter_groups().items():
        members = [name for p in parameters if (name := names[id(p)]) in used]
        # The graph is one part already, all of it behind a strength that starts at zero.
        claims[f"group {group!r}"] = [n for n in members if n.split(".")[0] != "graph"]
        if group == "strengths":
            claims |= {name: [name] for name in members}
    return sorted(c for c, members in claims.items() if members and not alive & set(members))


def module_of(name: str) -> str | None:
    """The optional module that a parameter belongs to, by the parameter's name."""
    return next((m for prefix, m in _OWNERS.items() if name.startswith(prefix)), None)


def _in_use(model: ATFT, name: str) -> bool:
    """Whether a parameter belongs to a part that is computed, and not only behind a zero."""
    if name.startswith("code.") and not model.enrichment.static:
        return False  # all that reads it is the lag kernel, which starts at zero
    return module_of(name) in {None, "trees", *model.active}


@contextmanager
def _sandbox(model: ATFT, device: torch.device) -> Iterator[None]:
    """Training mode (cuDNN's LSTM needs it for gradients); random state and gradients as before."""
    was_training = model.training
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        model.train()
        try:
            yield
        finally:
            model.train(was_training)
            model.zero_grad(set_to_none=True)


def _probe(batch: Batch) -> Batch:
    """A few days of the stocks scored on most of them, without edges: for a check of the inputs."""
    context = min(batch.context, PROBE_CONTEXT)
    first = batch.context - context
    present_NT = batch.present_NT[:, first : batch.context + PROBE_DAYS]
    scored_N = batch.alive_NS[:, :PROBE_DAYS].sum(dim=1)
    worth_N = present_NT.sum(dim=1) + present_NT.shape[1] * scored_N
    stocks = worth_N.argsort(descending=True)[:PROBE_STOCKS]
    probe = _cut(batch, stocks, slice(0, PROBE_DAYS), context)
    none_SNK = torch.full_like(probe.neighbours_SNK, -1)
    return dataclasses.replace(probe, neighbours_SNK=none_SNK, base_NSQ=None)  # not the trees


def _part(batch: Batch) -> Batch:
    """A few days of a few stocks that has edges with a loss wherever `batch` has some.

    The days are those in a row on which most labelled stocks hear somebody, or, without edges,
    those with most labels. Stocks are taken in the same order, each with all it hears.
    """
    labelled_SN = batch.label_NSQ.isfinite().any(dim=2).T & batch.alive_NS.T
    hears_SN = labelled_SN & (batch.neighbours_SNK >= 0).any(dim=2)
    worth_SN = labelled_SN.double() + hears_SN.numel() * hears_SN.double()
    length = min(PART_DAYS, len(worth_SN))
    first = int(worth_SN.sum(dim=1).unfold(0, length, 1).sum(dim=1).argmax())
    days = slice(first, first + length)
    chosen = set[int]()
    for stock in worth_SN[days].sum(dim=0).argsort(descending=True, stable=True).tolist():
        if len(chosen) >= PART_STOCKS:
            break
        heard = batch.neighbours_SNK[days, stock]
        chosen |= {stock, *heard[heard >= 0].tolist()}
    stocks = torch.tensor(sorted(chosen), device=batch.x_NTF.device)
    return _cut(batch, stocks, days, batch.context)


def _cut(batch: Batch, stocks: Tensor, days: slice, context: int) -> Batch:
    """Some stocks and slice days of `batch` with `context` days before them, and their edges."""
    span = slice(batch.context - context + days.start, batch.context + days.stop)
    position_N = torch.full_like(batch.stocks, -1)
    position_N[stocks] = torch.arange(len(stocks), device=stocks.device)
    neighbours_SNK = batch.neighbours_SNK[days, stocks]
    near_SNK = torch.where(neighbours_SNK >= 0, position_N[neighbours_SNK.clamp(min=0)], -1)
    return dataclasses.replace(
        batch,
        x_NTF=batch.x_NTF[stocks, span],
        present_NT=batch.present_NT[stocks, span],
        alive_NS=batch.alive_NS[stocks, days],
        sector_NT=batch.sector_NT[stocks, span if batch.sector_NT.shape[1] > 1 else slice(None)],
        label_NSQ=batch.label_NSQ[stocks, days],
        return_NS=batch.return_NS[stocks, days],
        executable_NS=batch.executable_NS[stocks, days],
        neighbours_SNK=near_SNK,
        edge_SNKE=batch.edge_SNKE[days, stocks] * (near_SNK >= 0).unsqueeze(-1),
        context=context,
        first_day=batch.first_day + days.start,
        stocks=batch.stocks[stocks],
        base_NSQ=None if batch.base_NSQ is None else batch.base_NSQ[stocks, days],
        channels=None,
    )


def _shaken(probe: Batch, families: Iterable[Sequence[int]]) -> Batch:
    """The stocks of `probe`, and once more for each family, with noise added to its columns."""
    copies = [probe.x_NTF]
    for columns in families:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn((*probe.present_NT.shape, len(columns)), generator=generator)
        x_NTF = probe.x_NTF.clone()
        x_NTF[..., list(columns)] += noise.to(x_NTF) * probe.present_NT.unsqueeze(2)
        copies.append(x_NTF)
    count = len(copies)
    return dataclasses.replace(
        probe,
        x_NTF=torch.cat(copies),
        present_NT=probe.present_NT.repeat(count, 1),
        alive_NS=probe.alive_NS.repeat(count, 1),
        sector_NT=probe.sector_NT.repeat(count, 1),
        label_NSQ=probe.label_NSQ.repeat(count, 1, 1),
        return_NS=probe.return_NS.repeat(count, 1),
        executable_NS=probe.executable_NS.repeat(count, 1),
        neighbours_SNK=probe.neighbours_SNK.repeat(1, count, 1),
        edge_SNKE=probe.edge_SNKE.repeat(1, count, 1, 1),
        stocks=probe.stocks.repeat(count),
    )


def _spread(point_SNQ: Tensor, live_SN: Tensor) -> float:
    """Cross-sectional std, mean over days, of the horizon that has most."""
    days = [point_SNQ[day, live].std(dim=0) for day, live in enumerate(live_SN) if live.sum() > 1]
    return float(torch.stack(days).mean(dim=0).max()) if days else 0.0
