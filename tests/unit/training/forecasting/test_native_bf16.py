"""A CPU that is slower in bf16 is told of, and no other."""

from collections.abc import Callable

import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.store.panel import Panel
from atft_hpo.training.forecasting import forecast
from atft_hpo.training.forecasting.forecast import model_to_train
from atft_hpo.training.forecasting.native_bf16 import product_seconds, slower_in_bf16


def test_a_slower_product_is_a_warning_that_says_what_to_set() -> None:
    warning = slower_in_bf16(lambda dtype: 5.0 if dtype is torch.bfloat16 else 2.0)
    assert warning is not None
    assert "2.5 times" in warning
    assert '"float32"' in warning


def test_a_faster_product_is_none() -> None:
    assert slower_in_bf16(lambda dtype: 1.0 if dtype is torch.bfloat16 else 2.0) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_takes_time_and_draws_nothing(dtype: torch.dtype) -> None:
    before = torch.get_rng_state()
    assert product_seconds(dtype) > 0.0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("precision", "said"), [("bf16", "slow here\n"), ("float32", "")])
def test_who_trains_in_bf16_on_a_cpu_reads_it(
    precision: str,
    said: str,
    config_of: Callable[..., Config],
    panel: Panel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(forecast, "slower_in_bf16", lambda: "slow here")
    model_to_train(config_of(runtime={"precision": precision}), panel, torch.device("cpu"))
    assert capsys.readouterr().out == said
