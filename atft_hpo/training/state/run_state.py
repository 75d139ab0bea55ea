"""Everything a run carries from epoch to epoch, and its way into last.pt and back, bit by bit.

    run = RunState.begin(config, panel, device)
    run.record(phase, facts, evaluation, …)        # one finished epoch
    save_checkpoint(paths.last, run.content())
    run.restore(load_checkpoint(last))

last.pt is written between epochs only; what happened since the last one is thrown away on resume
and done again, from the same random state, with the same result. Where the run stands follows from
its history, so there is no position to keep in step with it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import atft_hpo
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import dump_config, parse_config
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.sampling.splits import dated
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.panel_record import PanelRecord
from atft_hpo.errors import CheckpointError
from atft_hpo.evaluation.yardsticks import Yardsticks
from atft_hpo.model.atft import ATFT
from atft_hpo.model.forest import Stack
from atft_hpo.training.fit_trees import OnRound, fit_stack
from atft_hpo.training.forecasting.fan_cache import KeptDecompositions
from atft_hpo.training.forecasting.forecast import model_to_train
from atft_hpo.training.optim.averaging import Averages, Weights
from atft_hpo.training.optim.optimizer import make_optimizer
from atft_hpo.training.phases.epoch_report import EpochReport
from atft_hpo.training.phases.objective import best_epoch
from atft_hpo.training.phases.phase_table import Phase, phase_over, phases_of
from atft_hpo.training.state.checkpoint import load_checkpoint
from atft_hpo.training.state.history import from_content, to_content
from atft_hpo.training.state.identity import CONTENT_VERSION, shaping


@dataclass(frozen=True)
class BestEpoch:
    """The epoch a phase is summed up by, with its weights."""

    step: int
    phase: int
    epoch: int
    value: float
    """Mean objective over the `smoothing_epochs` that end here."""
    metrics: dict[str, float]
    modules: list[str]
    weights: Weights = field(repr=False)


@dataclass
class RunState:
    """One training run between two steps."""

    config: Config
    """With its split as dates."""
    panel: Panel
    device: torch.device
    source: SliceSource
    model: ATFT
    optimizer: torch.optim.AdamW
    averages: Averages
    plan_generator: torch.Generator
    """Draws cuts and order of slices; on the CPU."""
    augment_generator: torch.Generator
    """Draws augmentations; on the device."""
    phases: tuple[Phase, ...]
    stack: Stack | None = None
    """The trees that the model corrects."""
    history: list[EpochReport] = field(default_factory=list)
    best: BestEpoch | None = None
    """Of the last phase reached in full."""
    candidate: BestEpoch | None = None
    """Of the phase under way."""
    decompositions: KeptDecompositions = field(default_factory=KeptDecompositions)
    """Of the validation range."""
    seconds_before: float = 0.0
    """Wall time of earlier attempts up to their last checkpoint."""
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(cls, config: Config, panel: Panel, device: torch.device) -> "RunState":
        """A run before its first epoch; sets torch's global seed.

        Raises:
            DataError: the panel is too short for the split, or lacks days of it.
        """
        config = dated(config, panel)
        phases = phases_of(config)
        torch.manual_seed(config.seed)
        model = model_to_train(config, panel, device)
        return cls(
            config=config,
            panel=panel,
            device=device,
            source=SliceSource(panel, config, device),
            model=model,
            optimizer=make_optimizer(model, config.optim),
            averages=Averages(model, config.optim),
            plan_generator=_generator(config.seed, 1, torch.device("cpu")),
            augment_generator=_generator(config.seed, 2, device),
            phases=phases,
        )

    @cached_property
    def yardsticks(self) -> Yardsticks:
        """Of the validation range."""
        return Yardsticks.of(self.panel, self.source.split.validation, self.config.portfolio)

    @cached_property
    def panel_record(self) -> PanelRecord:
        """What checkpoints keep of the panel."""
        return PanelRecord.of(self.panel)

    @property
    def needs_trees(self) -> bool:
        """Whether trees are to be fitted before the first epoch."""
        return self.config.model.trees.rounds > 0 and self.stack is None

    def fit_trees(self, on_round: OnRound) -> None:
        """Fit the trees that the model corrects, and use them."""
        self.use(self.fitted_stack(on_round))

    def fitted_stack(self, on_round: OnRound) -> Stack:
        """Trees of the train range as the configuration says; see `fit_stack`."""
        return fit_stack(
            self.panel,
            self.source.labels,
            self.source.split.train,
            self.config.model.trees,
            seed=self.config.seed,
            half_life_days=self.config.loss.half_life_days,
            on_round=on_round,
        )

    def use(self, stack: Stack) -> None:
        """Let the model correct these trees: the cross-fitted ones where it learns."""
        self.stack, self.model.forest = stack, stack.forest
        for days, base_DNQ in stack.cross_fitted(self.panel):
            self.source.set_base(days, base_DNQ)

    @property
    def seconds(self) -> float:
        """Wall time over all attempts."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def epochs_total(self) -> int:
        """Epochs the run takes at most: those done, and those its phases have left."""
        return len(self.history) + sum(self._epochs_left(phase) for phase in self.phases)

    def reports_of(self, phase: Phase) -> list[EpochReport]:
        """Finished epochs of `phase`."""
        return [report for report in self.history if report.phase == phase.number]

    def is_over(self, phase: Phase) -> bool:
        """Whether `phase` is reached in full: its epochs are done, or its patience is used up."""
        values = [report.value for report in self.reports_of(phase)]
        return phase_over(values, phase.config, self.config.objective)

    @property
    def is_complete(self) -> bool:
        """Whether all phases are over."""
        return all(self.is_over(phase) for phase in self.phases)

    def record(self, phase: Phase, report: EpochReport) -> None:
        """Take in a finished epoch of `phase`, the model still holding the weights evaluated."""
        self.history.append(report)
        values = [r.value for r in self.reports_of(phase)]
        if best_epoch(values, phase.config.epochs, self.config.objective) == report.epoch:
            self.candidate = BestEpoch(
                step=report.step,
                phase=report.phase,
                epoch=report.epoch,
                value=report.smoothed,
                metrics=dict(report.metrics),
                modules=list(report.modules),
                weights={
                    k: v.detach().to("cpu", copy=True) for k, v in self.model.state_dict().items()
                },
            )
        if self.is_over(phase):
            self.best, self.candidate = self.candidate, None

    def content(self) -> dict[str, Any]:
        """All of it, for last.pt."""
        return {
            "version": CONTENT_VERSION,
            "config": dump_config(self.config),
            "panel": self.panel.fingerprint,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averages": self.averages.content(),
            "stack": self.stack.content() if self.stack else {},
            "random": _random_state(self.device),
            "plan_generator": self.plan_generator.get_state(),
            "augment_generator": self.augment_generator.get_state(),
            "history": [to_content(report) for report in self.history],
            "best": _fields(self.best),
            "candidate": _fields(self.candidate),
            "seconds": self.seconds,
        }

    def restore(self, last: Path) -> None:
        """Stand where the run that wrote `last` stood.

        Phases that had not begun there may be configured otherwise here.

        Raises:
            CheckpointError: `last` is absent, altered, of another configuration, panel or version.
        """
        content = load_checkpoint(last)
        self._check_same_run(last, content)
        self.history = [from_content(report) for report in content["history"]]
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.averages.restore(content["averages"])
        if content["stack"]:
            self.use(Stack.from_content(content["stack"]))
        self.plan_generator.set_state(content["plan_generator"])
        self.augment_generator.set_state(content["augment_generator"])
        self.best = BestEpoch(**content["best"]) if content["best"] else None
        self.candidate = BestEpoch(**content["candidate"]) if content["candidate"] else None
        self.seconds_before, self.started = content["seconds"], time.monotonic()
        _set_random_state(content["random"], self.device)

    def take_over(self, last: Path) -> list[EpochReport]:
        """As `restore`, from another run's state; returns the epochs that are new here.

        Raises:
            CheckpointError: as `restore`.
        """
        before, known = self.seconds, len(self.history)
        self.restore(last)
        self.history[known:] = [replace(r, shared=True) for r in self.history[known:]]
        self.seconds_before = before
        return self.history[known:]

    def model_content(
        self, weights: Weights, modules: Sequence[str], metrics: dict[str, float], step: int
    ) -> dict[str, Any]:
        """What best_main.pt, final.pt and swa_main.pt hold."""
        report = next(r for r in self.history if r.step == step)
        return {
            "version": atft_hpo.__version__,
            "config": dump_config(self.config),
            "panel": self.panel.fingerprint,
            "panel_record": self.panel_record.model_dump(mode="json"),
            "phase": report.phase_name,
            "epoch": report.epoch,
            "step": step,
            "modules": list(modules),
            "metrics": metrics,
            "model": weights,
            "forest": self.stack.forest.content() if self.stack else [],
        }

    def _epochs_left(self, phase: Phase) -> int:
        return 0 if self.is_over(phase) else phase.config.epochs - len(self.reports_of(phase))

    def _check_same_run(self, last: Path, content: dict[str, Any]) -> None:
        if content.get("version") != CONTENT_VERSION or "optimizer" not in content:
            raise CheckpointError(f"{last}: not a last.pt of this version; train again")
        if content["panel"] != self.panel.fingerprint:
            raise CheckpointError(
                f"{last}: written on panel {content['panel'][:12]}, this is "
                f"{self.panel.fingerprint[:12]}; resume on the same panel, or train again"
            )
        before = parse_config(content["config"], str(last))
        begun = {report["phase_name"] for report in content["history"]}
        if shaping(before, begun) != shaping(self.config, begun):
            raise CheckpointError(
                f"{last}: written under another configuration of phases that have begun; resume "
                "with the configuration it was started with, or train again"
            )


def _fields(best: BestEpoch | None) -> dict[str, Any]:
    return {} if best is None else {name: getattr(best, name) for name in best.__dataclass_fields__}


def _generator(seed: int, stream: int, device: torch.device) -> torch.Generator:
    """A generator of its own for each purpose, so that none shifts another's draws."""
    derived = np.random.SeedSequence([seed, stream]).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(derived))


def _random_state(device: torch.device) -> dict[str, Any]:
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
