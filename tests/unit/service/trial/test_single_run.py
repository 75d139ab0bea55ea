import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atft_hpo.config.schema import Config
from atft_hpo.errors import ConfigError, TrainingError, VolumeError
from atft_hpo.paths import RunPaths, Volume
from atft_hpo.service.process.signals import Signals
from atft_hpo.service.trial.single_run import prepare_run, train_once
from atft_hpo.training.phases.epoch_report import Ending

MakeConfig = Callable[..., Config]


class FakeWork:
    """The quick work; its runs are not attempts, so their directory may have any name."""

    def __init__(self, quick: Any, interrupt_at: int = -1) -> None:
        self.quick, self.interrupt_at = quick, interrupt_at

    def train(
        self, config: Any, panel: Any, run: RunPaths, on_epoch: Any, resume_from: Any, stop: Any
    ) -> Any:
        first = int(resume_from.read_text()) if resume_from else 0
        for epoch in range(first, 3):
            if epoch == self.interrupt_at:
                os.kill(os.getpid(), signal.SIGINT)
            if stop().value == "interrupt":
                return self.quick.TrainingResult(
                    Ending.INTERRUPTED, None, None, {}, epoch, 3, 0, ()
                )
            run.last.write_text(str(epoch + 1))
            on_epoch(self.quick.fake_report(epoch, 3, 1.0))
        return self.quick.TrainingResult(Ending.COMPLETE, 1.0, 0, {}, 3, 3, 0, ())

    def summarise(self, config: Any, result: Any, run: RunPaths, *rest: Any) -> None:
        run.summary.write_text(str(rest))


def test_runs_once_and_is_then_complete(
    quick: Any, make_config: MakeConfig, tmp_path: Path
) -> None:
    run = Volume(tmp_path).run("best")
    lines: list[str] = []
    single = prepare_run("best", make_config(), run)
    assert not single.is_complete
    train_once(single, None, FakeWork(quick), lines.append)  # type: ignore[arg-type]
    assert len(lines) == 3
    assert lines[0].startswith("best · baseline 1 · epoch 1/3")
    assert prepare_run("best", make_config(), run).is_complete
    assert "Run best" in run.summary.read_text()


def test_interrupted_run_continues(quick: Any, make_config: MakeConfig, tmp_path: Path) -> None:
    single = prepare_run("best", make_config(), Volume(tmp_path).run("best"))
    lines: list[str] = []
    first = train_once(single, None, FakeWork(quick, 1), lines.append)  # type: ignore[arg-type]
    assert first.ending is Ending.INTERRUPTED
    assert not single.is_complete
    second = train_once(single, None, FakeWork(quick), lines.append)  # type: ignore[arg-type]
    assert second.ending is Ending.COMPLETE
    assert [line.split(" · ")[2] for line in lines if "epoch" in line] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]
    assert any(line.startswith("continuing best from") for line in lines)


def test_other_configuration_needs_another_name(make_config: MakeConfig, tmp_path: Path) -> None:
    run = Volume(tmp_path).run("best")
    prepare_run("best", make_config(), run)
    with pytest.raises(ConfigError, match=r"seed: 0 → 4.*choose another --name"):
        prepare_run("best", make_config(seed=4), run)


def test_out_of_memory_says_what_to_lower(
    quick: Any, make_config: MakeConfig, tmp_path: Path
) -> None:
    single = prepare_run("best", make_config(), Volume(tmp_path).run("best"))
    work: Any = FakeWork(quick)

    def train(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    work.train = train
    with pytest.raises(TrainingError, match=r"lower slices\.days"):
        train_once(single, None, work, print)


def test_unwritable_volume(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(VolumeError, match="cannot be written"):
        prepare_run("best", make_config(), Volume(tmp_path).run("best"))


def test_signals_are_counted_and_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.count == 2
    assert signal.getsignal(signal.SIGTERM) is before
