"""How much of each planted part the observable data can give at all.

    ceilings = part_ceilings(panel, config)
    best = attainable(shares, ceilings)

A part's ceiling is the share of its variance, R² on days the fit has not seen, that filters on the
panel's own columns recover when the true part is *given as the label*: knots and products for the
effects of the day, trailing lags for memories, trailing means and scales for drifts, FAN of several
kinds for cycles, neighbours on the panel's graph for links, sector dummies. Cycles that leak,
missing cells, neighbours that correlations do not find and histories shorter than a memory lower
it. So a target of `bench.planted` is never missed because of the generator.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.edges import load_graph
from atft_hpo.data.sampling.splits import Split, panel_split
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.synthetic.planted_parts import PART_FEATURES
from atft_hpo.model.normalization import fan_channels, san_channels

MEMORY_DAYS = 60
"""Lags that the linear filters see."""
KNOTS = 12
FAN_LOOKBACKS, FAN_KS = (20, 40, 60), (1, 2, 3)
SCALE_DAYS = (5, 10, 20, 40)
LINK_LAGS = 4
RIDGE = 1e-3
"""Per cell, against columns of unit scale."""


def part_ceilings(panel: Panel, config: Config) -> dict[str, float]:
    """Ceiling of each planted part of a synthetic panel, R² on the validation days.

    The fit sees the training days only. Values are in [0, 1].
    """
    assert panel.oracle is not None, "only a synthetic market has an oracle"
    manifest = panel.manifest
    split = panel_split(panel, config.split)
    return {
        part: _recovered(panel, panel.oracle[..., p], _columns(part, panel, config), split)
        for p, part in enumerate(manifest.oracle_parts)
    }


def attainable(shares: dict[str, float], ceilings: dict[str, float]) -> float:
    """√(Σ share · ceiling): the best correlation with the oracle that the ceilings allow."""
    return float(np.sqrt(sum(shares[part] * ceilings[part] for part in ceilings)))


def _columns(part: str, panel: Panel, config: Config) -> Iterator[Tensor]:
    """Filters of the part's features, [N, D] each."""
    names = panel.feature_names
    x_NDF = torch.stack(
        [
            panel.features_tensor(slice(None))[..., names.index(name)].T.float()
            for name in PART_FEATURES[part]
        ],
        dim=-1,
    )
    if part == "a_effects":
        yield from _bent(x_NDF)
    elif part == "b_memory":
        yield from _lags(x_NDF, MEMORY_DAYS)
    elif part == "d_links":
        yield from _neighbours(x_NDF, panel, config)
    elif part == "f_sector":
        for sector in range(len(panel.manifest.sectors)):
            member_N1 = torch.from_numpy(panel.sector[0] == sector).unsqueeze(1)
            yield x_NDF[..., 0] * member_N1
    else:
        yield from _lags(x_NDF, MEMORY_DAYS)
        yield from _cycles(x_NDF)


def _bent(x_NDF: Tensor) -> Iterator[Tensor]:
    """Piecewise-linear functions of each feature, and products of two."""
    for i in range(x_NDF.shape[-1]):
        yield x_NDF[..., i]
        for knot in np.linspace(-2.5, 2.5, KNOTS):
            yield (x_NDF[..., i] - float(knot)).clamp(min=0.0)
        for j in range(i):
            yield x_NDF[..., i] * x_NDF[..., j]


def _lags(x_NDF: Tensor, days: int) -> Iterator[Tensor]:
    for i in range(x_NDF.shape[-1]):
        for lag in range(days):
            yield _earlier(x_NDF[..., i], lag)


def _cycles(x_NDF: Tensor) -> Iterator[Tensor]:
    """What is left of a feature without its level, scale or cycle."""
    for days in SCALE_DAYS:
        yield from san_channels(x_NDF, (days,)).flatten(-2).unbind(-1)
        mean_NDF = _trailing_mean(x_NDF, days)
        scale_NDF = (_trailing_mean(x_NDF.square(), days) - mean_NDF.square()).clamp(min=1e-4)
        yield from ((x_NDF - mean_NDF) * scale_NDF.rsqrt()).unbind(-1)
        yield from (x_NDF * _trailing_mean(x_NDF.square(), days).clamp(min=1e-4).rsqrt()).unbind(-1)
    for lookback in FAN_LOOKBACKS:
        for k in FAN_KS:
            for kind in ("dft", "lsq"):
                channels = fan_channels(x_NDF, lookback, k, kind)
                yield from channels[..., 0].unbind(-1)
                yield from (x_NDF - channels[..., 1]).unbind(-1)


def _neighbours(x_NDF: Tensor, panel: Panel, config: Config) -> Iterator[Tensor]:
    """Mean over neighbours, and over those of the same sector, at several lags."""
    graph = load_graph(panel, config.graph)
    day_D = np.maximum(graph.graph_of_day_D, 0)
    neighbours_NDK = torch.from_numpy(graph.neighbours_GNK[day_D]).transpose(0, 1).long()
    edges_NDKE = torch.from_numpy(graph.edges_GNKE[day_D]).transpose(0, 1)
    alive_ND = torch.from_numpy(np.array(panel.alive)).T
    day_1D1 = torch.arange(x_NDF.shape[1]).view(1, -1, 1)
    place_NDK = neighbours_NDK.clamp(min=0)
    live_NDK = (neighbours_NDK >= 0) & alive_ND[place_NDK, day_1D1]
    same_NDK = live_NDK & (edges_NDKE[..., 1] > 0)
    strong_NDK = same_NDK * edges_NDKE[..., 0].clamp(min=0.0)
    for lag in range(LINK_LAGS):
        value_NDK = _earlier(x_NDF[..., 0], lag)[place_NDK, day_1D1]
        for weight_NDK in (live_NDK.float(), same_NDK.float(), strong_NDK, strong_NDK.square()):
            total_ND = weight_NDK.sum(-1)
            mean_ND = (weight_NDK * value_NDK).sum(-1) / total_ND.clamp(min=1e-6)
            yield mean_ND
            yield mean_ND * total_ND.sqrt()


def _earlier(x_ND: Tensor, lag: int) -> Tensor:
    return x_ND if lag == 0 else torch.nn.functional.pad(x_ND[:, :-lag], (lag, 0))


def _trailing_mean(x_NDF: Tensor, days: int) -> Tensor:
    padded_NDF = torch.nn.functional.pad(x_NDF, (0, 0, days - 1, 0))
    return padded_NDF.unfold(1, days, 1).mean(-1)


def _recovered(
    panel: Panel, oracle_DN: NDArray[np.float32], columns: Iterator[Tensor], split: Split
) -> float:
    """R² of the ridge fit of `oracle_DN` on `columns`, fitted on train, taken on validation."""
    alive_ND = torch.from_numpy(panel.alive & np.isfinite(oracle_DN)).T
    target_ND = torch.from_numpy(np.nan_to_num(oracle_DN)).T
    cells = {}
    for name, days in (("train", split.train), ("validation", split.validation)):
        span = slice(days.start, days.stop)
        cells[name] = (span, alive_ND[:, span], _demeaned(target_ND[:, span], alive_ND[:, span]))
    parts: dict[str, list[Tensor]] = {name: [] for name in cells}
    for column_ND in columns:
        for name, (span, alive, _) in cells.items():
            parts[name].append(_demeaned(column_ND[:, span], alive))
    x, y = torch.stack(parts["train"], dim=1), cells["train"][2]
    scale_C = x.square().mean(0).clamp(min=1e-12).sqrt()
    gram_CC = (x / scale_C).T.double() @ (x / scale_C).double() / len(x)
    moment_C = (x / scale_C).T.double() @ y.double() / len(x)
    penalty_CC = RIDGE * torch.eye(len(scale_C), dtype=torch.float64)
    weight_C = torch.linalg.solve(gram_CC + penalty_CC, moment_C)
    x, y = torch.stack(parts["validation"], dim=1) / scale_C, cells["validation"][2].double()
    left = y - x.double() @ weight_C
    return float((1.0 - left.square().sum() / y.square().sum()).clamp(min=0.0))


def _demeaned(x_ND: Tensor, alive_ND: Tensor) -> Tensor:
    """Live cells less their day's mean, [cells]."""
    count_1D = alive_ND.sum(0, keepdim=True).clamp(min=1)
    mean_1D = (x_ND * alive_ND).sum(0, keepdim=True) / count_1D
    return (x_ND - mean_1D)[alive_ND]
