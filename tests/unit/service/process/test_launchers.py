import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import scripted

from atft_hpo.config.settings import Settings
from atft_hpo.errors import VolumeError
from atft_hpo.paths import Volume
from atft_hpo.service.database.fencing import Lease
from atft_hpo.service.process.launchers import Handle, LocalLauncher, Place, TrialJob
from atft_hpo.service.trial.trial_process import PRELOAD, Orders, parse_orders

URL = "postgresql+psycopg2://me:secret@host/base"
Start = Callable[..., Handle]


def job(tmp_path: Path, place: Place | None = None) -> TrialJob:
    return TrialJob(Lease("s", 3, 17), place or Place(0, None, 2), tmp_path / "a" / "log.txt")


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def begin(code: str, place: Place | None = None) -> Handle:
        settings = Settings(None, Volume(tmp_path), "cpu")
        launcher = LocalLauncher(URL, settings, partial(scripted.execute, code), preload=())
        return launcher.start(job(tmp_path, place))

    return begin


def ended(handle: Handle) -> int:
    while (code := handle.poll()) is None:
        time.sleep(0.01)
    return code


def test_arguments_are_what_a_trial_process_reads(tmp_path: Path) -> None:
    assert parse_orders(job(tmp_path).arguments) == Orders(Lease("s", 3, 17), threads=2)


def test_prints_go_to_the_log_and_the_url_to_the_environment(start: Start, tmp_path: Path) -> None:
    names = ("ATFT_HPO_STORAGE", "ATFT_HPO_DEVICE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    code = f"import os, sys; print([os.environ[n] for n in {names}]); sys.exit(7)"
    assert ended(start(code, Place(1, "5", 3))) == 7
    assert (tmp_path / "a" / "log.txt").read_text() == f"{[URL, 'cpu', '5', '3']}\n"


def test_cpu_trials_see_no_gpu(start: Start, tmp_path: Path) -> None:
    ended(start("import os; print(repr(os.environ['CUDA_VISIBLE_DEVICES']))"))
    assert (tmp_path / "a" / "log.txt").read_text() == "''\n"


def test_process_has_a_session_of_its_own(start: Start, tmp_path: Path) -> None:
    handle = start("import time; print('here', flush=True); time.sleep(60)")
    log = tmp_path / "a" / "log.txt"
    while not log.read_text():
        time.sleep(0.01)
    assert os.getsid(handle.pid) == handle.pid
    handle.terminate()
    assert ended(handle) == -15


def test_kill_ends_what_it_has_started_and_may_be_repeated(start: Start, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    handle = start(code)
    log = tmp_path / "a" / "log.txt"
    while not log.read_text().endswith("\n"):
        time.sleep(0.01)
    handle.kill()
    handle.kill()
    assert ended(handle) == -9
    child = Path(f"/proc/{int(log.read_text())}/stat")
    deadline = time.monotonic() + 10
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the grandchild lives on"
        time.sleep(0.01)


def test_unwritable_volume(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file where the directory belongs")
    with pytest.raises(VolumeError, match="cannot be written"):
        start("pass")


TOUCHES = """
import importlib, sys
import torch
touched = []
for name in ("is_available", "device_count", "_lazy_init", "init"):
    setattr(torch.cuda, name, lambda *_, name=name: touched.append(name))
for module in sys.argv[1:]:
    importlib.import_module(module)
before = set(sys.modules)
torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))]).step()
print(touched, len(set(sys.modules) - before))
"""


def test_what_the_server_imports_touches_no_gpu_and_leaves_trials_little() -> None:
    """A process forked after CUDA has been looked at could not use it."""
    done = subprocess.run(
        [sys.executable, "-c", TOUCHES, *PRELOAD], capture_output=True, text=True, check=True
    )
    touched, imported = done.stdout.strip().rsplit(" ", 1)
    assert touched == "[]"
    assert int(imported) < 20, "torch imports hundreds of modules with its first optimiser"
