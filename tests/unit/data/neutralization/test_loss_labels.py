import numpy as np
import pytest
from scipy.stats import spearmanr

from atft_hpo.data.neutralization.loss_labels import ranked_labels


def test_ranked_labels_rank_live_stocks_within_each_day():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(6, 40, 2)).astype(np.float32)
    targets[rng.random(targets.shape) < 0.1] = np.nan
    alive = rng.random((6, 40)) > 0.2
    labels = ranked_labels(targets, alive)
    for d in range(6):
        for q in range(2):
            known = alive[d] & ~np.isnan(targets[d, :, q])
            assert (np.isfinite(labels[d, :, q]) == known).all()
            assert labels[d, known, q].mean() == pytest.approx(0, abs=1e-6)
            assert labels[d, known, q].std() == pytest.approx(1, rel=1e-5)
            rho = spearmanr(labels[d, known, q], targets[d, known, q]).statistic
            assert rho == pytest.approx(1)
