"""Small batches and models; every test starts from seed 0 and one thread."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from atft_hpo.config.model_schema import FanConfig, GatConfig, ModelConfig, SanConfig, TreesConfig
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.model.atft import ATFT, MODULES, ModelInputs

STOCKS, FEATURES, FAN_COLUMNS, HORIZONS, SECTORS, LOOKBACK = 7, 9, (2, 5, 6), 2, 3, 8


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def _make_batch(
    context: int = 10, days: int = 12, stocks: int = STOCKS, features: int = FEATURES, seed: int = 1
) -> Batch:
    """A random slice: 8 % of the cells dead, K = 3 neighbours, some absent."""
    g = torch.Generator().manual_seed(seed)
    total = context + days
    present_NT = torch.rand(stocks, total, generator=g) > 0.08
    x_NTF = torch.randn(stocks, total, features, generator=g) * present_NT.unsqueeze(-1)
    neighbours_SNK = torch.randint(-1, stocks, (days, stocks, 3), generator=g)
    return Batch(
        x_NTF=x_NTF,
        present_NT=present_NT,
        alive_NS=present_NT[:, context:].clone(),
        sector_NT=torch.randint(0, SECTORS, (stocks, 1), generator=g),
        sectors=SECTORS,
        label_NSQ=torch.randn(stocks, days, HORIZONS, generator=g),
        return_NS=torch.randn(stocks, days, generator=g) * 0.01,
        executable_NS=torch.ones(stocks, days, dtype=torch.bool),
        neighbours_SNK=neighbours_SNK,
        edge_SNKE=torch.rand(days, stocks, 3, 2, generator=g),
        context=context,
        first_day=context,
        stocks=torch.arange(stocks),
    )


def _cut(batch: Batch, start: int, context: int) -> Batch:
    """The same days from day `start` of `batch` on, with `context` days before the slice."""
    skip = start + context - batch.context
    return dataclasses.replace(
        batch,
        x_NTF=batch.x_NTF[:, start:],
        present_NT=batch.present_NT[:, start:],
        label_NSQ=batch.label_NSQ[:, skip:],
        alive_NS=batch.alive_NS[:, skip:],
        return_NS=batch.return_NS[:, skip:],
        executable_NS=batch.executable_NS[:, skip:],
        neighbours_SNK=batch.neighbours_SNK[skip:],
        edge_SNKE=batch.edge_SNKE[skip:],
        context=context,
    )


def _make_model(
    modules: tuple[str, ...] = MODULES,
    fan_columns: tuple[int, ...] = FAN_COLUMNS,
    kind: str = "dft",
    dropout: float = 0.1,
    chunk_tokens: int = 10_000,
    strengths: float | None = None,
    features: int = FEATURES,
    without: tuple[str, ...] = (),
    trees: int = 0,
) -> ATFT:
    """A tiny model in eval mode; `strengths` draws strengths and lag kernels of that size."""
    config = ModelConfig(
        hidden=8, lookback_days=LOOKBACK, attention_heads=2, dropout=dropout,
        fan=FanConfig(k=2, kind=kind), san=SanConfig(slice_days=3, spans=(1, 2)),
        gat=GatConfig(heads=(4, 2)), without=without, trees=TreesConfig(rounds=trees),
    )  # fmt: skip
    inputs = ModelInputs(features, fan_columns, SECTORS, HORIZONS)
    model = ATFT(config, inputs, chunk_tokens)
    model.enable(modules)
    if strengths is not None:
        _open_modules(model, strengths)
    return model.eval()


@torch.no_grad()
def _open_modules(model: ATFT, size: float) -> None:
    """Give every zero-start parameter a random value, so that nothing hides behind a zero."""
    groups = model.parameter_groups()
    film = (model.enrichment.film.weight, model.enrichment.film.bias)
    for parameter in [*groups["strengths"], model.attention.lag_kernel, *film]:
        parameter.normal_(0.0, size)


@pytest.fixture(params=[(), ("fan",), ("san",), ("graph",), ("fan", "san", "graph")], ids="+".join)
def modules(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Every module alone, none, and all."""
    chosen: tuple[str, ...] = request.param
    return chosen


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    return _make_batch


@pytest.fixture
def make_model() -> Callable[..., ATFT]:
    return _make_model


@pytest.fixture
def cut() -> Callable[[Batch, int, int], Batch]:
    return _cut


@pytest.fixture(scope="session")
def run_kernels() -> Callable[..., str]:
    """`interpreted.py` in a process of its own, with these arguments; returns what it printed."""
    script = Path(__file__).with_name("kernels") / "interpreted.py"

    def run(*arguments: str, **environment: str) -> str:
        command = [sys.executable, str(script), *arguments]
        changed = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | environment
        ended = subprocess.run(command, env=changed, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run
