"""A trial process whose training is instant: the service's own code around fake work.

Forked by the tests' launcher, which runs `main`. What the fake training does is written in the
study's question, as TOML keys of `Script`.
"""

import os
import signal
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atft_hpo.config.schema import Config
from atft_hpo.errors import CheckpointError, HealthGateError, NonFiniteError
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.paths import RunPaths
from atft_hpo.service.trial import trial_process
from atft_hpo.training.phases.epoch_report import Decision, Ending, EpochReport, TrainingResult

DAYS = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")


@dataclass(frozen=True)
class Script:
    """What the fake training does."""

    epochs: int = 3
    epoch_seconds: float = 0.01
    die_at: int = -1
    """SIGKILL itself in this epoch of its first attempt."""
    always_die: bool = False
    hang_at: int = -1
    """Ignore everything for ever in this epoch …"""
    hanging_attempt: int = 0
    """… of this attempt; 0 = of every one."""
    error: str = ""
    value: float = 1.0
    damaged: bool = False
    """Checkpoints of even attempts cannot be read."""
    noise: float = 0.0
    room: int = 0
    """So many trials fit into the memory; 0 = any number."""


def script_of(config: Config) -> Script:
    """The script in the study's question."""
    return Script(**tomllib.loads(config.study.question))


def fake_report(
    epoch: int, epochs: int, value: float, phase: int = 0, seed: int = 0
) -> EpochReport:
    """A report of epoch `epoch` with small random daily series around `value`."""
    noise_D = np.random.default_rng([seed, epoch]).normal(size=len(DAYS)).astype(np.float32)
    series_D = (noise_D * 0.01 + value * 0.01).astype(np.float32)
    return EpochReport(
        phase=phase, phase_name=("baseline", "adaptive_norm")[phase], epoch=epoch,
        epochs_done=epoch + 1, epochs_total=epochs,
        metrics={"ic": 0.01, "rank_ic": 0.02, "sharpe": value, "icir": float("nan")},
        value=value, smoothed=value, train={"loss": 1.0}, modules=(), seconds=0.1,
        validation_seconds=0.05, samples_per_second=1e4, eta_seconds=1.0,
        daily=DailySeries(DAYS, *[series_D] * 4, abs(series_D), series_D, DAYS),
    )  # fmt: skip


class QuickWork:
    """`service.trial.training.Work` without torch: a checkpoint is the number of epochs done."""

    def open_panel(self, path: Path) -> Any:
        return None

    def check(self, checkpoint: Path) -> None:
        if checkpoint.read_text() == "damaged":
            raise CheckpointError(f"{checkpoint}: damaged")

    def train(
        self, config: Config, panel: Any, run: RunPaths, on_epoch: Any, resume_from: Path | None,
        should_stop: Any, siblings: Any = None,
    ) -> TrainingResult:  # fmt: skip
        script = script_of(config)
        attempt = int(run.root.name.removeprefix("attempt-"))
        done = int(resume_from.read_text()) if resume_from else 0
        (run.root / "started_at").write_text(str(done))
        here = run.root.parents[1] / f"here-{os.getpid()}"
        here.touch()
        try:
            return self._epochs(script, attempt, done, run, on_epoch, should_stop)
        finally:
            here.unlink()

    def _epochs(
        self, script: Script, attempt: int, done: int, run: RunPaths, on_epoch: Any,
        should_stop: Any,
    ) -> TrainingResult:  # fmt: skip
        for epoch in range(done, script.epochs):
            deadline = time.monotonic() + script.epoch_seconds
            while time.monotonic() < deadline:
                if should_stop() is not Decision.CONTINUE:
                    return self._result(Ending.INTERRUPTED, script, epoch)
                time.sleep(0.005)
            self._misbehave(script, epoch, attempt)
            if script.room and len(list(run.root.parents[1].glob("here-*"))) > script.room:
                raise MemoryError("the trials do not fit")
            damaged = script.damaged and attempt % 2 == 0
            run.last.write_text("damaged" if damaged else str(epoch + 1))
            decision = on_epoch(fake_report(epoch, script.epochs, script.value))
            if decision is Decision.PRUNE:
                return self._result(Ending.PRUNED, script, epoch + 1)
            if decision is Decision.CANCEL:
                return self._result(Ending.CANCELLED, script, epoch + 1)
        return self._result(Ending.COMPLETE, script, script.epochs)

    def summarise(
        self, config: Config, result: TrainingResult, run: RunPaths, panel: Any, title: str,
        outcome: str,
    ) -> None:  # fmt: skip
        run.summary.write_text(f"# {title}: {outcome}\n")

    def _misbehave(self, script: Script, epoch: int, attempt: int) -> None:
        if script.always_die or (epoch == script.die_at and attempt == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if epoch == script.hang_at and script.hanging_attempt in (0, attempt):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        errors: dict[str, Exception] = {
            "memory": MemoryError("too large"),
            "health": HealthGateError("the input family 'returns' does not move the output"),
            "non_finite": NonFiniteError("loss is nan in phase gat"),
            "defect": KeyError("a defect"),
            "full": OSError(28, "No space left on device"),
        }
        if script.error:
            raise errors[script.error]

    def _result(self, ending: Ending, script: Script, done: int) -> TrainingResult:
        return TrainingResult(ending, script.value, 0, {}, done, script.epochs, 0.1, ())


def main(arguments: Sequence[str]) -> int:
    """A trial process around the fake work."""
    return trial_process.main(arguments, make_work=lambda settings: QuickWork())
