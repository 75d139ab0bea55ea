"""What the two forms of the interpolation are compared at; the choice is `test_comparison`'s."""

import torch

from atft_hpo.model.kernels import choose, interpolation
from atft_hpo.model.kernels.choose import Comparison, Contest
from atft_hpo.model.kernels.tabulated import LIMIT, interpolated_sum


def test_they_are_compared_at_what_training_gives_them(monkeypatch) -> None:
    contests = list[Contest]()
    monkeypatch.setattr(interpolation, "BLOCK_TOKENS_ON_DEVICE", 5000)

    def compare(contest: Contest) -> Comparison:
        contests.append(contest)
        return Comparison(contest.name, contest.reference)

    monkeypatch.setattr(choose, "compare", compare)
    interpolation.compare(4, 3, torch.device("cpu"))
    (contest,) = contests
    x_BF, weight_BF, table_FMH, grad_BH = contest.inputs
    assert x_BF.shape == weight_BF.shape == (5000, 4)
    assert x_BF.stride() == weight_BF.stride() == (5, 1)  # parts of wider tensors
    assert x_BF.abs().max() > LIMIT
    assert [len(part) for part in contest.few] == [2048, 2048, 4, 2048]
    assert contest.reference is contest.exact is interpolated_sum
    out, *grads = contest.results(interpolated_sum, contest.few)
    assert out.shape == (2048, 3)
    assert [grad.shape for grad in grads] == [(2048, 4), table_FMH.shape]
    assert all(grad.any() for grad in grads)
    assert grad_BH.shape == (5000, 3)
