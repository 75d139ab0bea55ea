"""A seeded synthetic market with known truth, as a tidy table that the panel store takes.

    synthetic_table(config.data.synthetic, config.data, Path("market.parquet"))

Returns are forecast + noise. The forecast of day d, planted in features of day d (and, for
memories, of days before: see `planted_parts`), is paid on day d + delay + 1: it forecasts the
one-day label of `DataConfig.delay_days`, with a mean daily IC of about `oracle_ic`. The noise has a
market factor, a factor per sector and one per cluster of five stocks, so that return correlations
reveal the links, and a scale that depends on feature `scale__volatile`. Some stocks leave, some
arrive late, some miss a day or two.

Columns: date, code, sector, close, features `<family>__<name>`, and `oracle__<part>`: the true
forecast in units of return, whose sum over parts is E[label | all features] up to what is common
to all stocks. The same seed gives the same bytes.
"""

import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig, SyntheticConfig
from atft_hpo.data.synthetic.planted_parts import PART_SHARES, Floats, Market, autoregressive, plant
from atft_hpo.errors import VolumeError

MARKET_VERSION = 2
"""Counts changes of what a configuration draws."""
CLUSTER_STOCKS = 5
_STOCKS_PER_SECTOR = 10
_MAX_SECTORS = 11
_FIRST_DATE = np.datetime64("2015-01-05")
_BURN_IN_DAYS = 60
_DAILY_VOLATILITY = 0.02
"""Cross-sectional standard deviation of one-day returns."""
_MARKET_VOLATILITY = 0.007
_CLUSTER_SHARE, _SECTOR_SHARE = 0.40, 0.15
"""Shares of the noise's variance; the rest is the stock's own."""
_SCALE_SPREAD = 0.35
"""Standard deviation of the logarithm of the noise's scale."""
_WORST_RETURN = -0.5
_FIRST_PRICE = 100.0
_LATE_STOCKS, _SKIPPING_STOCKS = 2, 3
_ROW_GROUP_ROWS = 50_000


def synthetic_table(config: SyntheticConfig, data: DataConfig, out: Path) -> Path:
    """Write the market to the Parquet file `out`; returns `out`.

    As many stocks stay for the whole time as `data.pack.min_stocks_per_day` asks for on each day.

    Raises:
        VolumeError: `out` cannot be written.
    """
    presence, structure, planted, noise, noise_features, gaps = np.random.SeedSequence(
        config.seed
    ).spawn(6)
    listed_DN, skipped_DN = _presence(config, data, np.random.default_rng(presence))
    market = _market(listed_DN, np.random.default_rng(structure))
    truth = plant(market, planted)
    amplitude = config.oracle_ic * _DAILY_VOLATILITY
    oracle = {k: amplitude * np.sqrt(w) * truth.signals[k] for k, w in PART_SHARES.items()}
    volatile, noise_DN = _noise(market, np.random.default_rng(noise))
    signal_DN = np.sum(list(oracle.values()), axis=0)
    return_DN = noise_DN * np.sqrt(1 - config.oracle_ic**2) + _paid(signal_DN, data.delay_days)
    features = truth.features | {"scale__volatile": volatile}
    features |= _noise_features(config, listed_DN.shape, np.random.default_rng(noise_features))
    rows_DN = listed_DN & ~skipped_DN
    rows_DN[:_BURN_IN_DAYS] = False
    rng = np.random.default_rng(gaps)
    columns = {k: _with_gaps(x[rows_DN], config.missing_share, rng) for k, x in features.items()}
    columns |= {f"oracle__{k}": pa.array(x[rows_DN].astype(np.float32)) for k, x in oracle.items()}
    keys = _keys(market, rows_DN) | {"close": pa.array(_prices(return_DN)[rows_DN])}
    return _write(pa.table(keys | columns), out)


def _presence(
    config: SyntheticConfig, data: DataConfig, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who is listed on which day, and which rows of listed stocks are skipped, burn-in included."""
    days, stocks = config.days, config.stocks
    visible_DN = np.ones((days, stocks), dtype=np.bool_)
    skipped_DN = np.zeros_like(visible_DN)
    absent = rng.permutation(stocks)[: max(stocks - data.pack.min_stocks_per_day, 0)]
    leaving = int(np.ceil(config.delisted_share * stocks))
    for stock in absent[:leaving]:
        visible_DN[rng.integers(days // 3, days - days // 10) :, stock] = False
    late, skipping = absent[leaving:][:_LATE_STOCKS], absent[leaving + _LATE_STOCKS :]
    for stock in late:
        visible_DN[: rng.integers(days // 20, days // 4), stock] = False
    for stock in skipping[:_SKIPPING_STOCKS]:
        skipped_DN[rng.integers(1, days - 1, size=2), stock] = True
    before = np.broadcast_to(visible_DN[0], (_BURN_IN_DAYS, stocks))
    nothing = np.zeros_like(before)
    return np.concatenate([before, visible_DN]), np.concatenate([nothing, skipped_DN])


def _market(listed_DN: NDArray[np.bool_], rng: np.random.Generator) -> Market:
    stocks = listed_DN.shape[1]
    clusters = stocks // CLUSTER_STOCKS
    sectors = int(np.clip(stocks // _STOCKS_PER_SECTOR, 2, _MAX_SECTORS))
    cluster_N = np.minimum(rng.permutation(stocks) // CLUSTER_STOCKS, clusters - 1)
    return Market(cluster_N * sectors // clusters, cluster_N, listed_DN)


def _noise(market: Market, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The feature that sets the noise's scale, and the noise at the market's daily volatility."""
    shape = days, _ = market.listed_DN.shape
    volatile = autoregressive(rng, shape, 0.95)
    scale = np.exp(_SCALE_SPREAD * volatile - _SCALE_SPREAD**2)  # E[scale²] = 1
    own = np.sqrt(1 - _CLUSTER_SHARE - _SECTOR_SHARE) * scale * rng.standard_normal(shape)
    cluster = np.sqrt(_CLUSTER_SHARE) * _factor(market.cluster_N, days, rng)
    sector = np.sqrt(_SECTOR_SHARE) * _factor(market.sector_N, days, rng)
    common = _MARKET_VOLATILITY * rng.standard_normal((days, 1))
    return volatile, _DAILY_VOLATILITY * (own + cluster + sector) + common


def _factor(group_N: NDArray[np.int64], days: int, rng: np.random.Generator) -> Floats:
    """A daily factor per group, of unit variance *between* the groups of a day."""
    groups = int(group_N.max()) + 1
    drawn: Floats = rng.standard_normal((days, groups))[:, group_N] / np.sqrt(1 - 1 / groups)
    return drawn


def _paid(signal_DN: Floats, delay_days: int) -> Floats:
    """The return that pays the forecast of day d: on day d + delay + 1."""
    out = np.zeros_like(signal_DN)
    out[delay_days + 1 :] = signal_DN[: -delay_days - 1]
    return out


def _prices(return_DN: Floats) -> Floats:
    growth = np.log1p(np.maximum(return_DN, _WORST_RETURN))
    return np.asarray(_FIRST_PRICE * np.exp(np.cumsum(growth, axis=0)))


def _noise_features(
    config: SyntheticConfig, shape: tuple[int, ...], rng: np.random.Generator
) -> dict[str, Floats]:
    """Features without signal: every other one white, the rest persistent."""
    days, stocks = shape
    return {
        f"noise__{i:02d}": autoregressive(rng, (days, stocks), 0.9 * (i % 2))
        for i in range(config.noise_features)
    }


def _with_gaps(value_R: Floats, missing_share: float, rng: np.random.Generator) -> pa.Array:
    return pa.array(value_R.astype(np.float32), mask=rng.random(len(value_R)) < missing_share)


def _keys(market: Market, rows_DN: NDArray[np.bool_]) -> dict[str, pa.Array]:
    day_R, stock_R = np.nonzero(rows_DN)
    dates = np.busday_offset(_FIRST_DATE, day_R - _BURN_IN_DAYS, roll="forward")
    codes = pa.array([f"S{n:04d}" for n in range(rows_DN.shape[1])])
    sectors = pa.array([f"sector {s:02d}" for s in market.sector_N])
    return {
        "date": pa.array(dates.astype("datetime64[D]")),
        "code": codes.take(pa.array(stock_R)),
        "sector": sectors.take(pa.array(stock_R)),
    }


def _write(table: pa.Table, out: Path) -> Path:
    stage = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, stage, row_group_size=_ROW_GROUP_ROWS, compression="lz4")
        stage.replace(out)
    except OSError as error:
        raise VolumeError(
            f"{out}: cannot be written ({error.strerror or error}); "
            "free space or give another place"
        ) from error
    finally:
        stage.unlink(missing_ok=True)
    return out
