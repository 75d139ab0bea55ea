"""Freed memory stays with the process, in a process of its own: the setting is for life."""

import subprocess
import sys

import pytest

COUNT = """
import resource, torch
from atft_hpo.training.run.memory import keep_freed_memory

if {kept}:
    keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2 << 20)  # 8 MiB: 2,048 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_is_not_fetched_anew() -> None:
    pages = {
        kept: int(subprocess.check_output([sys.executable, "-c", COUNT.format(kept=kept)]))
        for kept in (False, True)
    }
    assert pages[True] < 2048, pages
