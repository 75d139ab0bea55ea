"""What a result holds, targets, controls."""

import pytest

from atft_hpo.evaluation.series import Floats
from bench.real.verdict.comparison import controls_hold, targets
from bench.real.verdict.evaluation import Skill
from bench.real.verdict.table import target_lines

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


def test_targets_are_reached_missed_or_not_measured():
    pair = {
        "rank_ic": {"mean": -0.002, "standard_error": 0.003},
        "pure_rank_ic": {"t": 2.1},
    }
    horizons = {"1": {"paired": {"lightgbm": pair}, "controls_within_3_se": None}}
    found = targets(horizons, "full")
    assert found == {
        "controls_within_3_se_1d": None,
        "raw_not_behind_lightgbm_1d": True,
        "pure_ahead_of_lightgbm_1d": True,
    }
    pair["rank_ic"]["mean"], pair["pure_rank_ic"]["t"] = -0.004, 1.9
    assert target_lines({"targets": targets(horizons, "full")}) == [
        "controls_within_3_se_1d: not measured",
        "raw_not_behind_lightgbm_1d: MISSED",
        "pure_ahead_of_lightgbm_1d: MISSED",
    ]
    assert targets(horizons, "ridge") == {"controls_within_3_se_1d": None}


def test_a_control_beyond_three_errors_is_told():
    quiet = Skill(NONE, NONE, {"rank_ic_t": -2.9, "pure_rank_ic_t": 0.3})
    loud = Skill(NONE, NONE, {"rank_ic_t": 0.1, "pure_rank_ic_t": -3.1})
    assert controls_hold({"random": quiet, "ridge": loud}) is True
    assert controls_hold({"random": quiet, "shuffled": loud}) is False
    assert controls_hold({"ridge": loud}) is None
