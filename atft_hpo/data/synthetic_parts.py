"""The planted signal of a synthetic market: features, and what each truly forecasts.

Six parts, each with its own share of the signal's variance and a module that it is there for:

a effects   non-linear in features of the day: tanh, |x|, a product      variable selection
b memory    − a feature seven days ago; an exponential memory            LSTM, signed lag kernel
c level     a feature under a slow cycle and a drifting level            SAN, high-pass in time
d links     the mean of a feature over the cluster's *other* stocks      graph attention
e cycle     a feature under a fast cycle of the stock's own              FAN
f sector    a feature whose effect has the sector's sign                 static enrichment

The cycles of (e) have periods that divide 20, so they fall on a DFT bin of any lookback that is a
multiple of 20 days. Arrays are [D, N], standardised by the process's own moments, never by the
sample's: no day knows of a later one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]

PART_SHARES = {
    "a_effects": 0.20,
    "b_memory": 0.20,
    "c_level": 0.15,
    "d_links": 0.20,
    "e_cycle": 0.15,
    "f_sector": 0.10,
}
"""Part → its share of the signal's variance."""
LAG_DAYS = 7
MEMORY_DECAY = 0.8
CYCLE_PERIODS = (4, 5, 10, 20)
CYCLE_AMPLITUDE = 4.0
"""Of both cycles, against an informative part of unit variance."""
SLOW_PERIODS = (40.0, 120.0)
_LEVEL_STEP = 0.1


@dataclass(frozen=True)
class Market:
    """Who belongs where: sectors are made of clusters, clusters of a few stocks."""

    sector_N: NDArray[np.int64]
    cluster_N: NDArray[np.int64]
    listed_DN: NDArray[np.bool_]
    """The stock is traded, missing days apart."""


@dataclass(frozen=True)
class Planted:
    """Features by column name, and the parts' signals in the order of PART_SHARES."""

    features: dict[str, Floats]
    signals: dict[str, Floats]


def plant(market: Market, seeds: np.random.SeedSequence) -> Planted:
    """Draw all informative features; each signal has unit variance and mean 0."""
    makers = (_effects, _memory, _level, _links, _cycle, _sector)
    features: dict[str, Floats] = {}
    signals: dict[str, Floats] = {}
    for part, make, seed in zip(PART_SHARES, makers, seeds.spawn(len(makers)), strict=True):
        drawn, signals[part] = make(market, np.random.default_rng(seed))
        features |= drawn
    return Planted(features, signals)


def autoregressive(rng: np.random.Generator, shape: tuple[int, int], persistence: float) -> Floats:
    """Stationary AR(1) along the first axis, mean 0, variance 1."""
    shocks = rng.standard_normal(shape) * np.sqrt(1 - persistence**2)
    shocks[0] /= np.sqrt(1 - persistence**2)
    out: Floats = lfilter([1.0], [1.0, -persistence], shocks, axis=0)
    return out


Drawn = tuple[dict[str, Floats], Floats]


def _effects(market: Market, rng: np.random.Generator) -> Drawn:
    x = [autoregressive(rng, market.listed_DN.shape, 0.8) for _ in range(4)]
    bend = np.tanh(2 * x[0]) / _TANH_SCALE
    fold = (np.abs(x[1]) - np.sqrt(2 / np.pi)) / np.sqrt(1 - 2 / np.pi)
    signal = (bend + fold + x[2] * x[3]) / np.sqrt(3)
    names = ("bend", "fold", "pair_left", "pair_right")
    return {f"effects__{name}": value for name, value in zip(names, x, strict=True)}, signal


def _memory(market: Market, rng: np.random.Generator) -> Drawn:
    lagged, kept = (rng.standard_normal(market.listed_DN.shape) for _ in range(2))
    before = np.zeros_like(lagged)
    before[LAG_DAYS:] = lagged[:-LAG_DAYS]
    gain = np.sqrt(1 - MEMORY_DECAY**2)
    memory = lfilter([gain], [1.0, -MEMORY_DECAY], kept, axis=0)
    features = {"memory__lagged": lagged, "memory__kept": kept}
    return features, (memory - before) / np.sqrt(2)


def _level(market: Market, rng: np.random.Generator) -> Drawn:
    days, stocks = market.listed_DN.shape
    signal = rng.standard_normal((days, stocks))
    period, phase = rng.uniform(*SLOW_PERIODS, stocks), rng.uniform(0, 2 * np.pi, stocks)
    slow = CYCLE_AMPLITUDE * np.sin(2 * np.pi * np.arange(days)[:, None] / period + phase)
    drift = np.cumsum(_LEVEL_STEP * rng.standard_normal((days, stocks)), axis=0)
    return {"level__drifting": signal + slow + drift}, signal


def _links(market: Market, rng: np.random.Generator) -> Drawn:
    x = autoregressive(rng, market.listed_DN.shape, 0.5)
    clusters = np.eye(market.cluster_N.max() + 1)[market.cluster_N]
    present = np.where(market.listed_DN, x, 0.0)
    others = (present @ clusters)[:, market.cluster_N] - present
    count = (market.listed_DN @ clusters)[:, market.cluster_N] - market.listed_DN
    return {"links__leading": x}, others / np.sqrt(np.maximum(count, 1))


def _cycle(market: Market, rng: np.random.Generator) -> Drawn:
    days, stocks = market.listed_DN.shape
    signal = rng.standard_normal((days, stocks))
    period, phase = rng.choice(CYCLE_PERIODS, stocks), rng.uniform(0, 2 * np.pi, stocks)
    fast = CYCLE_AMPLITUDE * np.sin(2 * np.pi * np.arange(days)[:, None] / period + phase)
    return {"cycle__seasonal": signal + fast}, signal


def _sector(market: Market, rng: np.random.Generator) -> Drawn:
    x = autoregressive(rng, market.listed_DN.shape, 0.7)
    return {"sector__signed": x}, np.where(market.sector_N % 2 == 0, x, -x)


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
_TANH_SCALE = float(np.sqrt(np.sum(_WEIGHTS * np.tanh(2 * _NODES) ** 2) / np.sum(_WEIGHTS)))
"""Standard deviation of tanh(2x) for a standard normal x."""
