"""Neighbour lists: for each stock the K strongest trailing return correlations, from the past only.

    graph = load_graph(panel, config.graph)     # built once, cached beside the panel
    g = graph.graph_of_day_D[d]                 # the latest graph of a day ≤ d

The graph of refresh day r uses returns up to and including r (known at its close). Neighbours are
stocks of that day's universe; every stock that is present has some, so that one which enters the
universe before the next graph has edges from its first day in it. Shapes: G graphs, N stocks, K
neighbours, E = 2 edge attributes.
"""

import hashlib
import os
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.config.data_schema import GraphConfig
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import VolumeError
from atft_hpo.paths import PanelPaths

EDGE_ATTRIBUTES = 2
"""Shrunk ρ, same sector (0 or 1)."""
_GRAPH_VERSION = 2


@dataclass(frozen=True)
class Graph:
    """All graphs of a panel."""

    neighbours_GNK: NDArray[np.int32]
    """Panel indices of neighbours, strongest first; -1 = none."""
    edges_GNKE: NDArray[np.float32]
    """Attributes of those edges; 0 where there is none."""
    graph_of_day_D: NDArray[np.int32]
    """Graph in force on each day; -1 before the first: no edges."""

    @property
    def edge_count(self) -> int:
        """Directed edges over all graphs."""
        return int((self.neighbours_GNK >= 0).sum())


def load_graph(panel: Panel, config: GraphConfig) -> Graph:
    """The graphs of `panel`, from the cache, or built and cached.

    Raises:
        VolumeError: the cache cannot be written.
    """
    key = f"{_GRAPH_VERSION} {panel.fingerprint} {config.model_dump_json()}"
    path = PanelPaths(panel.root).graph(hashlib.sha256(key.encode()).hexdigest())
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return Graph(arrays["neighbours"], arrays["edges"], arrays["graph_of_day"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # absent, or damaged: a cache is rebuilt
    graph = build_graph(panel.returns, panel.present, panel.alive, panel.sector, config)
    _save(graph, path)
    return graph


def build_graph(
    returns_DN: NDArray[np.float32],
    present_DN: NDArray[np.bool_],
    alive_DN: NDArray[np.bool_],
    sector_DN: NDArray[np.integer],
    config: GraphConfig,
) -> Graph:
    """Graphs at every `refresh_days`-th day from the first with a full window."""
    days, stocks = returns_DN.shape
    refresh = range(config.window_days - 1, days, config.refresh_days)
    shape = (len(refresh), stocks, config.neighbours)
    neighbours_GNK = np.full(shape, -1, dtype=np.int32)
    edges_GNKE = np.zeros((*shape, EDGE_ATTRIBUTES), dtype=np.float32)
    for g, day in enumerate(refresh):
        here, members = np.flatnonzero(present_DN[day]), np.flatnonzero(alive_DN[day])
        window = returns_DN[day + 1 - config.window_days : day + 1]
        rho = trailing_correlation(window[:, here], window[:, members], config.window_days / 2)
        rho *= 1 - config.shrinkage
        rho[here[:, None] == members] = 0.0
        places, strength = strongest(rho, config.neighbours, config.min_correlation)
        width = places.shape[1]
        real = places >= 0
        found = np.where(real, members[places], -1)
        neighbours_GNK[g, here, :width] = found
        edges_GNKE[g, here, :width, 0] = strength
        same = sector_DN[day, found] == sector_DN[day, here][:, None]
        edges_GNKE[g, here, :width, 1] = same & real
    graph_of_day_D = (np.arange(days) - refresh.start) // config.refresh_days
    return Graph(neighbours_GNK, edges_GNKE, np.maximum(graph_of_day_D, -1).astype(np.int32))


def trailing_correlation(
    a_WM: NDArray[np.float32], b_WN: NDArray[np.float32], min_days: float
) -> NDArray[np.float64]:
    """[M, N] Pearson correlation over the days both stocks have; 0 below `min_days` of them.

    Pairwise complete moments as matrix products: with masks m and zero-filled x,
    cov = Σ a_i b_j − Σ a_i m_j · Σ m_i b_j / n over the n common days.
    """
    (a, a_mask), (b, b_mask) = _about_zero(a_WM), _about_zero(b_WN)
    count, common = a_mask.T @ b_mask, (a_mask.T @ b_mask).clamp(min=1)
    a_sum, b_sum = a.T @ b_mask, a_mask.T @ b
    a_square, b_square = (a * a).T @ b_mask, a_mask.T @ (b * b)
    covariance = a.T @ b - a_sum * b_sum / common
    variances = (a_square - a_sum**2 / common) * (b_square - b_sum**2 / common)
    scale = variances.clamp(min=0).sqrt()
    least = 1e-12 * (a_square.mean() * b_square.mean()).sqrt()
    usable = (count >= min_days) & (scale > least)
    rho = torch.where(usable, covariance / scale, 0.0).clamp(-1, 1)
    return np.asarray(rho.numpy())


def _about_zero(returns_WN: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns less their mean, 0 where missing, and 1 where they are known; against cancellation
    only."""
    mask = torch.from_numpy(~np.isnan(returns_WN)).double()
    x = torch.from_numpy(np.nan_to_num(returns_WN)).double()
    return (x - x.sum(0) / mask.sum(0).clamp(min=1)) * mask, mask


def strongest(
    rho_MN: NDArray[np.float64], count: int, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places [M, K'] of the largest |ρ| ≥ threshold > 0 of each row, and their ρ.

    K' = min(count, N); strongest first, equal ones in ascending order; -1 and 0 where none.
    """
    size = np.abs(rho_MN)
    width = min(count, size.shape[1])
    top = np.sort(np.argpartition(-size, width - 1, axis=1)[:, :width], axis=1)
    order = np.argsort(-np.take_along_axis(size, top, axis=1), axis=1, kind="stable")
    top = np.take_along_axis(top, order, axis=1)
    strong = np.take_along_axis(size, top, axis=1) >= max(threshold, np.finfo(np.float64).tiny)
    rho = np.take_along_axis(rho_MN, top, axis=1)
    return np.where(strong, top, -1), np.where(strong, rho, 0.0)


def _save(graph: Graph, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(
                file,
                neighbours=graph.neighbours_GNK,
                edges=graph.edges_GNKE,
                graph_of_day=graph.graph_of_day_D,
            )
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise VolumeError(
            f"{path}: cannot be written ({error.strerror or error}); free space or make the "
            "panel's directory writable"
        ) from error
