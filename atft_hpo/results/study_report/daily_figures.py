"""Figures about one forecast's days: daily IC, equity and drawdown.

    plates = [daily_ic(series, "Trial 7"), equity(series, "Trial 7"), drawdown(series, "Trial 7")]

A report shows the best trial's validation days with them, a backtest its own range.
"""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from atft_hpo.data.array_statistics.rolling import trailing_mean
from atft_hpo.evaluation.metrics import max_drawdown
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.results.study_report.facts import finite
from atft_hpo.results.study_report.theme import LOSS, SECOND_SERIES, SERIES, Plate, styled
from atft_hpo.results.wording import percent

ROLLING_DAYS = 20
"""One trading month."""
Floats = NDArray[np.float64]


def daily_ic(series: DailySeries, who: str) -> Plate:
    """RankIC of each day as bars, with its rolling mean."""
    days = finite(series.rank_ic)
    if not days.size:
        return Plate(f"{who} has no day with a RankIC.", None, "All days were skipped.")
    figure = go.Figure()
    figure.add_bar(
        x=series.dates,
        y=series.rank_ic,
        name="RankIC of the day",
        marker={"color": "#cbd8e6", "line": {"width": 0}},
        hovertemplate="%{x|%Y-%m-%d}: %{y:.3f}<extra></extra>",
    )
    figure.add_scatter(
        x=series.dates,
        y=rolling_mean(series.rank_ic, ROLLING_DAYS),
        name=f"mean of {ROLLING_DAYS} days",
        mode="lines",
        line={"color": SERIES, "width": 2},
        hovertemplate="%{x|%Y-%m-%d}: %{y:.3f}<extra>mean</extra>",
    )
    figure.add_hline(0, line={"color": "#9aa5b1", "width": 1})
    styled(figure, 320)
    figure.update_yaxes(title_text="RankIC")
    figure.update_layout(bargap=0.1)
    positive = percent(float(np.mean(days > 0)), 0)
    return Plate(
        f"{who}: the RankIC is positive on {positive} of the days, {days.mean():.4f} on average.",
        figure,
        f"{days.size} days; skipped days are left out of bars and means.",
    )


def equity(series: DailySeries, who: str) -> Plate:
    """Compounded equity before and after cost."""
    if not finite(series.return_net).size:
        return Plate(f"{who} has no portfolio returns.", None, "All days were skipped.")
    figure = go.Figure()
    gross, net = equity_curve(series.return_gross), equity_curve(series.return_net)
    for curve, name, colour in ((gross, "gross", SECOND_SERIES), (net, "net of cost", SERIES)):
        figure.add_scatter(
            x=series.realised,
            y=100 * (curve - 1.0),
            name=name,
            mode="lines",
            line={"color": colour, "width": 2},
            hovertemplate="%{x|%Y-%m-%d}: %{y:.2f} %<extra>" + name + "</extra>",
        )
    figure.add_hline(0, line={"color": "#9aa5b1", "width": 1})
    styled(figure, 320)
    figure.update_yaxes(title_text="return since the start", ticksuffix=" %")
    return Plate(
        f"{who} returned {percent(gross[-1] - 1.0)} gross and {percent(net[-1] - 1.0)} net.",
        figure,
        f"Dollar-neutral, gross exposure 1, compounded over {series.dates.size} days.",
    )


def drawdown(series: DailySeries, who: str) -> Plate:
    """Fall of net equity below its running peak."""
    net = finite(series.return_net)
    if not net.size:
        return Plate(f"{who} has no portfolio returns.", None, "All days were skipped.")
    figure = go.Figure(
        go.Scatter(
            x=series.realised,
            y=-100 * drawdown_curve(series.return_net),
            mode="lines",
            fill="tozeroy",
            fillcolor="rgba(180,65,60,0.12)",
            line={"color": LOSS, "width": 1.5},
            hovertemplate="%{x|%Y-%m-%d}: %{y:.2f} %<extra></extra>",
        )
    )
    styled(figure, 240, legend=False)
    figure.update_yaxes(title_text="below the peak", ticksuffix=" %")
    return Plate(
        f"At worst, {who[:1].lower()}{who[1:]} lay {percent(max_drawdown(net))} below its peak.",
        figure,
        "Net of cost.",
    )


def equity_curve(returns_D: NDArray[np.floating]) -> Floats:
    """[D] value of 1 invested before the first day; days without a return stand still."""
    daily = np.nan_to_num(np.asarray(returns_D, dtype=np.float64))
    return np.asarray(np.cumprod(1.0 + daily), dtype=np.float64)


def drawdown_curve(returns_D: NDArray[np.floating]) -> Floats:
    """[D] share of the running peak lost; the largest is `evaluation.metrics.max_drawdown`."""
    curve = equity_curve(returns_D)
    return np.asarray(1.0 - curve / np.maximum.accumulate(np.maximum(curve, 1.0)))


def rolling_mean(series_D: NDArray[np.floating], window_days: int) -> Floats:
    """[D] mean of the trailing window's finite days; NaN until half a window is there."""
    known_D1 = np.isfinite(series_D)[:, None]
    daily_D1 = np.where(known_D1, np.asarray(series_D, dtype=np.float64)[:, None], 0.0)
    return np.asarray(trailing_mean(daily_D1, known_D1, window_days)[:, 0])
