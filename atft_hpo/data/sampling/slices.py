"""Slices of the panel as batches: the one source of tensors for training, evaluation, prediction.

    source = SliceSource(panel, config, device)
    for index in source.training_plan(generator):      # one epoch, every live cell once
        batch = source.batch(index)
    for index in source.evaluation_plan(source.split.validation): ...

Labels, graph and universe live on the device. Features are read from the memory map, slice by
slice, or are resident where the device is CUDA and half its free memory holds them. Nothing here
waits for a GPU: what a plan must know of the data it reads on the host.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atft_hpo.config.data_schema import SliceConfig
from atft_hpo.config.schema import Config
from atft_hpo.data.neutralization.loss_labels import loss_labels
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.data.sampling.cuts import day_cuts, stock_groups
from atft_hpo.data.sampling.edges import EDGE_ATTRIBUTES, load_graph
from atft_hpo.data.sampling.splits import (
    Split,
    leave_out_late_exits,
    panel_split,
    scored_returns,
)
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.trading import Trading

EVALUATION_DAYS = 240
"""Least length of evaluation slices: without gradients long ones fit, and the context before each
is computed besides. Trials that search `slices.days` below it are evaluated on the same cuts."""


@dataclass(frozen=True, eq=False)
class SliceIndex:
    """Which days and stocks a batch holds."""

    days: range
    """The S days with a loss."""
    context: int
    """C: days before them."""
    stocks: NDArray[np.int64]
    """Ascending panel indices; each is in the universe on some of the S days."""
    labelled: bool = True
    """Whether any of them has a label on any of the S days: without one there is no loss."""


class SliceSource:
    """Cuts a panel into slices, and slices into batches on `device`."""

    def __init__(self, panel: Panel, config: Config, device: torch.device) -> None:
        self.panel, self.device = panel, device
        self._config, self._split = config.slices, config.split
        self.stock_count = panel.alive.shape[1]
        self.graph = load_graph(panel, config.graph)
        self._alive_DN = torch.from_numpy(np.array(panel.alive)).to(device)
        self._present_DN = torch.from_numpy(np.array(panel.present)).to(device)
        self._sector_DN = torch.from_numpy(np.array(panel.sector)).to(device)
        return_DNQ = scored_returns(panel)
        trading = Trading.of(panel, range(len(panel.dates)), config.portfolio.delisting_return)
        self._return_DN = torch.from_numpy(trading.position_DN).to(device)
        self._executable_DN = torch.from_numpy(trading.executable_DN).to(device)
        if config.split.dates is not None:
            limit = self.split.validation.start
            leave_out_late_exits(return_DNQ, panel, self.split.train, limit)
        label_DNQ = loss_labels(panel, return_DNQ, config.loss)
        self._label_DNQ = torch.from_numpy(label_DNQ).to(device)
        self._labelled_DN = np.isfinite(label_DNQ).any(axis=2) & panel.alive
        self._neighbours_GNK = torch.from_numpy(self.graph.neighbours_GNK).to(device)
        self._edges_GNKE = torch.from_numpy(self.graph.edges_GNKE).to(device)
        self._graph_of_day_D = torch.from_numpy(self.graph.graph_of_day_D).to(device).long()
        self._resident_DNF = resident_features(panel, device)
        self._base_DNQ: Tensor | None = None
        self._has_base_D = np.zeros(len(panel.dates), dtype=np.bool_)

    @cached_property
    def split(self) -> Split:
        """Ranges of days.

        Raises:
            DataError: the panel is too short for a split that has no dates yet.
        """
        return panel_split(self.panel, self._split)

    @property
    def features_resident(self) -> bool:
        """Whether the features are held on the device."""
        return self._resident_DNF is not None

    @property
    def labels(self) -> NDArray[np.float32]:
        """[D, N, Q] labels of the loss, NaN where missing."""
        return np.asarray(self._label_DNQ.cpu().numpy())

    def has_base(self, days: range) -> bool:
        """Whether batches of all of `days` hold a forecast to correct."""
        return bool(self._has_base_D[days.start : days.stop].all())

    def set_base(self, days: range, base_DNQ: NDArray[np.float32]) -> None:
        """Give the batches of `days` this forecast [D, N, Q] to correct (`Batch.base_NSQ`)."""
        if self._base_DNQ is None:
            self._base_DNQ = torch.full_like(self._label_DNQ, torch.nan)
        self._base_DNQ[days.start : days.stop] = torch.from_numpy(base_DNQ).to(self.device)
        self._has_base_D[days.start : days.stop] = True

    def training_plan(self, generator: torch.Generator) -> list[SliceIndex]:
        """One epoch in random order: every (stock, day) of the universe in the train range once.

        The cuts between slices, and the groups of stocks (`slices.stocks`), differ each time.
        """
        length = self._config.days
        offset = int(torch.randint(1, length + 1, (), generator=generator))
        plan = []
        for days in day_cuts(self.split.train, length, offset):
            whole = self._index(days, None)
            groups = [whole.stocks]
            if self._config.stocks is not None:
                groups = stock_groups(
                    whole.stocks, self.panel.sector[days[0]], self._config.stocks, generator
                )
            plan += [self._index(days, group) for group in groups]
        order = torch.randperm(len(plan), generator=generator).tolist()
        return [plan[i] for i in order]

    def evaluation_plan(self, days: range) -> list[SliceIndex]:
        """Slices of all stocks that cover `days` in order, long ones."""
        return [self._index(part, None) for part in evaluation_cuts(days, self._config)]

    def whole_slices(self, days: range, length: int) -> list[SliceIndex]:
        """Slices of all stocks that cover `days` in order, `length` days each."""
        return [self._index(part, None) for part in day_cuts(days, length, length)]

    def batch(self, index: SliceIndex) -> Batch:
        """The tensors of one slice. Labels stand on its S days only."""
        stocks = _sent(torch.from_numpy(index.stocks), self.device)
        span = slice(index.days.start - index.context, index.days.stop)
        days = slice(index.days.start, index.days.stop)
        neighbours_SNK, edge_SNKE = self._edges_of(index, stocks)
        return Batch(
            x_NTF=self._features(span, index, stocks),
            present_NT=self._present_DN[span, stocks].T.contiguous(),
            alive_NS=self._alive_DN[days, stocks].T.contiguous(),
            sector_NT=self._sectors(span, index, stocks),
            label_NSQ=self._label_DNQ[days, stocks].transpose(0, 1).contiguous(),
            return_NS=self._return_DN[days, stocks].T.contiguous(),
            executable_NS=self._executable_DN[days, stocks].T.contiguous(),
            neighbours_SNK=neighbours_SNK,
            edge_SNKE=edge_SNKE,
            context=index.context,
            first_day=index.days.start,
            stocks=stocks,
            sectors=len(self.panel.manifest.sectors),
            base_NSQ=self._base(days, stocks),
        )

    def _sectors(self, span: slice, index: SliceIndex, stocks: Tensor) -> Tensor:
        """[N, T], or [N, 1]: the host knows whether any of them changes."""
        known_TN = self.panel.sector[span, index.stocks]
        last = slice(span.stop - 1, span.stop) if (known_TN == known_TN[-1]).all() else span
        return self._sector_DN[last, stocks].T.long()

    def _base(self, days: slice, stocks: Tensor) -> Tensor | None:
        """Days without a base stay NaN, so that none is trained or forecast by mistake."""
        if self._base_DNQ is None:
            return None
        return self._base_DNQ[days, stocks].transpose(0, 1).contiguous()

    def _index(self, days: range, stocks: NDArray[np.int64] | None) -> SliceIndex:
        context = min(self._config.context_days, days.start)
        if stocks is None:
            stocks = np.flatnonzero(self.panel.alive[days.start : days.stop].any(axis=0))
        labelled = self._labelled_DN[days.start : days.stop, stocks].any()
        return SliceIndex(days, context, stocks, bool(labelled))

    def _features(self, span: slice, index: SliceIndex, stocks: Tensor) -> Tensor:
        """[N, T, F] in the store's type on the device; half of what float32 would take."""
        if self._resident_DNF is not None:
            x_TNF = self._resident_DNF[span]
        else:
            x_TNF, stocks = self.panel.features_tensor(span), torch.from_numpy(index.stocks)
        if len(stocks) < self.stock_count:
            x_TNF = x_TNF.index_select(1, stocks)
        return _sent(x_TNF, self.device).transpose(0, 1).contiguous()

    def _edges_of(self, index: SliceIndex, stocks: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbours [S, N, K] as positions within `stocks`, and edges [S, N, K, E].

        An edge stands where both ends are alive that day and in the slice.
        """
        days = slice(index.days.start, index.days.stop)
        graph_S = self._graph_of_day_D[days]
        if not len(self._neighbours_GNK):
            shape = (len(index.days), len(stocks), self._neighbours_GNK.shape[2])
            none = torch.full(shape, -1, dtype=torch.int64, device=self.device)
            return none, torch.zeros(*shape, EDGE_ATTRIBUTES, device=self.device)
        position_N = torch.full((self.stock_count,), -1, dtype=torch.int64, device=self.device)
        position_N[stocks] = torch.arange(len(stocks), device=self.device)
        graphs = graph_S.clamp(min=0)[:, None]
        far_SNK = self._neighbours_GNK[graphs, stocks].long()
        alive_SN = self._alive_DN[days]
        day_S11 = torch.arange(len(index.days), device=self.device)[:, None, None]
        real_SNK = (far_SNK >= 0) & (graph_S >= 0)[:, None, None]
        real_SNK &= alive_SN[day_S11, far_SNK.clamp(min=0)]
        real_SNK &= alive_SN[:, stocks][:, :, None]
        near_SNK = torch.where(real_SNK, position_N[far_SNK.clamp(min=0)], -1)
        edge_SNKE = self._edges_GNKE[graphs, stocks]
        return near_SNK, edge_SNKE * (near_SNK >= 0)[..., None]


def evaluation_cuts(days: range, config: SliceConfig) -> list[range]:
    """The days of each evaluation slice."""
    length = max(config.days, EVALUATION_DAYS)
    return day_cuts(days, length, length)


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`; a GPU copies from pinned memory while the host goes on."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def resident_features(panel: Panel, device: torch.device) -> Tensor | None:
    """All features [D, N, F] on a CUDA device if half of its free memory holds them."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if panel.features.nbytes > free / 2:
        return None
    return panel.features_tensor(slice(None)).to(device)
