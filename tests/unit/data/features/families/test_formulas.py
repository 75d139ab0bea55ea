"""Features against their formulas, written out in numpy for one stock and one day."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from scipy import stats

STOCK, DAY = "S5", 230


class Past:
    """One stock's rows up to the day: prices o, h, l, c as logarithms, volume v, returns r."""

    def __init__(self, frame: pl.DataFrame) -> None:
        past = frame.filter((pl.col("code") == STOCK) & (pl.col("day") <= DAY)).sort("day")
        names = ("open", "high", "low", "close")
        self.o, self.h, self.l, self.c = (np.log(past[name].to_numpy()) for name in names)
        self.v, self.price = past["volume"].to_numpy(), past["close"].to_numpy()
        self.r = np.diff(self.c)
        self.overnight = self.o[1:] - self.c[:-1]
        self.intraday = self.c - self.o


def ema(x: np.ndarray, span: int) -> np.ndarray:
    out = [x[0]]
    for value in x[1:]:
        out.append(out[-1] + 2 / (span + 1) * (value - out[-1]))
    return np.array(out)


def yang_zhang(p: Past) -> float:
    k = 0.34 / (1.34 + 21 / 19)
    rs = (p.h - p.o) * (p.h - p.c) + (p.l - p.o) * (p.l - p.c)
    squares = p.overnight[-20:].var(ddof=1) + k * p.intraday[-20:].var(ddof=1)
    return float(np.sqrt(squares + (1 - k) * rs[-20:].mean()))


def macd_histogram(p: Past) -> float:
    line = ema(p.c, 10) - ema(p.c, 20)
    return float((line[-1] - ema(line[19:], 6)[-1]) / (p.r[-20:].std(ddof=1) * np.sqrt(20)))


def amihud(p: Past) -> float:
    def impact(w: int) -> float:
        return float(np.abs(p.r[-w:]).sum() / (p.v * p.price)[-w:].sum())

    return np.log(impact(20) / impact(120))


def since_high(p: Past) -> float:
    return float(np.argmax(p.h[-60:][::-1]) / 60)


def money_flow(p: Past) -> float:
    place = (2 * p.c - p.h - p.l) / (p.h - p.l)
    return float((place * p.v)[-20:].sum() / p.v[-20:].sum())


def turnover_surprise(volume: np.ndarray) -> float:
    traded = np.log(volume[volume > 0])
    return float((np.log(volume[-1]) - traded.mean()) / traded.std(ddof=1))


def return_volume(r: np.ndarray, volume: np.ndarray) -> float:
    traded = volume > 0
    assert not traded.all()  # a day without a trade takes no part
    return float(np.corrcoef(r[traded], np.log(volume[traded]))[0, 1])


def trend(p: Past) -> float:
    return float(np.corrcoef(np.arange(40), p.c[-40:])[0, 1])


def of_volatility(p: Past) -> float:
    five = np.array([p.r[i - 4 : i + 1].std(ddof=1) for i in range(len(p.r) - 20, len(p.r))])
    return float(five.std(ddof=1) / five.mean())


FORMULAS: dict[str, Callable[[Past], float]] = {
    "returns__log_10d": lambda p: p.c[-1] - p.c[-11],
    "returns__overnight_5d": lambda p: p.overnight[-5:].sum(),
    "returns__intraday_3d": lambda p: p.intraday[-3:].sum(),
    "returns__lag_4d": lambda p: p.r[-5],
    "momentum__skip_month_60d": lambda p: p.c[-21] - p.c[-81],
    "momentum__over_mean_20d": lambda p: p.c[-1] - p.c[-20:].mean(),
    "momentum__cross_40d": lambda p: p.c[-10:].mean() - p.c[-40:].mean(),
    "momentum__macd_20d": lambda p: (
        (ema(p.c, 10)[-1] - ema(p.c, 20)[-1]) / (p.r[-20:].std(ddof=1) * np.sqrt(20))
    ),
    "momentum__macd_histogram_20d": macd_histogram,
    "momentum__slope_20d": lambda p: np.polyfit(np.arange(20), p.c[-20:], 1)[0],
    "momentum__trend_40d": trend,
    "momentum__rsi_10d": lambda p: np.maximum(p.r[-10:], 0).sum() / np.abs(p.r[-10:]).sum(),
    "momentum__acceleration_5d": lambda p: p.r[-5:].sum() - p.r[-10:-5].sum(),
    "momentum__efficiency_20d": lambda p: abs(p.c[-1] - p.c[-21]) / np.abs(p.r[-20:]).sum(),
    "volatility__std_20d": lambda p: p.r[-20:].std(ddof=1),
    "volatility__parkinson_10d": lambda p: np.sqrt(
        ((p.h - p.l)[-10:] ** 2).mean() / (4 * np.log(2))
    ),
    "volatility__garman_klass_10d": lambda p: np.sqrt(
        (0.5 * (p.h - p.l) ** 2 - (2 * np.log(2) - 1) * (p.c - p.o) ** 2)[-10:].mean()
    ),
    "volatility__yang_zhang_20d": yang_zhang,
    "volatility__downside_40d": lambda p: np.sqrt((np.minimum(p.r[-40:], 0) ** 2).mean()),
    "volatility__of_volatility_20d": of_volatility,
    "volatility__ratio_60d": lambda p: p.r[-5:].std(ddof=1) / p.r[-60:].std(ddof=1),
    "range__width_20d": lambda p: p.h[-20:].max() - p.l[-20:].min(),
    "range__position_20d": lambda p: (
        (p.c[-1] - p.l[-20:].min()) / (p.h[-20:].max() - p.l[-20:].min())
    ),
    "range__below_high_60d": lambda p: p.c[-1] - p.h[-60:].max(),
    "range__since_high_60d": since_high,
    "range__true_range_5d": lambda p: (
        np.maximum(p.h[-5:], p.c[-6:-1]) - np.minimum(p.l[-5:], p.c[-6:-1])
    ).mean(),
    "range__body": lambda p: (p.c - p.o)[-1] / (p.h - p.l)[-1],
    "liquidity__volume_ratio_20d": lambda p: np.log(p.v[-1] / p.v[-20:].mean()),
    "liquidity__turnover_surprise_20d": lambda p: turnover_surprise(p.v[-20:]),
    "liquidity__amihud_20d": amihud,
    "liquidity__return_volume_20d": lambda p: return_volume(p.r[-20:], p.v[-20:]),
    "liquidity__balance_10d": lambda p: (
        (np.sign(p.r[-10:]) * p.v[-10:]).sum() / p.v[-10:].sum()
    ),
    "liquidity__money_flow_20d": money_flow,
    "liquidity__over_vwap_20d": lambda p: np.log(
        p.price[-1] * p.v[-20:].sum() / (p.v * p.price)[-20:].sum()
    ),
    "liquidity__log_dollar_volume_20d": lambda p: np.log((p.v * p.price)[-20:].mean()),
    "reversal__scaled_3d": lambda p: (
        -(p.c[-1] - p.c[-4]) / (p.r[-20:].std(ddof=1) * np.sqrt(3))
    ),
    "reversal__max_20d": lambda p: p.r[-20:].max(),
    "reversal__skewness_60d": lambda p: stats.skew(p.r[-60:]),
    "reversal__kurtosis_60d": lambda p: stats.kurtosis(p.r[-60:], fisher=False),
    "reversal__autocorrelation_60d": lambda p: np.corrcoef(p.r[-60:], p.r[-61:-1])[0, 1],
    "reversal__band_20d": lambda p: stats.zscore(p.c[-20:], ddof=1)[-1],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_feature_equals_its_formula(
    name: str, prices: pl.DataFrame, features: pl.DataFrame
) -> None:
    date = prices.filter(pl.col("day") == DAY)["date"][0]
    found = features.filter((pl.col("code") == STOCK) & (pl.col("date") == date))[name].item()
    assert found == pytest.approx(FORMULAS[name](Past(prices)), rel=2e-5, abs=1e-7)
