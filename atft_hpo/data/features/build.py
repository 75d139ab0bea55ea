"""A wide table of features from daily prices: OHLCV in, tidy Arrow files out.

    build_features(Path("daily.parquet"), Path("features"), config.data, print)
    for doc in catalogue(config.data.features): print(doc.name, doc.formula)

`prices.py` says what the input must be. Output: a directory of part-*.arrow with columns date,
code, sector (if any), alive, tradable, suspicious (the return since the row before is not to be
trusted), close (adjusted), traded_value (for style exposures, not a feature) and float32 features
`<family>__<name>`, sorted by (code, date); what looks wrong in the prices stands in the metadata
of the first file. Every feature at day t reads days ≤ t only; windows run over a stock's own rows
and give null until they are full; no value is infinite. Nothing is normalised: the panel store
does.

Work goes by pieces of whole stocks, so memory does not grow with features times rows; quantities
that are ranked across the market are computed ahead and kept, one float32 a row.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.features.benchmarks import Benchmarks, benchmarks
from atft_hpo.data.features.catalogue import FeatureDoc, catalogue
from atft_hpo.data.features.cross_section import CrossSection
from atft_hpo.data.features.families import features_of
from atft_hpo.data.features.families.kind import Feature
from atft_hpo.data.features.pieces import history_of, pieces, rows_of
from atft_hpo.data.features.withheld_factors import WithheldFactors, withhold_latest
from atft_hpo.data.ingest.prices import Prices, read_prices
from atft_hpo.data.ingest.table import REPORT_KEY
from atft_hpo.data.suspicious.table_findings import REPORTED_AS, found_in_prices
from atft_hpo.errors import DataError, VolumeError
from atft_hpo.progress import Progress, silent

__all__ = ["FeatureDoc", "build_features", "catalogue"]

_PIECE_CELLS = 100_000
"""(stock, row) cells per piece: some 250 MB of working memory and 140 MB of output."""
_Floats = NDArray[np.float32]


def build_features(
    source: Path,
    out: Path,
    config: DataConfig,
    progress: Progress = silent,
    threads: int | None = None,
) -> Path:
    """Features of the prices in `source`, as a directory `out` of Arrow files; returns `out`.

    Args:
        progress: told in words how far the work is, and what was mended in the input.
        threads: pieces worked on at once; one per core, at most 8, when absent.

    Raises:
        ConfigError: an unknown family, or no feature is left.
        DataError: the input cannot be used (see `read_prices`), or `out` exists.
        VolumeError: `out` cannot be written.
    """
    features_of(config.features)
    if out.exists():
        raise DataError(f"{out}: exists already; remove it or give another place")
    prices = read_prices(source, config, progress)
    found, suspicious_R = found_in_prices(prices, progress)
    features = features_of(config.features, bool(prices.sector_names))
    if not prices.sector_names:
        progress("no sector column: features relative to the sector are left out")
    builder = _Builder(prices, features, suspicious_R)
    with _staged(out) as stage, ThreadPoolExecutor(threads or min(os.cpu_count() or 1, 8)) as pool:
        withheld = pool.submit(withhold_latest, prices, features)
        builder.rank(pool)
        report = prices.report | {
            "withheld_factors": _told(withheld.result(), features, progress),
            REPORTED_AS: found.model_dump(mode="json"),
        }
        write = partial(builder.write, {REPORT_KEY: json.dumps(report)})
        paths = [stage / f"part-{number:05d}.arrow" for number in range(len(builder.pieces))]
        for done, _ in enumerate(pool.map(write, builder.pieces, paths), start=1):
            progress(f"features: piece {done} of {len(paths)}")
    return out


def _told(
    found: WithheldFactors | None, features: Sequence[Feature], progress: Progress
) -> dict[str, Any] | None:
    """For the report: which features' rankings the latest splits and dividends change."""
    if found is None:
        return None
    changed = f"{len(found.shifts)} of {len(features)}" if found.shifts else "no"
    progress(
        f"splits and dividends since {found.since} withheld, which rescale {found.stocks:,} "
        f"stocks: {changed} features rank stocks differently before"
    )
    return asdict(found)


class _Builder:
    """Computes features of pieces: ranges of stocks."""

    def __init__(
        self, prices: Prices, features: Sequence[Feature], suspicious_R: NDArray[np.bool_]
    ) -> None:
        self.pieces = list(pieces(np.diff(prices.starts), _PIECE_CELLS))
        self._prices = prices
        self._features = features
        self._suspicious_R = suspicious_R
        self._benchmarks: Benchmarks = benchmarks(prices)
        self._ranks: dict[str, _Floats] = {}

    def rank(self, pool: ThreadPoolExecutor) -> None:
        """Percentiles of the ranked features, kept as one float32 a row."""
        ranked = [f for f in self._features if f.kind.ranked]
        self._ranks = {f.name: np.empty(len(self._prices.day_R), np.float32) for f in ranked}

        def quantities(piece: range) -> None:
            history = history_of(self._prices, self._benchmarks, piece)
            for feature in ranked:
                rows = slice(self._prices.starts[piece.start], self._prices.starts[piece.stop])
                values = rows_of(self._prices, piece, feature.compute(history))
                self._ranks[feature.name][rows] = values

        list(pool.map(quantities, self.pieces))
        universe = CrossSection(self._prices)
        list(pool.map(universe.rank, self._ranks.values()))

    def write(self, metadata: dict[bytes, str], piece: range, path: Path) -> None:
        """Write the table of a piece of stocks."""
        prices = self._prices
        history = history_of(prices, self._benchmarks, piece)
        rows = slice(prices.starts[piece.start], prices.starts[piece.stop])
        columns = _key_columns(prices, self._suspicious_R, piece, rows)
        for feature in self._features:
            if feature.kind.ranked:
                values = self._ranks[feature.name][rows]
            else:
                values = rows_of(prices, piece, feature.compute(history))
            columns[feature.name] = _finite(values)
        table = pa.table(columns).replace_schema_metadata(metadata)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)


def _key_columns(
    prices: Prices, suspicious_R: NDArray[np.bool_], piece: range, rows: slice
) -> dict[str, pa.Array]:
    lengths = np.diff(prices.starts[piece.start : piece.stop + 1])
    stock = np.repeat(np.arange(len(piece), dtype=np.int32), lengths)
    columns = {
        "date": pa.array(prices.dates[prices.day_R[rows]]),
        "code": _texts(stock, prices.codes[piece.start : piece.stop]),
    }
    if prices.sector_names:
        columns["sector"] = _texts(prices.sector_R[rows], prices.sector_names)
    columns["alive"] = pa.array(prices.alive_R[rows])
    columns["tradable"] = pa.array(prices.tradable_R[rows])
    columns["suspicious"] = pa.array(suspicious_R[rows])
    columns["close"] = pa.array(prices.close_R[rows])
    value_R = prices.traded_value_R[rows]
    columns["traded_value"] = pa.array(value_R, mask=~np.isfinite(value_R))
    return columns


def _finite(value_R: _Floats) -> pa.Array:
    """The values without a copy, null where they are not finite."""
    finite_R = np.isfinite(value_R)
    nulls = len(value_R) - int(np.count_nonzero(finite_R))
    valid = pa.py_buffer(np.packbits(finite_R, bitorder="little")) if nulls else None
    content = [valid, pa.py_buffer(value_R)]
    return pa.Array.from_buffers(pa.float32(), len(value_R), content, nulls)


def _texts(numbers: NDArray[np.int32], names: tuple[str, ...]) -> pa.Array:
    indices = pa.array(numbers, mask=numbers < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())).cast(pa.string())


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A directory beside `out` that takes its name when the block ends well, and vanishes else."""
    stage = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        stage.mkdir(parents=True)
        yield stage
        stage.rename(out)
    except OSError as error:
        raise VolumeError(
            f"{out}: cannot be written ({error.strerror or error}); "
            "free space or give another place"
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
