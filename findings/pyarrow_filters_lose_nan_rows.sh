#!/bin/sh
# The same filter keeps rows of NaN in memory and loses them while reading a Parquet file.
#
# pyarrow 26.0.1 (since 14.0.2 or before). `pq.read_table(filters=…)`, a dataset's scanner and pandas' `read_parquet(filters=…)` skip row
# groups by their statistics, which leave NaN out (parquet-format, "Statistics": ignore min and max when looking for NaN). Under
# `!=` and under a negated comparison a NaN satisfies the filter in memory, but a row group is skipped in which all other values
# do not; one whose other values are all alike is skipped even under `is_nan`. In a table of daily returns sorted by stock, the
# days without a return vanish of a stock that did not move, and only of such. A relative: apache/arrow#34162; other engines have
# mended the same. Instead: filter while reading on keys (date, code) only, or write columns of numbers without statistics.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install pyarrow==26.0.1 pandas==2.3.3 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

print("pyarrow", pa.__version__, "pandas", pd.__version__)
# Two stocks, a row group each: one moves, one is halted; either has a day without a return.
moving, halted = [0.0, 0.01, np.nan, -0.02], [0.0, 0.0, np.nan, 0.0]
table = pa.table({"code": ["A"] * 4 + ["B"] * 4, "ret": moving + halted})
pq.write_table(table, "returns.parquet", row_group_size=4)
pq.write_table(table, "plain.parquet", row_group_size=4, write_statistics=["code"])

ret = pc.field("ret")
differ = {}
for name, asked in {
    "ret != 0": ret != 0.0,
    "~(ret == 0)": ~(ret == 0.0),
    "~(abs small)": ~((ret <= 0.005) & (ret >= -0.005)),
    "is_nan(ret)": pc.is_nan(ret),
}.items():
    in_memory = table.filter(asked)["code"].to_pylist()
    from_file = pq.read_table("returns.parquet", filters=asked)["code"].to_pylist()
    without = pq.read_table("plain.parquet", filters=asked)["code"].to_pylist()
    assert without == in_memory, (name, without)
    differ[name] = in_memory != from_file
    print(f"{name:26s} in memory {in_memory}  from the file {from_file}  without statistics {without}")
frame = pd.read_parquet("returns.parquet", filters=[("ret", "!=", 0.0)])
print(f"{'pandas, the first':26s} from the file {frame['code'].tolist()}")

assert all(differ.values()), differ
assert frame["code"].tolist() == ["A", "A", "A"], "the NaN of A is kept, that of B is lost"
PYTHON
