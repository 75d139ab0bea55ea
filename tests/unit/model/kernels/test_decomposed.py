"""What the two forms of the decomposed features' networks are compared at."""

import torch

from atft_hpo.model.kernels import choose, decomposed
from atft_hpo.model.kernels.choose import Comparison, Contest
from atft_hpo.model.kernels.grouped import FeatureNetworks, in_blocks


def test_they_are_compared_at_what_training_gives_them(monkeypatch) -> None:
    contests = list[Contest]()
    monkeypatch.setattr(decomposed, "BLOCK_TOKENS", 3000)

    def compare(contest: Contest) -> Comparison:
        contests.append(contest)
        return Comparison(contest.name, contest.reference)

    monkeypatch.setattr(choose, "compare", compare)
    decomposed.compare(FeatureNetworks(4, 3), 12, torch.device("cpu"))
    (contest,) = contests
    grad_BH, weight_BF, *inputs = contest.inputs[:5]
    assert grad_BH.shape == (3000, 3)
    assert weight_BF.stride() == (5, 1)  # a part of wider rows
    assert torch.cat(inputs, dim=2).shape == (3000, 4, 12)
    assert (inputs[1] == 1.0).all()
    operands = contest.inputs[5:]
    assert [t.shape for t in operands] == [(4, 6, 12), (4, 6, 3), (4, 6, 1), (4, 3, 1), (4, 3, 1)]
    assert [len(part) for part in contest.few] == [2048] * 5 + [4] * 5
    assert contest.exact is in_blocks
    out, *grads = contest.results(contest.reference, contest.few)
    assert out.shape == (2048, 3)
    assert [grad.shape for grad in grads] == [(2048, 4), *(t.shape for t in operands)]
    assert all(grad.any() for grad in grads)
