"""What a trial process and `atft-hpo train` do with torch: open, train, check, summarise.

The Protocol is the seam between service and training: everything else in the service runs, and is
tested, without torch. `TorchWork` is the real thing; it is imported by those who start training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from atft_hpo.config.schema import Config
from atft_hpo.config.settings import Settings
from atft_hpo.errors import ConfigError
from atft_hpo.paths import RunPaths
from atft_hpo.training.phases.epoch_report import Decision, EpochReport, TrainingResult

if TYPE_CHECKING:
    import torch

    from atft_hpo.data.store.panel import Panel
    from atft_hpo.results.run_summary.hardware import HardwareUsage

OnEpoch = Callable[[EpochReport], Decision]
ShouldStop = Callable[[], Decision]


@dataclass(frozen=True)
class Siblings:
    """The trials beside one, which may have done a part of its work."""

    study: Config
    """The study's configuration, with its search space."""
    states: Path
    """Directory of what they have in common."""


class Work(Protocol):
    """One training run."""

    def open_panel(self, path: Path) -> "Panel":
        """The panel store at `path`; raises PanelStoreError."""

    def check(self, checkpoint: Path) -> None:
        """Raises CheckpointError when `checkpoint` is damaged."""

    def train(
        self,
        config: Config,
        panel: "Panel",
        run: RunPaths,
        on_epoch: OnEpoch,
        resume_from: Path | None,
        should_stop: ShouldStop,
        siblings: Siblings | None = None,
    ) -> TrainingResult:
        """`run_phases` on this machine's device; what siblings share is shared."""

    def summarise(
        self,
        config: Config,
        result: TrainingResult,
        run: RunPaths,
        panel: "Panel",
        title: str,
        outcome: str,
    ) -> None:
        """Write summary.md of what `train` gave."""


class TorchWork:
    """Training with torch, hardware watched."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError when CUDA is asked for and absent."""
        from atft_hpo.training.run.memory import keep_freed_memory

        keep_freed_memory()
        self._device = pick_device(settings)
        self._usage: HardwareUsage | None = None

    def open_panel(self, path: Path) -> "Panel":
        """See `Work`."""
        from atft_hpo.data.store.panel import Panel

        return Panel.open(path)

    def check(self, checkpoint: Path) -> None:
        """See `Work`."""
        from atft_hpo.training.state.checkpoint import load_checkpoint

        load_checkpoint(checkpoint)

    def train(
        self,
        config: Config,
        panel: "Panel",
        run: RunPaths,
        on_epoch: OnEpoch,
        resume_from: Path | None,
        should_stop: ShouldStop,
        siblings: Siblings | None = None,
    ) -> TrainingResult:
        """See `Work`."""
        import torch

        from atft_hpo.results.run_summary.hardware import HardwareMonitor
        from atft_hpo.search.shared_states import shared_states
        from atft_hpo.training.run.loop import run_phases
        from atft_hpo.training.state.reuse import SharedStates

        if config.runtime.threads is not None:
            torch.set_num_threads(config.runtime.threads)
        store = None
        if siblings is not None:
            store = SharedStates(siblings.states, shared_states(siblings.study))
        with HardwareMonitor(self._device) as monitor:
            result = run_phases(
                config, panel, run, self._device, on_epoch, resume_from, should_stop, store
            )
        self._usage = monitor.usage()
        return result

    def summarise(
        self,
        config: Config,
        result: TrainingResult,
        run: RunPaths,
        panel: "Panel",
        title: str,
        outcome: str,
    ) -> None:
        """See `Work`."""
        from atft_hpo.results.run_summary.summary import write_summary

        assert self._usage is not None, "summarise follows train"
        write_summary(run.summary, config, result, self._usage, run, panel, title, outcome)


def pick_device(settings: Settings) -> "torch.device":
    """The device of `settings`; raises ConfigError when CUDA is asked for and absent."""
    import torch

    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise ConfigError("device is cuda, but torch finds no CUDA GPU; use cpu or auto")
    return torch.device("cuda" if available and settings.device != "cpu" else "cpu")
