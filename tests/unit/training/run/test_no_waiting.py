"""An epoch runs on a device that has no data: so nothing in it can have waited for a value.

Torch's "meta" device computes shapes only. What reads a value there (`.item()`, `.tolist()`,
`bool`, `nonzero`, a boolean index, a copy to the host) raises, just where a GPU would have to be
waited for. It takes the branches of a GPU, not those of the CPU.
"""

import importlib
import itertools
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import atft_hpo
from atft_hpo.config.schema import Config
from atft_hpo.data.sampling import slices
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.atft import ATFT
from atft_hpo.model.heads import Forecast
from atft_hpo.training.forecasting.forecast import forecast_on_device, forecast_panel
from atft_hpo.training.loss import terms
from atft_hpo.training.phases.epoch_report import Decision
from atft_hpo.training.run import epoch as epoch_module
from atft_hpo.training.run import step_readings
from atft_hpo.training.run.epoch import EpochFacts, train_epoch
from atft_hpo.training.state import run_state
from atft_hpo.training.state.run_state import RunState

ConfigOf = Callable[..., Config]
PACKAGE = str(Path(atft_hpo.__file__).parent)
META = torch.device("meta")
WEIGHTS = dict.fromkeys(
    ("point", "pinball", "sharpe", "ic", "rank_ic", "turnover", "exposure"), 0.5
)
AUGMENT = {"mixup": 0.2, "stock_dropout": 0.1, "edge_dropout": 0.1}


class Crossings(TorchDispatchMode):
    """Remembers what has tensors on both sides: copies between host and device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        if len({tensor.device.type for tensor in tensors}) > 1:
            self.found.append(f"{func} in {_caller()}")
        return out


class FromTheHost(TorchFunctionMode):
    """Fails where a list becomes a tensor on the device, or an index there."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        made = func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == META
        made |= func is Tensor.new_tensor and args[0].device == META
        indexed = func is Tensor.__getitem__ and args[0].device == META
        if made or (indexed and any(isinstance(leaf, list) for leaf in _parts(args[1]))):
            raise AssertionError(f"values of the host are sent to the device in {_caller()}")
        return func(*args, **kwargs)


class Draws(TorchFunctionMode):
    """Draws on the device, which has no generator of its own."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = dict(kwargs or {})
        if "device" in kwargs and "generator" in kwargs:
            kwargs |= {"generator": None, "device": META}
        return func(*args, **kwargs)


class Unread:
    """Stands for numbers on their way to the host, which have no value here."""

    def __init__(self, values: Tensor) -> None:
        self._count = len(values)

    def arrived(self) -> bool:
        """Never, before it is waited for."""
        return False

    def values(self) -> list[float]:
        """Something finite."""
        return [1.0] * self._count


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _caller() -> str:
    """The line of this package that is running."""
    frames = [f for f in traceback.extract_stack() if f.filename.startswith(PACKAGE)]
    return f"{frames[-1].name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else "?"


@pytest.fixture
def run(config_of: ConfigOf, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunState]:
    """A run on the device without data, whose phases have every loss term."""
    autocast = torch.autocast

    def for_meta(device_type: str, **settings: Any) -> torch.autocast:
        return autocast("cpu" if device_type == "meta" else device_type, **settings)

    def host_generator(seed: int, stream: int, device: torch.device) -> torch.Generator:
        return torch.Generator().manual_seed(seed + stream)

    monkeypatch.setattr(torch, "autocast", for_meta)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device_type: False)
    monkeypatch.setattr(run_state, "_generator", host_generator)
    monkeypatch.setattr(step_readings, "Transfer", Unread)
    supported = ["cpu", "cuda", "meta"]
    for name in ("torch.optim.optimizer", "torch.utils._foreach_utils"):
        module = importlib.import_module(name)
        monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: supported)
    monkeypatch.setattr(
        slices,
        "resident_features",
        lambda panel, device: panel.features_tensor(slice(None)).to(device),
    )
    # Has no form without data; cuSPARSE's does not wait.
    monkeypatch.setattr(torch.sparse, "sampled_addmm", lambda pattern, *_, **__: pattern)
    names = ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")
    config = config_of(
        phases={name: {"weights": WEIGHTS} for name in names},
        augment=AUGMENT,
        optim={"ema_decay": 0.9},
        runtime={"chunk_tokens": 1024, "precision": "bf16"},
        slices={"days": 60},
    )
    with Draws():
        yield RunState.begin(config, panel, META)


@contextmanager
def watched() -> Iterator[Crossings]:
    """Crossings meanwhile; fails where a list goes to the device."""
    with FromTheHost(), Crossings() as crossings:
        yield crossings


def train(run: RunState, number: int, steps: int = 1000) -> None:
    """One epoch of phase `number`, of at most so many steps."""
    phase = run.phases[number]
    run.model.enable(phase.config.modules)
    run.model.freeze(phase.config.freeze)
    answers = itertools.chain([Decision.CONTINUE] * steps, itertools.repeat(Decision.INTERRUPT))
    facts = train_epoch(run, phase, 0, lambda: next(answers))
    assert isinstance(facts, EpochFacts) or steps < 1000


@pytest.mark.parametrize("number", [0, 3, 4], ids=["plain", "all but frozen", "augmented"])
def test_an_epoch_waits_for_nothing(run: RunState, number: int) -> None:
    train(run, number, steps=1)  # what is made once is made
    plan = run.source.training_plan(run.plan_generator)
    with watched() as crossings:
        train(run, number)
    sent = [found for found in crossings.found if "_sent" in found]
    assert crossings.found == sent  # the stocks of each slice, and nothing else
    assert len(sent) == pytest.approx(len(plan), abs=2)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no Triton for this system")
def test_an_epoch_with_tritons_kernels_waits_for_nothing(
    run: RunState, monkeypatch: pytest.MonkeyPatch, idle_kernel: Callable[[], Any]
) -> None:
    """What launches them; that a launch does not wait is Triton's."""
    from atft_hpo.model.kernels import grouped_triton, interpolated_triton

    launched: dict[str, Any] = {}
    for module in (grouped_triton, interpolated_triton):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            launched[f"{module.__name__}{name}"] = kernel = idle_kernel()
            monkeypatch.setattr(module, name, kernel)
    run.model.selection.interpolate = interpolated_triton.fused_sum
    run.model.selection.fan_networks.kernels = grouped_triton.fused_sum
    train(run, 4, steps=1)
    with watched() as crossings:
        train(run, 4)
    assert all("_sent" in found for found in crossings.found)
    assert len(launched) == 5
    assert all(kernel.count for kernel in launched.values())


@pytest.mark.parametrize("number", [0, 4], ids=["plain", "all modules"])
def test_validation_waits_for_nothing_before_the_forecast_is_complete(
    run: RunState, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.model.enable(run.phases[number].config.modules)
    days = run.source.split.validation
    short = run.source.whole_slices(days, 10)
    monkeypatch.setattr(run.source, "evaluation_plan", lambda _: short)
    given = (run.model, run.source, days, run.config, run.decompositions)
    forecast_on_device(*given)  # what is made once is made
    with watched() as crossings:
        score_DNQ, quantiles_DNQP = forecast_on_device(*given)
    sent = [found for found in crossings.found if "_sent" in found]
    assert crossings.found == sent  # the stocks of each slice, and nothing else
    assert len(sent) == len(short) > 1
    assert score_DNQ.device == quantiles_DNQP.device == META
    assert score_DNQ.shape == (len(days), run.source.stock_count, 2)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        forecast_panel(*given)  # the one wait


def test_it_would_notice_a_forecast_fetched_slice_by_slice(
    run: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = type(run.model).forward

    def fetched(model: ATFT, batch: Batch) -> Forecast:
        found = forward(model, batch)
        found.point_SNQ.cpu()
        return found

    monkeypatch.setattr(type(run.model), "forward", fetched)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        forecast_on_device(run.model, run.source, run.source.split.validation, run.config)


def test_it_would_notice_a_value_read(run: RunState, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = terms.point_loss

    def reads(*given: Any) -> Tensor:
        found = plain(*given)
        return found * float(found.detach() > 0)

    monkeypatch.setattr(terms, "point_loss", reads)
    with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
        train(run, 2)


def test_it_would_notice_values_sent(run: RunState, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = terms.point_loss
    monkeypatch.setattr(
        terms, "point_loss", lambda point, *rest: plain(point * point.new_tensor([1.0]), *rest)
    )
    with watched(), pytest.raises(AssertionError, match="are sent to the device"):
        train(run, 2)


def test_it_would_notice_a_copy_to_the_device(
    run: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = epoch_module.backward

    def copies(run: RunState, *rest: Any) -> Any:
        torch.zeros(3).to(run.device)
        return plain(run, *rest)

    monkeypatch.setattr(epoch_module, "backward", copies)
    with Crossings() as crossings:
        train(run, 0, steps=1)
    assert any("_sent" not in found for found in crossings.found)
