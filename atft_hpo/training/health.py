"""The gate before epoch 1: a dead network fails here, by name, not after a night of epochs.

    check_inputs(model, batch, families)         # every input family moves the output
    check_gradients(model, batch, rules)         # every part in use has a live, finite gradient

`check_gradients` runs again whenever a phase switches modules on. Neither changes the model, nor
draws from the global random state, so a run is the same with and without them.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor

from atft_hpo.data.batch import Batch
from atft_hpo.errors import HealthGateError
from atft_hpo.model.atft import ATFT
from atft_hpo.training.forecast import evaluating
from atft_hpo.training.losses import LossRules, SliceTargets, loss_terms, weighted_sum

MIN_SPREAD: Final = 1e-4
"""Least cross-sectional std of the point forecast, in stds of the label."""
MIN_EFFECT: Final = 1e-6
"""Least change of the point forecast when a family changes by one std, relative to its spread."""
PROBE_STOCKS: Final = 64
PROBE_DAYS: Final = 5
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
        point_SNQ = model(probe).point_SNQ
        live_SN = probe.alive_NT[:, probe.context :].T
        spread = _spread(point_SNQ, live_SN)
        if not spread > MIN_SPREAD:
            raise HealthGateError(
                f"forecasts differ by {spread:.1e} between stocks before epoch 1, expected more "
                f"than {MIN_SPREAD:.0e}: the head reads nothing; check the features of the panel"
            )
        dead = [
            name
            for name, columns in families.items()
            if _effect(model, probe, point_SNQ, columns) <= MIN_EFFECT * spread
        ]
    if dead:
        raise HealthGateError(
            f"input families {', '.join(sorted(dead))} do not move the forecast; check "
            "`atft-hpo panel describe`, or leave them out"
        )


def check_gradients(model: ATFT, batch: Batch, rules: LossRules) -> None:
    """Every part of the model that is in use and not frozen has a finite, non-zero gradient.

    Raises:
        HealthGateError: names the parameters with a non-finite gradient, or the dead parts.
    """
    edges = int((batch.neighbours_SNK >= 0).sum())
    with _sandbox(model, batch.x_NTF.device):
        forecast = model(batch)
        targets = SliceTargets.of(batch)
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
    """A few days of the longest-lived stocks, without edges: what a check of the inputs needs."""
    days = batch.context + PROBE_DAYS
    stocks = batch.alive_NT[:, :days].sum(dim=1).argsort(descending=True)[:PROBE_STOCKS]
    return dataclasses.replace(
        batch,
        x_NTF=batch.x_NTF[stocks, :days],
        alive_NT=batch.alive_NT[stocks, :days],
        sector_N=batch.sector_N[stocks],
        label_NSQ=batch.label_NSQ[stocks, :PROBE_DAYS],
        return_NSQ=batch.return_NSQ[stocks, :PROBE_DAYS],
        neighbours_SNK=torch.full_like(batch.neighbours_SNK[:PROBE_DAYS, stocks], -1),
        edge_SNKE=batch.edge_SNKE[:PROBE_DAYS, stocks],
        stocks=batch.stocks[stocks],
        base_NSQ=None,  # the net is asked, not the trees
    )


def _spread(point_SNQ: Tensor, live_SN: Tensor) -> float:
    """Cross-sectional std, mean over days, of the horizon that has most."""
    days = [point_SNQ[day, live].std(dim=0) for day, live in enumerate(live_SN) if live.sum() > 1]
    return float(torch.stack(days).mean(dim=0).max()) if days else 0.0


def _effect(model: ATFT, probe: Batch, point_SNQ: Tensor, columns: Sequence[int]) -> float:
    """Largest change of the forecast of a live cell when noise is added to `columns`."""
    generator = torch.Generator().manual_seed(0)
    shape = (*probe.x_NTF.shape[:2], len(columns))
    noise = torch.randn(shape, generator=generator).to(probe.x_NTF)
    x_NTF = probe.x_NTF.clone()
    x_NTF[..., list(columns)] += noise * probe.alive_NT.unsqueeze(2)
    moved_SNQ = model(dataclasses.replace(probe, x_NTF=x_NTF)).point_SNQ
    live_SN = probe.alive_NT[:, probe.context :].T
    return float((moved_SNQ - point_SNQ).abs().amax(dim=2)[live_SN].max())
