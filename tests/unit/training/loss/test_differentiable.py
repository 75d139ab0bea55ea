"""The twins of metrics and portfolio: equal in float64, differentiable, bounded."""

import math
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from atft_hpo.config.schema import PortfolioConfig
from atft_hpo.data.store.trading import Trading
from atft_hpo.evaluation import portfolio
from atft_hpo.training.loss import differentiable as diff


def draw(seed: int, days: int = 8, stocks: int = 25) -> tuple[Tensor, Tensor, Tensor]:
    """float64 scores and returns, and a mask with holes."""
    generator = torch.Generator().manual_seed(seed)
    score, returns = torch.randn(2, days, stocks, generator=generator, dtype=torch.float64)
    return score, 0.01 * returns, torch.rand(days, stocks, generator=generator) > 0.15


def with_gaps(returns: Tensor, seed: int) -> Tensor:
    """Returns with one in ten missing."""
    gaps = torch.rand(returns.shape, generator=torch.Generator().manual_seed(seed)) < 0.1
    return returns.masked_fill(gaps, torch.nan)


@pytest.mark.parametrize("horizon", [1, 3])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_portfolio_twin_equals_the_evaluation(horizon: int, seed: int) -> None:
    score, returns, alive = draw(seed)
    score[2], alive[4, 2:] = 0.5, False  # a constant day and a day with too few stocks
    returns = with_gaps(returns, seed)
    executable = torch.from_numpy(np.random.default_rng(seed).random(score.shape) > 0.2)
    wished = diff.hold_tranches(diff.zscore_weights(score, alive, 1.5), horizon)
    held = diff.carried_out(wished, executable)
    net, measured = diff.net_returns(held, returns, 7.0)
    expected = portfolio.hold_tranches(
        portfolio.target_weights(
            score.numpy(),
            alive.numpy(),
            PortfolioConfig(clip=1.5),
            min_stocks=diff.MIN_STOCKS_OF_LOSS,
        ),
        horizon,
    )
    dates = np.arange("2021-01-01", len(score), dtype="datetime64[D]")
    free = Trading.without_friction(returns.numpy(), dates)
    trading = replace(free, position_DN=returns.numpy(), executable_DN=executable.numpy())
    series = portfolio.portfolio_returns(expected, trading, 7.0)
    np.testing.assert_allclose(wished, expected, atol=1e-14)
    np.testing.assert_allclose(held, portfolio.carried_out(expected, trading), atol=1e-14)
    np.testing.assert_allclose(net[measured], series.net[np.isfinite(series.net)], atol=1e-15)
    np.testing.assert_allclose(diff.turnover(held), series.turnover, atol=1e-14)
    sharpe = math.sqrt(252) * np.nanmean(series.net) / np.nanstd(series.net, ddof=1)
    assert float(diff.sharpe_annual(net, measured, floor=0.0)) == pytest.approx(sharpe)


def test_the_floor_bounds_sharpe_when_days_are_alike() -> None:
    alike = torch.full((3,), 0.01, dtype=torch.float64)
    found = float(diff.sharpe_annual(alike, torch.ones(3, dtype=torch.bool)))
    assert found == pytest.approx(math.sqrt(252) * 0.01 / diff.SHARPE_FLOOR)


def test_sharpe_of_two_days_is_no_loss() -> None:
    returns = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    found = diff.sharpe_annual(returns, torch.tensor([True, True, False]))
    found.backward()
    assert found == 0.0
    assert returns.grad is not None
    assert (returns.grad == 0).all()


def test_soft_ranks_become_scipys_with_ties_averaged() -> None:
    score, _, mask = draw(0)
    score[0] = score[0].round()
    soft = diff.soft_ranks(score, mask, temperature=1e-7)
    hard = diff.hard_ranks(score, mask)
    for day in range(len(score)):
        expected = rankdata(score[day, mask[day]]) - 1
        np.testing.assert_allclose(soft[day, mask[day]], expected, atol=1e-6)
        np.testing.assert_array_equal(hard[day, mask[day]], expected)


@given(seed=st.integers(0, 10_000))
@example(seed=495)  # two scores 3e-6 apart
@settings(max_examples=20, deadline=None)
def test_rank_correlation_becomes_spearman_as_temperature_falls(seed: int) -> None:
    score, label, mask = draw(seed)
    gaps = []
    for temperature in (0.3, 0.03, 1e-9):  # the last below the gap of any two scores
        found, counts = diff.rank_correlation(score, label, mask, temperature)
        assert counts.all()
        exact = [spearmanr(s[m], t[m])[0] for s, t, m in zip(score, label, mask, strict=True)]
        gaps.append(float(np.abs(found.numpy() - np.array(exact)).max()))
    assert gaps[2] < 1e-5
    assert gaps[1] < 0.1


def test_soft_ranks_do_not_change_with_scale_or_shift() -> None:
    score, _, mask = draw(1)
    before = diff.soft_ranks(score, mask, 0.1)
    after = diff.soft_ranks(300 * score + 5, mask, 0.1)
    torch.testing.assert_close(after[mask], before[mask], rtol=1e-9, atol=1e-8)


def test_wide_slices_are_thinned_and_stay_close() -> None:
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(3, 3 * diff.STOCK_LIMIT, generator=generator)
    label = score + torch.randn(score.shape, generator=generator)
    mask = torch.ones_like(score, dtype=torch.bool)
    found, _ = diff.rank_correlation(score, label, mask, 1e-4)
    exact = [spearmanr(s, t)[0] for s, t in zip(score, label, strict=True)]
    np.testing.assert_allclose(found, exact, atol=0.1)


def test_every_stock_has_its_turn_when_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "STOCK_LIMIT", 10)
    score, label, mask = draw(2, stocks=25)
    score.requires_grad_()
    torch.manual_seed(0)
    for _ in range(12):
        diff.rank_correlation(score, label, mask, 0.5)[0].sum().backward()
    assert score.grad is not None
    assert (score.grad[mask] != 0).all()


@pytest.mark.parametrize("pairs", [1, 2**10, 2**20])
def test_soft_ranks_do_not_depend_on_chunks(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    score, _, mask = draw(5)
    plain = torch.sigmoid((score[:, :, None] - score[:, None, :]) / 0.2)
    monkeypatch.setattr(diff, "_PAIRS_IN_CACHE", pairs)
    std = torch.stack([s[m].std(correction=0) for s, m in zip(score, mask, strict=True)])
    found = diff.soft_ranks(score, mask, 0.2 / float(std[0]))[0]
    expected = (plain[0] * mask[0]).sum(dim=1) - 0.5
    torch.testing.assert_close(found[mask[0]], expected[mask[0]], rtol=1e-9, atol=1e-9)


def test_days_with_too_few_stocks_or_constant_scores_do_not_count() -> None:
    score, label, mask = draw(3)
    mask[0, 2:] = False
    score[1] = 4.0
    pearson = diff.pearson(score, label, mask)
    rank = diff.rank_correlation(score, label, mask, 0.1)
    for found, counts in (pearson, rank):
        assert counts.tolist() == [False, False, *[True] * 6]
        assert found.isfinite().all()


@pytest.mark.parametrize("name", ["pearson", "rank_correlation", "sharpe"])
def test_gradients_are_right(name: str) -> None:
    score, returns, mask = draw(4, days=4, stocks=6)
    score.requires_grad_()

    def value(x: Tensor) -> Tensor:
        if name == "pearson":
            return diff.pearson(x, returns, mask)[0]
        if name == "rank_correlation":
            return diff.rank_correlation(x, returns, mask, 0.5)[0]
        held = diff.hold_tranches(diff.zscore_weights(x, mask, 9.0), 2)
        return diff.sharpe_annual(*diff.net_returns(held, returns, 5.0))

    assert torch.autograd.gradcheck(value, (score,))


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_gradients_stay_finite_where_there_is_nothing_to_learn(fill: float) -> None:
    score = torch.full((4, 6), fill, requires_grad=True)
    mask = torch.ones(4, 6, dtype=torch.bool)
    returns: Any = torch.zeros(4, 6)
    held = diff.zscore_weights(score, mask, 3.0)
    total = diff.sharpe_annual(*diff.net_returns(held, returns, 5.0)) + diff.turnover(held).sum()
    total = total + diff.pearson(score, returns, mask)[0].sum()
    total = total + diff.rank_correlation(score, returns, mask, 0.1)[0].sum()
    total.backward()
    assert score.grad is not None
    assert score.grad.isfinite().all()
