"""Stocks that are gone when the panel ends."""

from bench.real.verdict.departures import departures


def test_survivors_are_told_from_a_market_with_delistings(
    telling_prices, leaving_prices, make_plan, panel_of
):
    assert departures(panel_of(make_plan(telling_prices).config)) == 0
    assert departures(panel_of(make_plan(leaving_prices).config)) == 10
