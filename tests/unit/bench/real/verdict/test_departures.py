"""Stocks that are gone when the panel ends."""

import pytest

from bench.real.verdict.departures import departures, departures_line


def test_survivors_are_told_from_a_market_with_delistings(
    telling_prices, leaving_prices, make_plan, panel_of
):
    assert departures(panel_of(make_plan(telling_prices).config)) == (0, 0.0)
    panel = panel_of(make_plan(leaving_prices).config)
    count, share_a_year = departures(panel)
    years = (panel.dates[-1] - panel.dates[0]).astype(int) / 365.25
    assert count == 10
    assert share_a_year == pytest.approx(10 / 40 / years)


@pytest.mark.parametrize(("share", "survivors"), [(0.0, True), (0.009, True), (0.01, False)])
def test_few_departures_a_year_are_survivors_only(share, survivors):
    line = departures_line(1000, 50, share)
    assert line.startswith("survivors only") == survivors
    assert "50 of 1000 stocks" in line
