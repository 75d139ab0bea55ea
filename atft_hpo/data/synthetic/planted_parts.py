"""The planted signal of a synthetic market: features, and what each truly forecasts.

Seven parts, each with its own share of the signal's variance and a module that it is there for:

a effects       non-linear in features of the day: tanh, |x|, a product   variable selection
b memory        − a feature seven days ago; an exponential memory of five days; a 40-day mean
                                                                          LSTM, attention + kernel
c drift         a feature under a slow cycle and a drifting level; one whose scale drifts
                                                                          SAN, high-pass in time
d links         yesterday's mean of a feature over the cluster's *other* stocks   graph attention
e commensurate  a feature under a fast cycle of the stock's own that divides 40 days   FAN
e arbitrary     the same with any period between 4 and 30 days            least-squares FAN
f sector        a feature whose effect has the sector's sign              static enrichment

A commensurate cycle falls on a DFT bin of any lookback that is a multiple of 40 days. Arrays are
[D, N], standardised by the process's own moments, never by the sample's: no day knows of a later
one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]

PART_SHARES = {
    "a_effects": 0.20,
    "b_memory": 0.20,
    "c_drift": 0.12,
    "d_links": 0.18,
    "e_commensurate": 0.10,
    "e_arbitrary": 0.10,
    "f_sector": 0.10,
}
"""Part → its share of the signal's variance."""
PART_FEATURES = {
    "a_effects": (
        "effects__bend", "effects__fold", "effects__pair_left", "effects__pair_right",
    ),
    "b_memory": ("memory__lagged", "memory__kept", "memory__averaged"),
    "c_drift": ("level__drifting", "level__breathing"),
    "d_links": ("links__leading",),
    "e_commensurate": ("cycle__commensurate",),
    "e_arbitrary": ("cycle__arbitrary",),
    "f_sector": ("sector__signed",),
}  # fmt: skip
"""Part → the features it is planted in."""
LAG_DAYS = 7
MEMORY_MEAN_LAG_DAYS = 5
AVERAGED_DAYS = 40
COMMENSURATE_DAYS, COMMENSURATE_BINS = 40, range(2, 20)
"""Commensurate cycles run so many times in so many days. As many as these no linear filter of the
last 40 days can take out at once."""
ARBITRARY_PERIODS = (4.0, 30.0)
CYCLE_AMPLITUDE = 5.0
"""Root mean square over stocks of a fast cycle's amplitude, against an informative part of unit
variance. Amplitudes are Rayleigh, so that the cycle's value on a random day is normal: then today's
value alone says no more of the informative part than its share of the variance, .07. Under a sine
of one amplitude for all it says .25, since what lies beyond the amplitude cannot be cycle."""
SLOW_PERIODS, SLOW_AMPLITUDE = (40.0, 120.0), 4.0
LEVEL_SPREAD, LEVEL_PERSISTENCE = 2.0, 0.995
SCALE_SWING, SCALE_SPREAD, SCALE_PERSISTENCE = 0.8, 0.4, 0.99
"""The logarithm of a drifting scale: amplitude of its slow cycle, std of its random part."""


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
    makers = (_effects, _memory, _drift, _links, _commensurate, _arbitrary, _sector)
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
    lagged, kept, averaged = (rng.standard_normal(market.listed_DN.shape) for _ in range(3))
    decay = MEMORY_MEAN_LAG_DAYS / (1 + MEMORY_MEAN_LAG_DAYS)
    memory = lfilter([np.sqrt(1 - decay**2)], [1.0, -decay], kept, axis=0)
    mean = lfilter(np.full(AVERAGED_DAYS, AVERAGED_DAYS**-0.5), [1.0], averaged, axis=0)
    names = ("memory__lagged", "memory__kept", "memory__averaged")
    signal = (memory + mean - _before(lagged, LAG_DAYS)) / np.sqrt(3)
    return dict(zip(names, (lagged, kept, averaged), strict=True)), signal


def _drift(market: Market, rng: np.random.Generator) -> Drawn:
    shape = market.listed_DN.shape
    under_level, under_scale = (rng.standard_normal(shape) for _ in range(2))
    slow = SLOW_AMPLITUDE * _cycle(shape, rng.uniform(*SLOW_PERIODS, size=shape[1:]), rng)
    level = slow + LEVEL_SPREAD * autoregressive(rng, shape, LEVEL_PERSISTENCE)
    swing = SCALE_SWING * _cycle(shape, rng.uniform(*SLOW_PERIODS, size=shape[1:]), rng)
    scale = np.exp(swing + SCALE_SPREAD * autoregressive(rng, shape, SCALE_PERSISTENCE))
    features = {"level__drifting": under_level + level, "level__breathing": under_scale * scale}
    return features, (under_level + under_scale) / np.sqrt(2)


def _links(market: Market, rng: np.random.Generator) -> Drawn:
    x = autoregressive(rng, market.listed_DN.shape, 0.5)
    clusters = np.eye(market.cluster_N.max() + 1)[market.cluster_N]
    present = np.where(market.listed_DN, x, 0.0)
    others = (present @ clusters)[:, market.cluster_N] - present
    count = (market.listed_DN @ clusters)[:, market.cluster_N] - market.listed_DN
    return {"links__leading": x}, _before(others / np.sqrt(np.maximum(count, 1)), 1)


def _commensurate(market: Market, rng: np.random.Generator) -> Drawn:
    period_N = COMMENSURATE_DAYS / rng.choice(COMMENSURATE_BINS, market.listed_DN.shape[1])
    return _under_cycle("cycle__commensurate", market, period_N, rng)


def _arbitrary(market: Market, rng: np.random.Generator) -> Drawn:
    period_N = np.asarray(rng.uniform(*ARBITRARY_PERIODS, size=market.listed_DN.shape[1]))
    return _under_cycle("cycle__arbitrary", market, period_N, rng)


def _under_cycle(name: str, market: Market, period_N: Floats, rng: np.random.Generator) -> Drawn:
    signal = rng.standard_normal(market.listed_DN.shape)
    amplitude_N = rng.rayleigh(CYCLE_AMPLITUDE / np.sqrt(2), signal.shape[1])
    return {name: signal + amplitude_N * _cycle(signal.shape, period_N, rng)}, signal


def _cycle(shape: tuple[int, int], period_N: Floats, rng: np.random.Generator) -> Floats:
    """Sinusoids [D, N] of amplitude 1, of each stock's own period and phase."""
    phase_N = rng.uniform(0, 2 * np.pi, shape[1])
    return np.asarray(np.sin(2 * np.pi * np.arange(shape[0])[:, None] / period_N + phase_N))


def _before(x_DN: Floats, days: int) -> Floats:
    """`x_DN` so many days ago; 0 before there is any."""
    out = np.zeros_like(x_DN)
    out[days:] = x_DN[:-days]
    return out


def _sector(market: Market, rng: np.random.Generator) -> Drawn:
    x = autoregressive(rng, market.listed_DN.shape, 0.7)
    return {"sector__signed": x}, np.where(market.sector_N % 2 == 0, x, -x)


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
_TANH_SCALE = float(np.sqrt(np.sum(_WEIGHTS * np.tanh(2 * _NODES) ** 2) / np.sum(_WEIGHTS)))
"""Standard deviation of tanh(2x) for a standard normal x."""
