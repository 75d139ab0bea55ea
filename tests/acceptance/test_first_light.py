"""The whole service with real training, real processes, real Postgres and real signals.

Each test runs the command line as a person would, in a volume of its own; the embedded server
starts and stops with the commands.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
import torch

from atft_hpo.config.toml import load_config
from atft_hpo.paths import Volume
from atft_hpo.training.state.checkpoint import load_checkpoint
from bench.real.simulated import write_market

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]

STUDY = """
seed = 3
[study]
name = "light"
[data]
source = "synthetic"
horizons_days = [1, 5]
[data.synthetic]
days = 180
stocks = 24
noise_features = 2
[graph]
neighbours = 4
window_days = 40
refresh_days = 10
[slices]
days = 30
context_days = 10
[model]
hidden = 8
lookback_days = 10
attention_heads = 2
gat = { heads = [2, 1] }
[optim]
ema_decay = 0.5
[runtime]
precision = "float32"
[phases]
baseline = { epochs = 2, lr = 5e-3 }
adaptive_norm = { epochs = 2, lr = 5e-3 }
gat = { epochs = 2, lr = 3e-3 }
fine_tuning = { epochs = 1, lr = 1e-3 }
augmentation = { epochs = 2, lr = 1e-3 }
[objective]
smoothing_epochs = 1
[search.space]
"model.dropout" = { type = "float", low = 0.0, high = 0.4 }
[search.pruner]
kind = "none"
"""
EPOCHS = 9


class Place:
    """A volume and a study file; runs the command line there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.volume = Volume(root / "volume")
        self.study = self.volume.study("light")
        self.file = root / "light.toml"
        self.file.write_text(STUDY, encoding="utf-8")
        keep = {k: v for k, v in os.environ.items() if k != "ATFT_HPO_STORAGE"}
        self.environment = keep | {
            "ATFT_HPO_VOLUME": str(self.volume.root),
            "ATFT_HPO_DEVICE": "cpu",
        }

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """The command line, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "atft_hpo", *map(str, arguments)],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: object) -> str:
        """The command line's output once it has ended well."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output

    def status(self) -> Any:
        return json.loads(self.run("status", "light", "--json"))


@pytest.fixture
def place() -> Iterator[Place]:
    """Not under pytest's directory: under root the embedded server is another user."""
    root = Path(tempfile.mkdtemp(prefix="atft-light-"))
    root.chmod(0o755)
    yield Place(root)
    shutil.rmtree(root)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    pytest.fail("the condition was not met within 2 minutes")


def trial_processes(agent: subprocess.Popen[str]) -> list[psutil.Process]:
    """Those that lead a session, other than the agent and the database's server."""
    children = psutil.Process(agent.pid).children(recursive=True)
    return [p for p in children if os.getsid(p.pid) == p.pid and "python" in p.name()]


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = load_checkpoint(checkpoint)["model"]
    return model


def assert_same_run(one: Any, other: Any) -> None:
    """Equal bits: weights of every checkpoint, and validation series of every epoch."""
    for name in ("best", "final", "swa"):
        left, right = weights_of(getattr(one, name)), weights_of(getattr(other, name))
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert torch.equal(value, right[key]), f"{name}: {key}"
    assert one.daily.read_bytes() == other.daily.read_bytes()


def test_a_search_on_prices_with_delistings_runs_to_its_end(place: Place) -> None:
    """A quarter of the stocks is gone before the panel ends, some in the validation range."""
    prices = write_market(place.root / "prices.parquet", 400, 32, effect=0.3, delisted_share=0.25)
    study = STUDY.replace('source = "synthetic"', 'source = "ohlcv"')
    study = study.replace("[data.synthetic]\ndays = 180\nstocks = 24\nnoise_features = 2\n", "")
    study = study.replace("[graph]", "[data.features]\nlimit = 12\n[graph]")
    study = study.replace("[phases]", "threads = 1\n[phases]")
    trees = "trees = { rounds = 10, bags = 2, blocks = 2 }\n"
    place.file.write_text(study.replace("[optim]", trees + "[optim]"), encoding="utf-8")
    output = place.run("run", place.file, "--trials", 1, "--workers", 1, "--data", prices)
    assert place.status()["outcomes"] == {"COMPLETE": 1}, output
    attempt = place.study.trial(0).attempt(1)
    place.run("predict", attempt.best, "--days", "validation", "--out", "forecasts.parquet")
    forecasts = pl.read_parquet(place.root / "forecasts.parquet")
    last = pl.read_parquet(prices).group_by("code").agg(pl.col("date").max().alias("last"))
    beyond = forecasts.join(last, on="code").filter(pl.col("date") > pl.col("last"))
    assert beyond.is_empty(), "a stock was forecast after its last day"
    stocks_D = forecasts.group_by("date").len().sort("date")["len"]
    assert stocks_D[0] > stocks_D[-1] >= 20


@pytest.mark.slow  # a minute each
@pytest.mark.parametrize("epochs", range(1, EPOCHS))
def test_a_killed_trial_goes_on_and_the_export_reproduces_it_bitwise(
    place: Place, epochs: int
) -> None:
    first = place.study.trial(0).attempt(1)

    def far_enough() -> bool:
        # One read of the whole file: it is replaced after every epoch.
        return first.last.exists() and len(pl.read_parquet(first.metrics.read_bytes())) >= epochs

    agent = place.start("run", place.file, "--trials", 2, "--workers", 1)
    wait_for(far_enough, agent)
    for process in trial_processes(agent):
        process.send_signal(signal.SIGKILL)
    output, _ = agent.communicate(timeout=300)
    assert agent.returncode == 0, output

    status = place.status()
    assert status["outcomes"] == {"COMPLETE": 2}
    second = place.study.trial(0).attempt(2)
    assert second.summary.exists(), "the killed trial did not continue under its own number"
    assert not place.study.trial(2).root.exists()

    place.run("export", "light", "--trial", 0, "--out", "best.toml")
    exported = load_config(place.root / "best.toml")
    assert exported.search.space == {}
    assert exported.provenance is not None
    assert exported.provenance.trial == 0
    place.run("train", "best.toml", "--name", "again")
    assert_same_run(second, place.volume.run("again"))


def test_interrupted_continued_and_raised_to_more_trials(place: Place) -> None:
    agent = place.start("run", place.file, "--trials", 2, "--workers", 1)
    wait_for(lambda: place.study.trial(0).attempt(1).last.exists(), agent)
    agent.send_signal(signal.SIGINT)
    output, _ = agent.communicate(timeout=120)
    assert agent.returncode == 130
    assert "the same command continues" in output

    place.run("run", place.file, "--trials", 2, "--workers", 1)
    assert place.status()["finished"] == 2
    assert "all 2 trials are done" in place.run("run", place.file, "--trials", 2)
    place.run("run", place.file, "--trials", 3)
    assert place.status()["finished"] == 3
    assert place.status()["outcomes"] == {"COMPLETE": 3}


@pytest.mark.slow
def test_two_runs_and_a_worker_run_exactly_what_was_asked_for(place: Place) -> None:
    place.run("run", place.file, "--trials", 1, "--workers", 1)
    agents = [
        place.start("run", place.file, "--trials", 6, "--workers", 2),
        place.start("run", place.file, "--trials", 6, "--workers", 2),
        place.start("worker", "light", "--workers", 2),
    ]
    for agent in agents:
        output, _ = agent.communicate(timeout=400)
        assert agent.returncode == 0, output
    assert place.status()["outcomes"] == {"COMPLETE": 6}
    directories = sorted(int(p.name) for p in (place.study.root / "trials").iterdir())
    assert directories == list(range(6))
