"""`runtime.compile`: the same model, some of it compiled."""

import shutil

import pytest
import torch
from torch import Tensor

from atft_hpo.errors import ConfigError
from atft_hpo.model.compiled import compile_parts


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


def test_without_a_compiler_it_says_what_to_do(make_model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler, and none of .*g\+\+"):
        compile_parts(make_model())
