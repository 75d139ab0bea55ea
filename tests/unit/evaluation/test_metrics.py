"""Metrics against SciPy and by hand; planted signals, masks and constant forecasts."""

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.data.neutralization.styles import Exposures
from atft_hpo.data.store.trading import Trading
from atft_hpo.evaluation.mean_error import t_of_mean
from atft_hpo.evaluation.metrics import Evaluation, evaluate_forecast, max_drawdown
from atft_hpo.evaluation.portfolio import hold_tranches, portfolio_returns, target_weights
from atft_hpo.evaluation.yardsticks import Yardsticks

HORIZONS = (1, 5)


def config_of(**changes: Any) -> Config:
    """A configuration with horizons 1 and 5."""
    phases = {name: {"horizon_weights": [1.0]} for name in PHASE_NAMES}
    data = {"horizons_days": list(HORIZONS)}
    return build_config({"data": data, "phases": phases, **changes})


def draw(seed: int, days: int = 60, stocks: int = 40, signal: float = 0.0) -> dict[str, Any]:
    """Scores, returns with `signal` · score in them, a universe with gaps, dates."""
    generator = np.random.default_rng(seed)
    score = generator.standard_normal((days, stocks, 2)).astype(np.float32)
    noise = generator.standard_normal((days, stocks, 2))
    returns = (0.01 * (signal * score + noise)).astype(np.float32)
    returns[generator.random(returns.shape) < 0.05] = np.nan
    return {
        "score_DNQ": score,
        "returns_DNQ": returns,
        "alive_DN": generator.random((days, stocks)) > 0.1,
        "dates": dates_of(days),
    }


def dates_of(days: int) -> NDArray[np.datetime64]:
    """Consecutive days."""
    return np.datetime64("2021-01-01", "D") + np.arange(days)


def evaluate(
    data: dict[str, Any],
    config: Config | None = None,
    exposures: Exposures | None = None,
    **more: Any,
) -> Evaluation:
    """Evaluate drawn data under the default configuration."""
    trading = Trading.without_friction(data["returns_DNQ"][..., 0], data["dates"])
    given = (data["returns_DNQ"], data["alive_DN"], data["dates"], trading, exposures)
    yardsticks = Yardsticks(*given)
    return evaluate_forecast(data["score_DNQ"], yardsticks, config or config_of(), **more)


def test_correlations_equal_scipy_on_the_live_labelled_cells_of_each_day() -> None:
    data = draw(0)
    daily = evaluate(data).daily
    for day in range(60):
        score, truth = data["score_DNQ"][day, :, 0], data["returns_DNQ"][day, :, 0]
        mask = data["alive_DN"][day] & np.isfinite(truth)
        assert daily.ic[day] == pytest.approx(pearsonr(score[mask], truth[mask])[0], abs=1e-6)
        rank = spearmanr(score[mask], truth[mask])[0]
        assert daily.rank_ic[day] == pytest.approx(rank, abs=1e-6)


def test_ties_are_averaged_as_in_scipy() -> None:
    data = draw(1)
    data["score_DNQ"] = np.round(data["score_DNQ"])
    daily = evaluate(data).daily
    mask = data["alive_DN"][0] & np.isfinite(data["returns_DNQ"][0, :, 0])
    rank = spearmanr(data["score_DNQ"][0, mask, 0], data["returns_DNQ"][0, mask, 0])[0]
    assert daily.rank_ic[0] == pytest.approx(rank, abs=1e-6)


def test_means_ratios_and_share_of_zero_days() -> None:
    found = evaluate(draw(2))
    ic = found.daily.ic.astype(np.float64)
    assert found.metrics["ic"] == pytest.approx(ic.mean(), abs=1e-6)
    assert found.metrics["ic_std"] == pytest.approx(ic.std(ddof=1), abs=1e-6)
    assert found.metrics["icir"] == pytest.approx(ic.mean() / ic.std(ddof=1), abs=1e-5)
    net = found.daily.return_net.astype(float)
    sharpe_t = t_of_mean(net[np.isfinite(net)], 1)
    assert found.metrics["sharpe_t"] == pytest.approx(sharpe_t, abs=1e-4)
    assert found.metrics["ic_t"] == pytest.approx(t_of_mean(ic, 1), abs=1e-4)
    assert found.metrics["ic_zero_share"] == 0.0
    assert found.metrics["days"] == 60.0


@pytest.mark.parametrize("sizing", ["zscore", "decile", "inverse_volatility", "uncertainty"])
def test_a_planted_signal_is_positive_everywhere_and_its_negation_negative(sizing: str) -> None:
    data = draw(3, signal=0.5)
    risk = np.random.default_rng(0).uniform(0.5, 2, data["score_DNQ"].shape)
    config = config_of(portfolio={"sizing": sizing})
    more = {"width_DNQ": risk, "volatility_DN": risk[..., 0]}
    good = evaluate(data, config, **more).metrics
    bad = evaluate(data | {"score_DNQ": -data["score_DNQ"]}, config, **more).metrics
    for name in ("ic", "rank_ic", "icir", "rank_ic_t", "sharpe", "sharpe_daily", "return_annual"):
        assert good[name] > 0.1, name
        assert bad[name] < -0.1, name
    assert good["hit_rate"] > 0.7
    assert bad["hit_rate"] < 0.3
    assert good["max_drawdown"] < bad["max_drawdown"]


def test_a_random_signal_stays_within_three_standard_errors_of_zero() -> None:
    found = evaluate(draw(4, days=400)).metrics
    assert abs(found["ic_t"]) < 3
    assert abs(found["rank_ic_t"]) < 3
    assert abs(found["sharpe_gross"]) < 3 * math.sqrt(252 / 400)


def exposures_for(data: dict[str, Any], seed: int = 0) -> Exposures:
    """Three sectors and two styles, for the days and stocks of drawn data."""
    days, stocks = data["alive_DN"].shape
    styles_DNK = np.random.default_rng(seed).standard_normal((days, stocks, 2)).astype(np.float32)
    return Exposures(
        ("beta_120d", "reversal_5d"),
        np.tile(np.arange(stocks) % 3, (len(styles_DNK), 1)),
        styles_DNK,
    )


def test_without_exposures_there_is_no_pure_metric_and_no_other_changes() -> None:
    data = draw(10, signal=0.3)
    plain, full = evaluate(data), evaluate(data, exposures=exposures_for(data))
    assert np.isnan(plain.daily.pure_rank_ic).all()
    new = {name for name in full.metrics if name not in plain.metrics}
    own = {
        "pure_rank_ic", "pure_rank_ic_std", "pure_rank_icir", "pure_rank_ic_t", "pure_days",
        "pure_days_constant", "style_r2", "style_exposure_beta_120d", "style_exposure_reversal_5d",
    }  # fmt: skip
    assert new == own | {f"{name}_5d" for name in own}
    assert {k: full.metrics[k] for k in plain.metrics} == plain.metrics


def test_pure_rank_ic_is_summed_up_as_the_others() -> None:
    data = draw(11, signal=0.3)
    found = evaluate(data, exposures=exposures_for(data))
    pure = found.daily.pure_rank_ic.astype(np.float64)
    assert found.metrics["pure_rank_ic"] == pytest.approx(pure.mean(), abs=1e-6)
    ratio = pure.mean() / pure.std(ddof=1)
    assert found.metrics["pure_rank_icir"] == pytest.approx(ratio, abs=1e-5)
    assert found.metrics["pure_rank_ic_t"] == pytest.approx(t_of_mean(pure, 1), abs=1e-4)
    assert found.metrics["pure_days"] == 60.0
    assert found.metrics["pure_rank_ic"] > 0.15
    negated = data | {"score_DNQ": -data["score_DNQ"]}
    assert evaluate(negated, exposures=exposures_for(data)).metrics["pure_rank_ic"] < -0.15


def test_a_style_forecast_has_rank_ic_but_no_pure_one() -> None:
    """Returns follow a style: so does the forecast, which knows nothing else."""
    data = draw(12)
    exposures = exposures_for(data)
    style_DN = exposures.styles_DNK[..., 0]
    data["returns_DNQ"] += 0.005 * style_DN[..., None]
    data["score_DNQ"] = np.stack([style_DN, 0.1 - 2.0 * style_DN], axis=-1)
    found = evaluate(data, exposures=exposures)
    assert found.metrics["rank_ic"] > 0.3
    assert found.metrics["days_constant"] == 0.0
    assert found.metrics["pure_days"] == 0.0
    assert found.metrics["pure_days_constant"] == found.metrics["pure_days_constant_5d"] == 60.0
    assert "pure_rank_ic" not in found.metrics
    assert found.metrics["style_r2"] == pytest.approx(1.0)
    assert found.metrics["style_exposure_beta_120d"] > 0.9
    assert found.metrics["style_exposure_beta_120d_5d"] < -0.9
    assert abs(found.metrics["style_exposure_reversal_5d"]) < 0.1


def test_portfolio_metrics_are_those_of_the_portfolio_module() -> None:
    data, config = draw(5, signal=0.1), config_of(objective={"horizon_days": 5})
    found = evaluate(data, config)
    weights = target_weights(data["score_DNQ"][..., 1], data["alive_DN"], config.portfolio)
    trading = Trading.without_friction(data["returns_DNQ"][..., 0], data["dates"])
    series = portfolio_returns(hold_tranches(weights, 5), trading, 10.0)
    sharpe = math.sqrt(252) * series.net.mean() / series.net.std(ddof=1)
    assert found.metrics["sharpe"] == pytest.approx(sharpe)
    assert found.metrics["turnover"] == pytest.approx(series.turnover.mean())
    assert found.metrics["hit_rate"] == pytest.approx((series.net > 0).mean())
    np.testing.assert_allclose(found.daily.return_net, series.net, rtol=1e-6)
    assert "sharpe_1d" in found.metrics
    assert "sharpe_5d" not in found.metrics


def test_cost_lowers_sharpe_but_not_gross() -> None:
    data = draw(6, signal=0.2)
    free = evaluate(data, config_of(portfolio={"cost_bps": 0.0})).metrics
    dear = evaluate(data, config_of(portfolio={"cost_bps": 20.0})).metrics
    assert free["sharpe"] == free["sharpe_gross"] == dear["sharpe_gross"]
    assert dear["sharpe"] < free["sharpe"]


def test_short_and_constant_days_are_skipped_and_counted() -> None:
    data = draw(7)
    data["alive_DN"][3, 15:] = False
    data["score_DNQ"][4:6] = 0.25
    found = evaluate(data)
    assert found.metrics["days_skipped"] == 3.0
    assert found.metrics["days_constant"] == 2.0
    assert np.isnan(found.daily.ic[3:6]).all()
    assert np.isnan(found.daily.rank_ic[3:6]).all()
    assert found.metrics["ic"] == pytest.approx(np.nanmean(found.daily.ic), abs=1e-6)


def test_a_dead_forecast_has_no_metrics_that_could_pass_for_results() -> None:
    data = draw(8)
    found = evaluate(data | {"score_DNQ": np.zeros_like(data["score_DNQ"])}).metrics
    assert found["days_constant"] == found["days_skipped"] == 60.0
    assert not {"ic", "rank_ic", "sharpe", "hit_rate"} & set(found)


def test_missing_labels_are_left_out_not_zeroed() -> None:
    data = draw(9, signal=1.0)
    hidden = data["returns_DNQ"].copy()
    hidden[:, :15, 1] = np.nan
    found = evaluate(data | {"returns_DNQ": hidden})
    kept = {k: v[:, 15:] for k, v in data.items() if k != "dates"} | {"dates": data["dates"]}
    assert found.metrics["ic_5d"] == pytest.approx(evaluate(kept).metrics["ic_5d"])


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_rank_ic_is_invariant_to_monotone_maps_and_stock_order(seed: int) -> None:
    data = draw(seed, days=5)
    order = np.random.default_rng(seed).permutation(40)
    shuffled = {k: v[:, order] for k, v in data.items() if k != "dates"} | {"dates": data["dates"]}
    shuffled["score_DNQ"] = np.exp(shuffled["score_DNQ"].astype(np.float64))
    before, after = evaluate(data).daily.rank_ic, evaluate(shuffled).daily.rank_ic
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_drawdown_by_hand() -> None:
    assert max_drawdown(np.array([0.1, -0.5, 0.2])) == pytest.approx(0.5)
    assert max_drawdown(np.array([-0.2, 0.1])) == pytest.approx(0.2)
    assert max_drawdown(np.array([0.1, 0.1])) == 0.0
