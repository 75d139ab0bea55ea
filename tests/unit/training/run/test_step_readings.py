"""Numbers of steps: read in order, late or at once; the first that is not finite is named."""

import pytest
import torch
from torch import Tensor

from atft_hpo.errors import NonFiniteError
from atft_hpo.training.run import step_readings as readings_module
from atft_hpo.training.run.step_readings import Readings, Transfer


def scalar(value: float) -> Tensor:
    """A number on the device."""
    return torch.tensor(value)


class Late(Transfer):
    """Numbers that have not arrived before they are waited for."""

    def arrived(self) -> bool:
        return False


def test_every_step_is_returned_in_order_without_the_norms() -> None:
    readings = Readings()
    for step in range(3):
        values = {"loss": scalar(0.1 * step), "samples": torch.tensor(16_777_217 + step)}
        readings.add(f"step {step}", values, {"weight": scalar(1.0)})
    found = readings.finish()
    assert [set(values) for values in found] == [{"loss", "samples"}] * 3
    assert found[1]["loss"] == float(torch.tensor(0.1))
    assert found[2]["samples"] == 16_777_219  # counts are exact, beyond float32 too


def test_on_a_cpu_a_bad_value_ends_its_own_step() -> None:
    readings = Readings()
    readings.add("step 0", {"loss_point": scalar(1.0)}, {})
    with pytest.raises(NonFiniteError, match="step 1: loss_point is nan"):
        readings.add("step 1", {"loss_point": scalar(torch.nan)}, {})


def test_late_or_not_the_first_bad_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings_module, "Transfer", Late)
    readings = Readings()
    for step, value in enumerate((1.0, torch.inf, torch.nan, 1.0)):
        norms = {"code.weight": scalar(1.0), "heads.bias": scalar(value)}
        readings.add(f"step {step}", {"loss": scalar(1.0), "grad_norm": scalar(value)}, norms)
    with pytest.raises(
        NonFiniteError,
        match=r"step 1: grad_norm is inf; gradient not finite in heads\.bias and 0 more",
    ):
        readings.finish()


def test_what_arrives_in_between_is_looked_at_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readings_module, "Transfer", Late)
    readings = Readings()
    readings.add("step 0", {"loss": scalar(torch.nan)}, {})
    monkeypatch.setattr(Late, "arrived", lambda self: True)
    with pytest.raises(NonFiniteError, match="step 0"):
        readings.add("step 1", {"loss": scalar(1.0)}, {})


def test_terms_are_named_before_their_sum() -> None:
    values = {"loss": scalar(torch.nan), "loss_ic": scalar(torch.nan), "grad_norm": scalar(1.0)}
    with pytest.raises(NonFiniteError, match="step 0: loss_ic is nan; lower"):
        Readings().add("step 0", values, {})
