"""Trials side by side read one panel: its pages are the file's, whoever has opened it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import dump_config
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from bench.panel.random_panel import write_panel

READER = """
import gc, json, sys
from pathlib import Path
import torch
from atft_hpo.config.toml import load_config
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.sampling.slices import SliceSource

def anonymous_bytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

def of_features():
    "What the kernel says of the mapping of features.bin, in bytes."
    blocks = Path("/proc/self/smaps").read_text().split("VmFlags:")
    lines = next(block for block in blocks if "features.bin" in block).splitlines()
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in pairs}

before = anonymous_bytes()
panel = Panel.open(Path(sys.argv[1]))
source = SliceSource(panel, load_config(Path(sys.argv[2])), torch.device("cpu"))
total = 0.0
for index in source.evaluation_plan(range(len(panel.dates))):
    total += float(source.batch(index).x_NTF.sum())
gc.collect()
print(json.dumps({"grown": anonymous_bytes() - before, "features": panel.features.nbytes}))
sys.stdout.flush()
sys.stdin.readline()
print(json.dumps(of_features()))
sys.stdout.flush()
sys.stdin.readline()
"""


class Reader:
    """A process that has read every feature of a panel."""

    def __init__(self, panel: Path, config: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER, str(panel), str(config)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def wide(tmp_path: Path, config: Config) -> tuple[Path, Path]:
    """A panel of 95 MB of features, and a configuration whose slices are small beside it."""
    panel = write_panel(tmp_path / "wide", 600, 200, config.data)
    study = tmp_path / "study.toml"
    study.write_text(dump_config(config))
    return panel.root, study


@pytest.fixture
def readers(wide: tuple[Path, Path]) -> Iterator[list[Reader]]:
    """Two at once."""
    both = [Reader(*wide), Reader(*wide)]
    yield both
    for reader in both:
        reader.end()


def test_two_trials_map_the_same_pages_and_copy_none(readers: list[Reader]) -> None:
    for reader in readers:
        found = reader.hear()
        assert found["grown"] < found["features"] / 2, "slices and labels only"
    for reader in readers:
        reader.go_on()
    for reader in readers:
        mapped = reader.hear()
        assert mapped["Rss"] >= 0.95 * mapped["Size"], "all of it was read"
        assert mapped["Anonymous"] == mapped["Private_Dirty"] == 0
        assert mapped["Shared_Clean"] == mapped["Rss"], "both have the same pages"


def test_features_are_the_files_memory(panel: Panel, config: Config) -> None:

    source = SliceSource(panel, config, torch.device("cpu"))
    assert not source.features_resident
    tensor_TNF = panel.features_tensor(slice(0, 5))
    address = panel.features.__array_interface__["data"][0]
    assert tensor_TNF.data_ptr() == address
    assert isinstance(panel.features, np.memmap)
