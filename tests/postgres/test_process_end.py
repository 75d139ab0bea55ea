"""What an agent records of a trial process that ended without recording it itself."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atft_hpo.errors import VolumeError
from atft_hpo.service.agent.process_end import Running, Settler
from atft_hpo.service.capacity.places import Places
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.fencing import TrialStop
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.process.exit_codes import Exit
from atft_hpo.service.process.launchers import Place

pytestmark = pytest.mark.postgres
TRIALS = "SELECT * FROM atft_trial"
ATTEMPTS = "SELECT * FROM atft_attempt"
Rows = Callable[[str], list[Any]]
ON_GPU = [Place(0, "0", 1), Place(1, "1", 1), Place(2, "0", 1)]


class Ended:
    """A handle of a process that is gone."""

    pid = 1

    def poll(self) -> int | None:
        return 0

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Scene:
    """One running trial at the first of some places, and what its agent says."""

    def __init__(self, database: Database, study: Any, claim: Any, log: Path, places: list[Place]):
        self.said: list[str] = []
        self.places = Places(places)
        self.settler = Settler(database, study, self.places, self.said.append)
        asked = Asker(database, study).ask(claim)
        self.running = Running(claim, asked, places[0], Ended(), log, time.monotonic())

    def settle(self, code: int, beside: int) -> VolumeError | None:
        return self.settler.settle(self.running, code, beside)


@pytest.fixture
def vmstat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's counters."""
    path = tmp_path / "vmstat"
    path.write_text("oom_kill 4\n")
    monkeypatch.setattr("atft_hpo.service.process.exit_codes.VMSTAT", path)
    return path


@pytest.fixture
def scene(
    database: Database, make_study: Any, take: Any, tmp_path: Path, vmstat: Path
) -> Callable[..., Scene]:
    def make(places: list[Place] = ON_GPU) -> Scene:
        study = make_study(budget={"trials": 1, "max_attempts": 1})
        log = tmp_path / "log.txt"
        log.write_text("Traceback …\nCUDA out of memory: 2 GiB\n")
        return Scene(database, study, take(), log, places)

    return make


def test_out_of_memory_beside_another_lowers_its_gpu(scene: Any, rows: Rows) -> None:
    now = scene()
    assert now.settle(Exit.OUT_OF_MEMORY, beside=1) is None
    (trial,), (attempt,) = rows(TRIALS), rows(ATTEMPTS)
    assert (trial.state, trial.failures, attempt.ending) == ("waiting", 0, "INTERRUPTED")
    assert attempt.message == "out of memory beside others: CUDA out of memory: 2 GiB"
    assert (now.places.count("0"), now.places.count("1")) == (1, 1)
    assert "1 at a time on GPU 0 from now on" in now.said[0]


def test_out_of_memory_alone_on_its_gpu_is_its_own(scene: Any, rows: Rows) -> None:
    now = scene()
    now.settle(Exit.OUT_OF_MEMORY, beside=0)
    (trial,) = rows(TRIALS)
    assert (trial.outcome, trial.failures) == ("OUT_OF_MEMORY", 1)
    assert trial.message.startswith("CUDA out of memory: 2 GiB")
    assert now.places.count("0") == 2


def test_killed_by_the_kernel_for_memory_is_out_of_memory(
    scene: Any, rows: Rows, vmstat: Path
) -> None:
    now = scene([Place(i, None, 1) for i in range(2)])
    vmstat.write_text("oom_kill 5\n")
    now.settle(-signal.SIGKILL, beside=1)
    assert (rows(TRIALS)[0].state, rows(TRIALS)[0].failures) == ("waiting", 0)
    assert "the kernel" in rows(ATTEMPTS)[0].message
    assert now.places.count(None) == 1


def test_killed_by_the_kernel_alone(scene: Any, rows: Rows, vmstat: Path) -> None:
    now = scene()
    vmstat.write_text("oom_kill 5\n")
    now.settle(-signal.SIGKILL, beside=0)
    assert rows(TRIALS)[0].outcome == "OUT_OF_MEMORY"


def test_killed_by_anybody_else_is_a_crash(scene: Any, rows: Rows) -> None:
    now = scene()
    now.settle(-signal.SIGKILL, beside=1)
    assert rows(TRIALS)[0].outcome == "CRASHED"
    assert now.places.count("0") == 2
    assert "killed by SIGKILL" in now.said[0]


def test_one_kill_of_the_kernels_explains_one_death(scene: Any, vmstat: Path) -> None:
    now = scene()
    vmstat.write_text("oom_kill 5\n")
    assert now.settler._killed_for_memory()
    assert not now.settler._killed_for_memory()


def test_what_was_asked_to_stop_did_so_whatever_its_last_word(scene: Any, rows: Rows) -> None:
    now = scene()
    now.running.cause = TrialStop.INTERRUPTED
    now.settle(Exit.OUT_OF_MEMORY, beside=1)
    assert rows(TRIALS)[0].state == "waiting"
    assert rows(ATTEMPTS)[0].message == TrialStop.INTERRUPTED.value
    assert now.places.count("0") == 2


def test_a_full_volume_is_handed_on(scene: Any, rows: Rows) -> None:
    error = scene().settle(Exit.VOLUME, beside=0)
    assert isinstance(error, VolumeError)
    assert rows(TRIALS)[0].state == "waiting"
