"""What a result holds, targets, controls."""

import pytest

from atft_hpo.evaluation.series import Floats
from bench.real.verdict.comparison import best_rival, controls_hold, targets
from bench.real.verdict.evaluation import Skill

NONE: Floats = None  # type: ignore[assignment]  # daily series are not looked at here


def test_a_result_holds_every_model_fold_and_pair(result):
    assert set(result["horizons"]) == {"1", "5"}
    one = result["horizons"]["1"]
    assert set(one["models"]) == {"ridge", "random"}
    assert {"rank_ic", "rank_ic_t", "pure_rank_ic", "icir", "sharpe_net", "turnover",
            "score_autocorrelation", "rank_ic_std"} <= set(one["models"]["ridge"])  # fmt: skip
    folds = one["models"]["ridge"]["folds"]
    assert len(folds) == len(result["folds"]) == 2
    mean = sum(fold["rank_ic"] for fold in folds) / 2
    assert one["models"]["ridge"]["rank_ic"] == pytest.approx(mean, abs=0.005)
    pair = one["paired"]["random"]
    assert {"mean", "standard_error", "t", "low", "high"} <= set(pair["pure_rank_ic"])
    assert one["controls_within_3_se"] is True
    assert result["reference"] == "ridge"
    assert one["best_rival"] is None, "nothing but a control"


def test_targets_are_reached_missed_or_not_measured():
    pair = {
        "rank_ic": {"mean": -0.002, "standard_error": 0.003},
        "pure_rank_ic": {"t": 2.1},
    }
    weaker = {"rank_ic": {"mean": 1.0, "standard_error": 0.1}, "pure_rank_ic": {"t": 9.0}}
    one = {
        "paired": {"lightgbm": weaker, "own_trees": pair},
        "best_rival": "own_trees",
        "controls_within_3_se": None,
    }
    assert targets({"1": one}, "full") == {
        "controls_within_3_se_1d": None,
        "raw_not_behind_best_rival_1d": True,
        "pure_ahead_of_best_rival_1d": True,
    }
    pair["rank_ic"]["mean"], pair["pure_rank_ic"]["t"] = -0.004, 1.9
    assert targets({"1": one, "5": one}, "full") == {
        "controls_within_3_se_1d": None,
        "raw_not_behind_best_rival_1d": False,
        "pure_ahead_of_best_rival_1d": False,
        "controls_within_3_se_5d": None,
        "raw_not_behind_best_rival_5d": False,
    }
    assert targets({"1": one}, "ridge") == {"controls_within_3_se_1d": None}


def test_the_best_rival_is_the_one_of_largest_pure_rank_ic_but_no_control():
    def skill(pure):
        return Skill(NONE, NONE, {} if pure is None else {"pure_rank_ic": pure})

    skills = {
        "full": skill(0.03), "own_trees": skill(0.021), "lightgbm": skill(0.02),
        "lightgbm_plus": skill(None), "random": skill(0.05), "shuffled": skill(0.06),
    }  # fmt: skip
    assert best_rival(skills, "full") == "own_trees"
    assert best_rival(skills, "own_trees") == "full"
    assert best_rival({"full": skill(0.03), "random": skill(0.05)}, "full") is None


def test_a_control_beyond_three_errors_is_told():
    quiet = Skill(NONE, NONE, {"rank_ic_t": -2.9, "pure_rank_ic_t": 0.3})
    loud = Skill(NONE, NONE, {"rank_ic_t": 0.1, "pure_rank_ic_t": -3.1})
    assert controls_hold({"random": quiet, "ridge": loud}) is True
    assert controls_hold({"random": quiet, "shuffled": loud}) is False
    assert controls_hold({"ridge": loud}) is None
