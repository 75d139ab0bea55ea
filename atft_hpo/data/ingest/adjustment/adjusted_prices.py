"""From what a table says to prices and volumes of one unit through a stock's time.

    adjusted = adjust(raw, config.volume_adjustment, progress)
    adjusted.close_R, adjusted.volume_R          # returns and volume ratios can be formed
    adjusted.traded_value_R                      # the day's money, of which no later day knows

Prices are multiplied by adj_close / close where there is an adjusted close, else by what later
splits make of a raw one. Volume is divided by later splits, never by dividends. The traded value is
the table's own, else raw close × raw volume. Money alone is free of the future as it stands: the
scale of adjusted prices and volumes is decided by later splits and dividends; features use ratios.

Expected is a volume that counts shares as its close does: raw with raw, adjusted with adjusted. The
splits themselves tell whether a table does otherwise; see `volume_unit`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.data_schema import VolumeAdjustment
from atft_hpo.data.ingest.adjustment.split_events import share_factor, splits_in_factor
from atft_hpo.data.ingest.adjustment.volume_unit import Unit, VolumeJump, volume_jump
from atft_hpo.progress import Progress

Floats = NDArray[np.float64]
_UNIT_NAMES: dict[Unit, str] = {"day": "raw", "last": "split-adjusted"}
_UNIT_OF_SETTING: dict[str, Unit] = {"none": "day", "split": "last"}


@dataclass(frozen=True)
class RawPrices:
    """What the columns say; R rows sorted by stock, then day."""

    starts: NDArray[np.int64]
    """[N + 1] first row of each stock, then R."""
    open_R: Floats
    """NaN where the range is unknown, as high and low."""
    high_R: Floats
    low_R: Floats
    close_R: Floats
    volume_R: Floats
    """0 where nothing was traded; raw or adjusted, as the table has it."""
    adj_close_R: Floats | None = None
    """None where the table has none; the prices may then be adjusted already."""
    adj_volume_R: Floats | None = None
    """In shares of the last row."""
    traded_value_R: Floats | None = None
    """The day's money as the table has it; NaN where absent."""
    split_ratio_R: Floats | None = None
    """From the table's column of splits, if it has one: new shares per old one on the day of a
    split, else 1 (`split_events.splits_in_column`)."""


@dataclass(frozen=True)
class AdjustedPrices:
    """Prices and volumes of one unit through a stock's time, and the day's money."""

    open_R: Floats
    high_R: Floats
    low_R: Floats
    close_R: Floats
    volume_R: Floats
    traded_value_R: Floats
    price_factor_R: Floats | None
    """Adjusted over given prices; None where nothing was adjusted."""
    share_factor_R: Floats | None
    """Shares of a stock's last row are the day's over this; None without a known split."""
    report: dict[str, Any]
    """For the panel's manifest: what was found, by what."""


@dataclass(frozen=True)
class _Found:
    """Splits, and the units of close and volume."""

    ratio_R: Floats
    splits: int
    splits_in: str | None
    """The column that tells of splits."""
    close_unit: Unit
    volume_unit: Unit
    volume_by: str
    """How that is known: the setting, the table's columns, its splits, or not at all."""
    jump: VolumeJump


def adjust(raw: RawPrices, setting: VolumeAdjustment, progress: Progress) -> AdjustedPrices:
    """Adjusted prices and volumes, and the day's money.

    Args:
        setting: `data.volume_adjustment`.
        progress: told what was found and how volume was taken.
    """
    found = _find(raw, setting)
    share_R = share_factor(found.ratio_R, raw.starts) if found.splits else None
    factor_R = _price_factor(raw, found, share_R)
    adjusted = [
        price_R if factor_R is None else price_R * factor_R
        for price_R in (raw.open_R, raw.high_R, raw.low_R, raw.close_R)
    ]
    for line in _lines(raw, found):
        progress(line)
    return AdjustedPrices(
        open_R=adjusted[0],
        high_R=adjusted[1],
        low_R=adjusted[2],
        close_R=adjusted[3],
        volume_R=_volume(raw, found, share_R),
        traded_value_R=_traded_value(raw, found, share_R),
        price_factor_R=factor_R,
        share_factor_R=share_R,
        report=_report(raw, found),
    )


def _find(raw: RawPrices, setting: VolumeAdjustment) -> _Found:
    ratio_R, splits_in = np.ones(len(raw.close_R)), None
    close_unit: Unit = "day"
    if raw.split_ratio_R is not None:
        ratio_R = raw.split_ratio_R
        splits_in = "the column of splits"
        close_unit = _close_unit(raw, ratio_R)
    elif raw.adj_close_R is not None:
        ratio_R = splits_in_factor(raw.adj_close_R / raw.close_R, raw.close_R, raw.starts)
        splits_in = "adj_close / close"
    jump = volume_jump(raw.volume_R, ratio_R, raw.starts)
    unit, by = close_unit, "not told: taken as the close is"
    if setting != "auto":
        unit, by = _UNIT_OF_SETTING[setting], "data.volume_adjustment"
    elif raw.adj_volume_R is not None:
        unit, by = "day", "adj_volume beside it"
    elif jump.unit:
        unit, by = jump.unit, "its jumps at splits"
    splits = int(np.count_nonzero(ratio_R != 1))
    return _Found(ratio_R, splits, splits_in, close_unit, unit, by, jump)


def _close_unit(raw: RawPrices, ratio_R: Floats) -> Unit:
    """Whether the close moves with the splits of the table's own column, most of them."""
    row_C = np.flatnonzero(ratio_R != 1)
    row_C = row_C[~np.isin(row_C, raw.starts[:-1])]
    moves_C = -np.log(raw.close_R[row_C] / raw.close_R[row_C - 1]) / np.log(ratio_R[row_C])
    return "last" if len(moves_C) and float(np.median(moves_C)) < 0.5 else "day"


def _price_factor(raw: RawPrices, found: _Found, share_R: Floats | None) -> Floats | None:
    if raw.adj_close_R is not None:
        return raw.adj_close_R / raw.close_R
    return share_R if found.close_unit == "day" else None


def _volume(raw: RawPrices, found: _Found, share_R: Floats | None) -> Floats:
    """In shares of the stock's last row, as far as splits are known."""
    volume_R = raw.volume_R
    if share_R is not None and found.volume_unit == "day":
        volume_R = volume_R / share_R
    if raw.adj_volume_R is None:
        return volume_R
    return np.where(np.isfinite(raw.adj_volume_R), raw.adj_volume_R, volume_R)


def _traded_value(raw: RawPrices, found: _Found, share_R: Floats | None) -> Floats:
    """The table's own, else close × volume of the day, both raw: from either unit, by splits."""
    value_R = raw.close_R * raw.volume_R
    if share_R is not None and found.close_unit != found.volume_unit:
        value_R *= share_R if found.volume_unit == "last" else 1 / share_R
    if raw.traded_value_R is None:
        return value_R
    return np.where(np.isfinite(raw.traded_value_R), raw.traded_value_R, value_R)


def _report(raw: RawPrices, found: _Found) -> dict[str, Any]:
    jump = found.jump
    return {
        "splits": found.splits,
        "splits_in": found.splits_in,
        "adjusted_close": raw.adj_close_R is not None,
        "close": _UNIT_NAMES[found.close_unit] if found.splits else "as given",
        "volume": _UNIT_NAMES[found.volume_unit] if found.splits else "as given",
        "volume_known_by": found.volume_by,
        "volume_jump": round(jump.jump, 4) if jump.splits else None,
        "volume_jump_error": round(jump.error, 4) if jump.splits else None,
        "traded_value": "column" if raw.traded_value_R is not None else "close × volume",
    }


def _lines(raw: RawPrices, found: _Found) -> list[str]:
    if found.splits_in is None:
        money = "" if raw.traded_value_R is not None else ", close × volume as the day's money"
        return [
            "no adjusted close and no splits beside the close: prices and volume are taken as "
            f"adjusted already{money}"
        ]
    if not found.splits:
        return [f"no split in {found.splits_in}: volume is taken as it is"]
    close, volume = _UNIT_NAMES[found.close_unit], _UNIT_NAMES[found.volume_unit]
    jump = found.jump
    seen = f"; {jump.jump:.2f} ± {jump.error:.2f} of the ratio, 1 where raw" if jump.splits else ""
    unclear = found.volume_by.startswith("not told")
    advice = ": say which with data.volume_adjustment" if unclear else ""
    return [
        f"{found.splits:,} splits in {found.splits_in}: close is {close}, volume {volume} "
        f"({found.volume_by}{seen}){advice}"
    ]
