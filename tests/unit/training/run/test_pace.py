"""The probe trains for real, on numbers that are nobody's."""

from collections.abc import Callable

import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.training.run.pace import LEAST_STOCKS, Pace, Probe

CPU = torch.device("cpu")


@pytest.fixture
def make(config_of: Callable[..., Config], panel: Panel) -> Callable[..., Probe]:
    def begin(most_tokens: int | None = None, **changes: object) -> Probe:
        probe = Probe(config_of(**changes), panel, CPU, most_tokens)
        probe.warm_up()
        return probe

    return begin


def test_steps_change_every_module(make: Callable[..., Probe]) -> None:
    probe = make()
    before = {name: value.clone() for name, value in probe.model.named_parameters()}
    probe.run(0.05)
    after = dict(probe.model.named_parameters())
    assert probe.model.enabled == {"fan", "san", "graph"}
    moved = {name for name, value in before.items() if not value.equal(after[name])}
    assert {name.split(".")[0] for name in moved} == {name.split(".")[0] for name in before}


def test_a_slice_is_as_in_training_or_cut_to_fewer_stocks(
    make: Callable[..., Probe], panel: Panel
) -> None:
    days, context = 30, 8
    whole = make()._batch
    assert whole.x_NTF.shape == (panel.alive.shape[1], context + days, len(panel.feature_names))
    cut = make(most_tokens=20 * (context + days))._batch
    assert cut.x_NTF.shape[:2] == (20, context + days)
    assert len(make(most_tokens=1)._batch.stocks) == LEAST_STOCKS
    few = make(slices={"days": 30, "context_days": 8, "stocks": 18})._batch
    assert len(few.stocks) == 18


def test_samples_are_those_with_a_loss(make: Callable[..., Probe], panel: Panel) -> None:
    probe = make()
    ticks = iter(range(100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.perf_counter", lambda: float(next(ticks)))
        pace = probe.run(3.0)
    assert pace == Pace(30 * panel.alive.shape[1])


def test_one_slow_step_says_nothing(make: Callable[..., Probe]) -> None:
    probe = make()
    clock = iter([0.0, 1.0, 1.0, 2.0, 2.0, 52.0, 52.0, 53.0, 53.0, 54.0, 54.0, 60.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.perf_counter", lambda: next(clock))
        slow = probe.run(54.0)
    assert slow.samples_per_second == probe._trained.days * probe._trained.stocks


def test_the_forecast_that_measures_a_gpus_memory_leaves_the_model_in_training(
    make: Callable[..., Probe], panel: Panel
) -> None:
    probe = make()
    source = SliceSource(panel, probe.config, CPU)
    probe._forecast()
    assert probe.model.training
    plan = source.evaluation_plan(source.split.validation)
    assert probe._evaluated.days == max(len(index.days) for index in plan) == 28


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_tells_what_a_trial_takes_and_leaves(
    config_of: Callable[..., Config], panel: Panel
) -> None:
    probe = Probe(config_of(), panel, torch.device("cuda"))
    probe.warm_up()
    pace = probe.run(0.1)
    assert pace.samples_per_second > 0.0
    assert pace.memory_gib is not None
    assert pace.free_gib is not None
    total = torch.cuda.get_device_properties(0).total_memory / 2**30
    assert 0.0 < pace.memory_gib <= total - pace.free_gib
