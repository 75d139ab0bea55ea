import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atft_hpo.evaluation.series import DailySeries
from atft_hpo.service.database.series_bytes import decode_daily, decode_rows, encode_daily, place_of

SERIES = ("ic", "rank_ic", "return_gross", "return_net", "turnover", "pure_rank_ic")
FLOATS = st.floats(width=32)


@settings(max_examples=20, deadline=None)
@given(st.data(), st.integers(0, 40))
def test_daily_series_survive_bit_by_bit(data: st.DataObject, days: int) -> None:
    dates_D = np.datetime64("1999-12-30") + np.arange(days)
    series = {name: data.draw(hnp.arrays(np.float32, days, elements=FLOATS)) for name in SERIES}
    realised_D = dates_D + 2
    realised_D[-2:] = np.datetime64("NaT")
    written = DailySeries(dates=dates_D, **series, realised=realised_D)
    read = decode_daily(encode_daily(written))
    assert np.array_equal(read.dates, dates_D)
    assert np.array_equal(read.realised, realised_D, equal_nan=True)
    assert read.dates.dtype == np.dtype("datetime64[D]")
    for name in SERIES:
        assert np.array_equal(getattr(read, name), series[name], equal_nan=True)
        assert getattr(read, name).dtype == np.float32


def test_a_series_stored_before_there_was_pure_rank_ic_is_read() -> None:
    dates_D = np.datetime64("2024-01-01") + np.arange(7)
    rows = {name: np.full(7, i, dtype=np.float32) for i, name in enumerate(SERIES)}
    stored = encode_daily(DailySeries(dates=dates_D, **rows, realised=dates_D))
    read = decode_daily(stored[: -2 * 4 * 7])
    assert np.isnat(read.realised).all()
    assert np.isnan(read.pure_rank_ic).all()
    assert (read.turnover == 4.0).all()
    assert np.array_equal(read.dates, dates_D)


def test_rows_cut_out_read_as_the_whole_does() -> None:
    dates_D = np.datetime64("2024-01-01") + np.arange(7)
    rows = {name: np.full(7, i, dtype=np.float32) for i, name in enumerate(SERIES)}
    stored = encode_daily(DailySeries(dates=dates_D, **rows, realised=dates_D))
    names = ("return_net", "pure_rank_ic")
    places = [place_of(name, 7) for name in names]
    cut = b"".join(stored[first - 1 : first - 1 + size] for first, size in places)
    read = decode_rows(cut, dates_D, names)
    assert read.dates is dates_D
    assert (read.return_net == 3.0).all()
    assert (read.pure_rank_ic == 5.0).all()
    assert np.isnan(read.ic).all()
    assert np.isnan(decode_rows(cut[:28], dates_D, names).pure_rank_ic).all()


def test_equal_dates_are_one_array() -> None:
    dates_D = np.datetime64("2024-01-01") + np.arange(7)
    stored = encode_daily(DailySeries(dates_D, *np.zeros((6, 7), dtype=np.float32), dates_D))
    assert decode_daily(stored).dates is decode_daily(stored).dates
