"""Shares, losses and targets by hand."""

from collections.abc import Callable

import pytest

from atft_hpo.data.synthetic.planted_parts import PART_FEATURES, PART_SHARES
from bench.planted.findings import (
    lost_share,
    shares,
    standard_error,
    targets,
    true_features_in_top_decile,
)
from bench.planted.runs import PhaseTruth

Truth = Callable[..., PhaseTruth]
TRUE = [name for part, names in PART_FEATURES.items() if part != "d_links" for name in names]


def test_shares_are_of_the_ceilings(truth: Truth) -> None:
    ceilings = dict.fromkeys(PART_SHARES, 0.64)
    found = shares([truth("gat", 0.32, 0.4), truth("gat", 0.48, 0.6)], ceilings)
    assert found["total"] == pytest.approx(0.5 / 0.8)
    assert found["parts"]["a_effects"] == pytest.approx(0.40 / 0.64)
    assert found["total_standard_error"] == pytest.approx(standard_error([0.5, 0.75]))
    assert shares([truth("gat", 0.3, 0.4)], ceilings)["total_standard_error"] is None


def test_a_loss_is_measured_at_the_same_phase(truth: Truth) -> None:
    full = [truth("gat", 0.8, 0.8), truth("fine_tuning", 1.0, 1.0)]
    runs = {"full": [full], "no_graph": [[truth("gat", 0.08, 0.7)]]}
    assert lost_share(runs, "no_graph") == pytest.approx(0.9)
    assert lost_share(runs, "full") is None
    assert lost_share({"full": [full]}, "no_graph") is None


def test_targets_say_what_was_missed(truth: Truth) -> None:
    ceilings = dict.fromkeys(PART_SHARES, 1.0)
    good = [truth("baseline", 0.7, 0.8), truth("gat", 0.9, 0.95)]
    missed = [t.name for t in targets({"full": [good]}, ceilings) if not t.reached]
    assert missed == []
    bad = [truth("gat", 0.5, 0.6, favoured=TRUE[:6])]
    missed = [t.name for t in targets({"full": [bad]}, ceilings) if not t.reached]
    assert len(missed) == 1 + len(PART_SHARES) + 1


@pytest.mark.parametrize(
    ("beta", "total", "missed"), [(0.6, 0.9, "a part's"), (0.9, 0.6, "the total's")]
)
def test_a_phase_that_forgets_is_noticed(
    beta: float, total: float, missed: str, truth: Truth
) -> None:
    ceilings = dict.fromkeys(PART_SHARES, 1.0)
    runs = [
        [truth("gat", 0.9 + noise, 0.9 + noise), truth("fine_tuning", beta + noise, total + noise)]
        for noise in (0.0, 0.01, 0.02)
    ]
    falls = [t for t in targets({"full": runs}, ceilings) if "largest fall" in t.name]
    assert len(falls) == 2
    for fall in falls:
        assert fall.reached is not fall.name.startswith(missed)
        assert (fall.found > 1.0) is fall.name.startswith(missed)


def test_top_decile_counts_what_the_trunk_needs(truth: Truth) -> None:
    assert true_features_in_top_decile(truth("gat", 1.0, 1.0)) == 1.0
    half = truth("gat", 1.0, 1.0, favoured=TRUE[:6])
    assert true_features_in_top_decile(half) == pytest.approx(6 / len(TRUE))
