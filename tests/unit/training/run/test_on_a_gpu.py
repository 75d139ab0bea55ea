"""What only a GPU can show: agreement with the CPU, waits, dropout of chunks computed again."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from atft_hpo.config.schema import Config
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.kernels.tabulated import interpolated_sum
from atft_hpo.training.loss.terms import LossRules
from atft_hpo.training.phases.epoch_report import Decision
from atft_hpo.training.run.epoch import EpochFacts, backward, train_epoch
from atft_hpo.training.state.run_state import RunState

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DEVICE = torch.device("cuda")
ConfigOf = Callable[..., Config]


def begun(config: Config, panel: Panel, device: torch.device) -> RunState:
    """A run with every module on, their strengths no longer at zero."""
    run = RunState.begin(config, panel, device)
    run.model.enable({"fan", "san", "graph"})
    run.model.train()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in run.model.parameter_groups()["strengths"]:
            parameter += 0.1 * torch.randn(parameter.shape, generator=draw).to(device)
    return run


def gradient(run: RunState) -> Tensor:
    """Of the first slice, flat, on the host."""
    batch = run.source.batch(run.source.whole_slices(run.source.split.train, 30)[0])
    torch.manual_seed(3)
    backward(run, batch, LossRules.of(run.config, run.phases[0].config), 1.0)
    found = [p.grad for p in run.model.parameters() if p.grad is not None]
    return torch.cat([g.flatten().float().cpu() for g in found])


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_gradients_are_those_of_the_cpu(config_of: ConfigOf, panel: Panel) -> None:
    config = config_of(model={"dropout": 0.0})
    here, there = (gradient(begun(config, panel, d)) for d in (torch.device("cpu"), DEVICE))
    assert relative(there, here) < 1e-2  # cuDNN's LSTM takes TF32


def test_bf16_is_close_to_float32(config_of: ConfigOf, panel: Panel) -> None:
    exact, rough = (
        gradient(
            begun(config_of(model={"dropout": 0.0}, runtime={"precision": kind}), panel, DEVICE)
        )
        for kind in ("float32", "bf16")
    )
    assert torch.nn.functional.cosine_similarity(exact, rough, dim=0) > 0.98


def test_chunks_computed_again_drop_the_same(config_of: ConfigOf, panel: Panel) -> None:
    config = config_of(model={"dropout": 0.3, "lstm_layers": 2}, runtime={"chunk_tokens": 200})
    run = begun(config, panel, DEVICE)
    found = []
    for kept in (100, 0):
        run.model.kept_chunks = kept
        found.append(gradient(run))
    assert relative(*found) < 1e-3


def by_kernels(run: RunState) -> RunState:
    """The same, with Triton's kernels whatever the comparison said."""
    from atft_hpo.model.kernels import grouped_triton, interpolated_triton

    run.model.selection.interpolate = interpolated_triton.fused_sum
    run.model.selection.fan_networks.kernels = grouped_triton.fused_sum
    return run


def by_references(run: RunState) -> RunState:
    """The same without any."""
    run.model.selection.interpolate = interpolated_sum
    run.model.selection.fan_networks.kernels = None
    return run


def test_gradients_by_kernels_are_those_of_the_references(
    config_of: ConfigOf, panel: Panel
) -> None:
    config = config_of(model={"dropout": 0.3})  # both drop the same
    ours, theirs = (gradient(form(begun(config, panel, DEVICE))) for form in FORMS)
    assert relative(ours, theirs) < 1e-3


def test_kernels_of_chunks_computed_again_find_the_same(config_of: ConfigOf, panel: Panel) -> None:
    config = config_of(model={"dropout": 0.3}, runtime={"chunk_tokens": 200})
    run = by_kernels(begun(config, panel, DEVICE))
    found = []
    for kept in (100, 0):
        run.model.kept_chunks = kept
        found.append(gradient(run))
    assert relative(*found) < 1e-3


FORMS = (by_kernels, by_references)


@pytest.mark.parametrize("form", FORMS)
def test_an_epoch_waits_for_nothing(
    config_of: ConfigOf, panel: Panel, form: Callable[[RunState], RunState]
) -> None:
    run = form(begun(config_of(runtime={"precision": "bf16"}), panel, DEVICE))
    train_epoch(run, run.phases[-1], 0, lambda: Decision.CONTINUE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        facts = train_epoch(run, run.phases[-1], 0, lambda: Decision.CONTINUE)
        torch.cuda.set_sync_debug_mode("default")
    assert isinstance(facts, EpochFacts)
    assert not [w for w in caught if "called a synchronizing" in str(w.message)]


def test_chunks_fill_the_card(config_of: ConfigOf, panel: Panel) -> None:
    absent = config_of(runtime={"chunk_tokens": None})
    run = begun(absent, panel, DEVICE)
    assert run.model.kept_chunks == 2
    assert run.model.chunk_tokens > 8192
    assert begun(config_of(runtime={"chunk_tokens": 300}), panel, DEVICE).model.chunk_tokens == 300
