"""Days without a range, and days without a trade."""

from collections.abc import Sequence

import numpy as np
import pytest

from atft_hpo.config.data_schema import FeaturesConfig
from atft_hpo.data.features.families import features_of
from atft_hpo.data.features.families.price_history import Block, History

ROWS = 260
FEATURES = features_of(FeaturesConfig())
RANGES = ["range__", "volatility__", "returns__overnight", "returns__intraday", "liquidity__money"]


def block(
    no_range: Sequence[int] = (),
    no_trade: Sequence[int] = (),
    rows: int = ROWS,
) -> Block:
    """Two stocks of which the first has unknown days."""
    rng = np.random.default_rng(0)
    shape = (2, ROWS)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, shape), axis=1))
    open_ = close * np.exp(rng.normal(0, 0.005, shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.006, shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.006, shape)))
    volume = np.exp(rng.normal(9, 1, shape))
    market, sector = rng.normal(0, 0.01, (2, *shape))
    market[:, 0] = sector[:, 0] = np.nan
    for price in (open_, high, low):
        price[0, list(no_range)] = np.nan
    volume[0, list(no_trade)] = 0
    arrays = (open_, high, low, close, volume, volume * close)
    return Block(
        *(x[:, :rows] for x in arrays),
        day_NT=np.tile(np.arange(rows, dtype=np.int32), (2, 1)),
        dates=np.datetime64("2020-01-06") + np.arange(ROWS),
        market_NT=market[:, :rows],
        sector_NT=sector[:, :rows],
    )


def computed(of: Block) -> dict[str, np.ndarray]:
    history = History(of)
    return {feature.name: feature.compute(history) for feature in FEATURES}


@pytest.fixture(scope="module")
def known() -> dict[str, np.ndarray]:
    return computed(block())


@pytest.mark.parametrize("unknown", ["no_range", "no_trade"])
def test_one_unknown_day_empties_no_window(unknown: str, known: dict[str, np.ndarray]) -> None:
    found = computed(block(**{unknown: [200]}))
    for feature in FEATURES:
        before, after = known[feature.name], found[feature.name]
        np.testing.assert_array_equal(after[1], before[1], err_msg=feature.name)
        np.testing.assert_allclose(after[0, :200], before[0, :200], 1e-9, 1e-12, feature.name)
        for day in (202, 230, 259):  # 200 and 201 are themselves unknown, or a change from it
            if feature.window >= 5 and not np.isnan(before[0, day]):
                assert np.isfinite(after[0, day]), (feature.name, day)


def test_averages_are_over_the_days_that_are_known() -> None:
    of = block(no_range=[241, 250], no_trade=[245])
    h, low, c = (np.log(x[0]) for x in (of.high_NT, of.low_NT, of.close_NT))
    found = {name: x[0, 255] for name, x in computed(of).items()}
    spread = (h - low)[236:256]
    assert found["volatility__parkinson_20d"] == pytest.approx(
        np.sqrt(np.nanmean(spread**2) / (4 * np.log(2)))
    )
    traded = np.log(np.delete(of.volume_NT[0, 236:256], 245 - 236))
    expected = (traded[-1] - traded.mean()) / traded.std(ddof=1)
    assert found["liquidity__turnover_surprise_20d"] == pytest.approx(expected)
    overnight = np.log(of.open_NT[0, 236:256]) - c[235:255]
    assert found["returns__overnight_20d"] == pytest.approx(20 * np.nanmean(overnight))
    top = np.nanmax(np.where(np.isnan(h), c, h)[236:256])
    assert found["range__below_high_20d"] == pytest.approx(c[255] - top)


def test_a_close_beyond_all_known_highs_is_the_highest() -> None:
    of = block(no_range=[255])
    of.close_NT[0, 255] = 1.5 * of.high_NT[0, 200:255].max()
    found = {name: x[0, 255] for name, x in computed(of).items()}
    assert found["range__below_high_20d"] == 0
    assert found["range__position_20d"] == 1
    assert found["range__since_high_20d"] == 0
    assert np.isnan(found["range__body"])


@pytest.mark.parametrize("unknown", ["no_range", "no_trade"])
def test_a_window_of_which_too_little_is_known_is_null(unknown: str) -> None:
    found = computed(block(**{unknown: list(range(240, 250))}))
    names = {
        "no_range": [n for n in found if n.startswith(("range__width", "volatility__parkinson"))],
        "no_trade": [n for n in found if n.startswith("liquidity__turnover_surprise")],
    }[unknown]
    for name in names:
        window = int(name.rsplit("_", 1)[1][:-1])
        assert np.isnan(found[name][0, 250]) == (window < 60), name


def test_days_that_come_later_change_nothing(known: dict[str, np.ndarray]) -> None:
    unknown = {"no_range": [30, 170, 238, 239], "no_trade": [31, 100, 239]}
    whole, cut = computed(block(**unknown)), computed(block(**unknown, rows=240))
    for feature in FEATURES:
        later = whole[feature.name][:, :240]
        np.testing.assert_allclose(later, cut[feature.name], 1e-9, 1e-12, err_msg=feature.name)
        assert np.isfinite(known[feature.name][0, 239]), feature.name
