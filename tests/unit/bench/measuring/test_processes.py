"""A worker of a benchmark ends with the program that started it."""

import subprocess
import sys
from pathlib import Path

import psutil

PROGRAM = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from bench.measuring.processes import begin_worker

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, begin_worker)
    pool.submit(time.sleep, 0).result()
    pool.submit(time.sleep, 60)
    print("working", flush=True)
    time.sleep(60)
"""


def test_a_killed_programs_worker_does_not_live_on(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    root = Path(__file__).parents[4]
    parent = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(root), "PATH": ""},
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdout.readline() == "working\n"
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert workers
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
