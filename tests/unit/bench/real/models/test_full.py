"""The product's model, trained as the study says."""

import numpy as np

from atft_hpo.paths import RunPaths
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
