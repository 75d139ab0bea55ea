"""How fast, and in how much memory, this process trains a study's base configuration.

    probe = Probe(config, panel, device, most_tokens=4096)
    probe.warm_up()
    found = probe.run(seconds=1.0)          # samples/s of real training steps, memory on a GPU

The steps are those of training with every module on, on random numbers in the study's shape: what
they cost does not depend on what the numbers are, and neither labels nor a graph need be built for
them. So a probe begins at once, also on a panel that takes minutes to prepare.
"""

import statistics
import time
from dataclasses import dataclass

import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.data.sampling.edges import EDGE_ATTRIBUTES
from atft_hpo.data.sampling.slices import evaluation_cuts, resident_features
from atft_hpo.data.sampling.splits import panel_split
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.atft import MODULES
from atft_hpo.training.forecasting.forecast import evaluating, model_to_train, precision
from atft_hpo.training.loss.terms import LossRules, SliceTargets
from atft_hpo.training.optim.averaging import Averages
from atft_hpo.training.optim.optimizer import make_optimizer, set_rates
from atft_hpo.training.phases.phase_table import phases_of
from atft_hpo.training.run.epoch import train_step

GIB = 2.0**30
LEAST_STOCKS = 16
"""Of a slice that is cut to few tokens: losses compare stocks."""


@dataclass(frozen=True)
class Pace:
    """What one process did."""

    samples_per_second: float
    """Of the step that took the median time, so that one slow step says nothing."""
    memory_gib: float | None = None
    """What torch holds on the GPU; None on a CPU. The CUDA context comes on top."""
    free_gib: float | None = None
    """What all processes together have left of the GPU."""


class Probe:
    """See the module. A `Learner`."""

    def __init__(
        self, config: Config, panel: Panel, device: torch.device, most_tokens: int | None = None
    ) -> None:
        """`most_tokens`: stock-days of a slice, context included; None = as in training.

        Raises:
            DataError: the panel is too short for the split.
        """
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.model = model_to_train(config, panel, device)
        self.model.enable(MODULES)
        last = phases_of(config)[-1].config
        self.optimizer = make_optimizer(self.model, config.optim)
        set_rates(self.optimizer, last.lr, 1.0, config.optim)
        self.averages = Averages(self.model, config.optim)
        self._resident_DNF = resident_features(panel, device)
        self._rules = LossRules.of(config, last)
        alive = int(panel.alive[-1].sum()) or panel.alive.shape[1]
        validation = panel_split(panel, config.split).validation
        cuts = evaluation_cuts(validation, config.slices)
        self._evaluated = _Shape(max(map(len, cuts)), alive)
        trained = _Shape(config.slices.days, min(config.slices.stocks or alive, alive))
        self._trained = trained.cut(config.slices.context_days, most_tokens)

    def warm_up(self) -> None:
        """The first step, and on a GPU the largest forecast: all the memory that is taken."""
        if self.device.type == "cuda":
            self._forecast()
        self._batch = self._random(self._trained)
        self._step()

    def run(self, seconds: float) -> Pace:
        """Steps for about so long, at least one."""
        targets = SliceTargets.of(self._batch)
        times: list[float] = []
        while sum(times) < seconds:
            started = time.perf_counter()
            self._step()
            times.append(time.perf_counter() - started)
        rate = float(targets.samples) / statistics.median(times)
        return Pace(rate, *self._memory())

    def _step(self) -> None:
        self.model.train()
        numbers = train_step(self, self._batch, self._rules, 1.0)
        float(numbers.values["loss"])  # a GPU has then done the step

    def _forecast(self) -> None:
        batch = self._random(self._evaluated)
        with evaluating(self.model), torch.no_grad(), precision(self.config, self.device):
            self.model(batch)

    def _memory(self) -> tuple[float, float] | tuple[()]:
        if self.device.type != "cuda":
            return ()
        free, _ = torch.cuda.mem_get_info(self.device)
        return torch.cuda.max_memory_reserved(self.device) / GIB, free / GIB

    def _random(self, shape: "_Shape") -> Batch:
        days, stocks = shape.days, shape.stocks
        context, horizons = self.config.slices.context_days, len(self.config.data.horizons_days)
        neighbours = min(self.config.graph.neighbours, stocks - 1)
        inputs = self.model.inputs
        draw = torch.Generator().manual_seed(self.config.seed)
        x_NTF = torch.randn(stocks, context + days, inputs.features, generator=draw)
        near_NK = torch.stack([torch.randperm(stocks, generator=draw) for _ in range(neighbours)])
        return Batch(
            x_NTF=x_NTF.to(getattr(torch, self.config.data.pack.dtype)),
            present_NT=torch.ones(stocks, context + days, dtype=torch.bool),
            alive_NS=torch.ones(stocks, days, dtype=torch.bool),
            sector_NT=torch.randint(0, inputs.sectors, (stocks, 1), generator=draw),
            sectors=inputs.sectors,
            label_NSQ=torch.randn(stocks, days, horizons, generator=draw),
            return_NS=0.01 * torch.randn(stocks, days, generator=draw),
            executable_NS=torch.ones(stocks, days, dtype=torch.bool),
            neighbours_SNK=near_NK.T.expand(days, stocks, neighbours).contiguous(),
            edge_SNKE=torch.rand(days, stocks, neighbours, EDGE_ATTRIBUTES, generator=draw),
            context=context,
            first_day=context,
            stocks=torch.arange(stocks),
        ).to(self.device)


@dataclass(frozen=True)
class _Shape:
    """Days with a loss, and stocks, of a slice."""

    days: int
    stocks: int

    def cut(self, context: int, most_tokens: int | None) -> "_Shape":
        """The same days of fewer stocks, so that a step takes about a second at most."""
        if most_tokens is None:
            return self
        stocks = max(LEAST_STOCKS, most_tokens // (context + self.days))
        return _Shape(self.days, min(self.stocks, stocks))
