"""A tidy Parquet table of any size with random features, written in pieces: what packing reads.

    files = write_table(folder, rows=4_643_854, features=395)

Each file holds some stocks with all their days, as a table built from prices does; packing has to
bring whole days together. Values are normal, one in a hundred is null.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

SEED_ROWS, SEED_FEATURES, SEED_DAYS = 4_643_854, 395, 2370
ROWS_PER_FILE = 100_000
NULL_SHARE = 0.01
FAMILIES = ("returns", "ranks", "volatility", "volume", "shape")


def write_table(folder: Path, rows: int, features: int, days: int = SEED_DAYS) -> list[Path]:
    """Files of about ROWS_PER_FILE rows; those that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{FAMILIES[i % len(FAMILIES)]}__f{i:03d}" for i in range(features)]
    dates = np.arange("2015-01-01", days, dtype="datetime64[D]")
    stocks_per_file = max(1, ROWS_PER_FILE // days)
    files = []
    for first in range(0, -(-rows // days), stocks_per_file):
        count = min(stocks_per_file * days, rows - first * days)
        path = folder / f"part-{first:05d}.parquet"
        if not path.exists():
            _write(path, first, count, names, dates)
        files.append(path)
    return files


def _write(
    path: Path, first: int, count: int, names: list[str], dates: NDArray[np.datetime64]
) -> None:
    rng = np.random.default_rng(first)
    stock_R, day_R = np.divmod(np.arange(count), len(dates))
    codes = [f"{first + i:05d}" for i in range(int(stock_R.max()) + 1)]
    close_R = np.exp(np.cumsum(rng.normal(0, 0.01, count)) * 0.1) * 100
    code = pa.DictionaryArray.from_arrays(stock_R.astype(np.int32), codes).cast(pa.string())
    columns = {"date": pa.array(dates[day_R]), "code": code, "close": pa.array(close_R)}
    null_R = rng.random(count) < NULL_SHARE
    for name in names:
        values = rng.standard_normal(count, dtype=np.float32)
        columns[name] = pa.array(values, mask=np.roll(null_R, len(columns)))
    temporary = path.with_suffix(".tmp")
    pq.write_table(
        pa.table(columns), temporary, compression="lz4", use_dictionary=["code"],
        write_statistics=False,
    )  # fmt: skip
    temporary.rename(path)
