"""The product's model, trained as the study says."""

import dataclasses

import numpy as np
import pytest

from atft_hpo.model.forest import Forest
from atft_hpo.paths import RunPaths
from atft_hpo.training.state.checkpoint import load_checkpoint
from atft_hpo.training.state.run_state import RunState
from bench.real.models.registry import MODELS


def test_the_full_model_goes_on_from_its_last_epoch_and_never_reads_the_best(
    noise_prices, make_task
):
    task = make_task(noise_prices)
    first = MODELS["full"].forecast(task)
    paths = RunPaths(task.scratch)
    assert paths.swa.exists()
    for path in (paths.final, paths.swa, paths.best):
        path.unlink()
    np.testing.assert_array_equal(first, MODELS["full"].forecast(task))
    paths.best.write_bytes(b"not a checkpoint")
    np.testing.assert_array_equal(first, MODELS["full"].forecast(task))


def test_own_trees_are_those_below_the_net_whichever_comes_first(
    telling_prices, make_task, monkeypatch
):
    task = make_task(telling_prices, horizons="1,5")
    alone = MODELS["own_trees"].forecast(task)
    with monkeypatch.context() as patch:
        patch.setattr(RunState, "fitted_stack", lambda *_: pytest.fail("fitted again"))
        MODELS["full"].forecast(task)
        np.testing.assert_array_equal(MODELS["own_trees"].forecast(task), alone)
    forest = Forest.from_content(load_checkpoint(RunPaths(task.scratch).swa)["forest"])
    below_DNQ = forest.forecast(task.panel, task.fold.days)
    alive_DN = np.isfinite(alone[..., 0])
    assert (alive_DN == np.asarray(task.panel.alive)[task.fold.days]).all()
    mixed_RQ = below_DNQ[alive_DN] @ np.array([[0.75, 0.25], [0.25, 0.75]])
    np.testing.assert_allclose(alone[alive_DN], mixed_RQ, atol=1e-6)
    other = dataclasses.replace(task, seed=1)
    assert not np.array_equal(MODELS["own_trees"].forecast(other), alone, equal_nan=True)
