"""`runtime.compile`: the same model, some of it compiled."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from atft_hpo.errors import ConfigError
from atft_hpo.model.compiled import compile_parts
from atft_hpo.model.kernels.grouped import in_blocks


@pytest.mark.filterwarnings("ignore")  # torch has some of its own while it compiles
@pytest.mark.slow  # a minute of a C++ compiler
def test_a_compiled_model_forecasts_and_learns_the_same(make_model, make_batch) -> None:
    plain, compiled = make_model(strengths=0.3), make_model(strengths=0.3)
    compiled.load_state_dict(plain.state_dict())
    compile_parts(compiled)
    for stocks in (7, 12):  # shapes change from slice to slice
        batch = make_batch(stocks=stocks)
        found: list[tuple[Tensor, ...]] = []
        for model in (plain, compiled):
            model.zero_grad()
            forecast = model(batch)
            (forecast.point_SNQ.square().mean() + forecast.quantiles_SNQP.mean()).backward()
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            found.append((*(part.detach() for part in forecast), *grads))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert list(plain.state_dict()) == list(compiled.state_dict())


def test_kernels_that_were_chosen_are_computed_instead(
    make_model, make_batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was compiled in their place is not."""
    model, batch = make_model(strengths=0.3), make_batch()
    expected = model(batch).point_SNQ
    networks = model.selection.fan_networks
    parts = (networks.run, networks.pull)

    def compiled(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        return unwanted if function in parts else function

    def unwanted(*_: Any) -> None:
        raise AssertionError("the reference was computed")

    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part, **_: None)
    compile_parts(model)
    with pytest.raises(AssertionError, match="the reference was computed"):
        model(batch)
    networks.kernels = in_blocks  # stands for them
    found = model(batch).point_SNQ
    found.sum().backward()
    assert torch.equal(found, expected)


def test_without_a_compiler_it_says_what_to_do(make_model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler, and none of .*g\+\+"):
        compile_parts(make_model())
