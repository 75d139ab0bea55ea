"""What an inspection found, as tables: one row per feature, lag, edge type, strength.

`docs/explain.md` says what each column means and how to read it. Shares are exact sums over the
live tokens of the days; nothing is smoothed or cut off.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from atft_hpo.config.model_schema import ModelConfig
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.atft import ATFT
from atft_hpo.model.inspection.watch_attention import AttentionSums
from atft_hpo.model.inspection.watch_graph import EDGE_TYPES, GraphSums
from atft_hpo.model.inspection.watch_model import SelectionSums
from atft_hpo.model.normalization import FAN_CHANNELS, SAN_CHANNELS
from atft_hpo.training.run.health import module_of

SOFTMAX, KERNEL = "softmax", "kernel"
"""The two paths of the attention."""


def selection_frame(sums: SelectionSums, model: ATFT, panel: Panel) -> pl.DataFrame:
    """One row per feature, the most looked at by variable selection first."""
    specs, columns = panel.manifest.features, set(panel.fan_columns)
    tokens = float(sums.tokens_S.sum())
    mean_F = sums.mean_weight
    variance_F = (sums.square_F / tokens - mean_F.square()).clamp(min=0)
    live_S = sums.tokens_S > 0
    daily_SF = sums.weight_SF[live_S] / sums.tokens_S[live_S].unsqueeze(1)
    frame = pl.DataFrame(
        {
            "feature": [spec.name for spec in specs],
            "family": [spec.family for spec in specs],
            "normalisation": [spec.normalisation for spec in specs],
            "decomposed": [place in columns for place in range(len(specs))],
            "weight": mean_F.numpy(),
            "relative": (mean_F * len(specs)).numpy(),
            "std": variance_F.sqrt().numpy(),
            "day_std": daily_SF.std(dim=0, correction=0).numpy(),
            "code": model.code_weights().double().cpu().numpy(),
            "trees": model.forest.opened().gain() if model.forest else np.zeros(len(specs)),
        }
    )
    share = (pl.col("weight") / pl.col("weight").sum().over("family")).alias("share_of_family")
    ordered = frame.with_columns(share).sort("weight", descending=True, maintain_order=True)
    return ordered.with_row_index("rank", offset=1)


def month_frame(sums: SelectionSums, panel: Panel, days: range) -> pl.DataFrame:
    """Mean weight per calendar month and feature."""
    month_S = panel.dates[days.start : days.stop].astype("datetime64[M]").astype(str)
    rows = []
    for month in np.unique(month_S):
        inside = np.flatnonzero(month_S == month)
        rows.append((str(month), sums.tokens_S[inside].sum(), sums.weight_SF[inside].sum(dim=0)))
    return _groups("month", rows, panel)


def sector_frame(sums: SelectionSums, panel: Panel) -> pl.DataFrame:
    """Mean weight per sector and feature; sectors without a live token are left out."""
    names = panel.manifest.sectors
    rows = list(zip(names, sums.tokens_J, sums.weight_JF, strict=True))
    return _groups("sector", [row for row in rows if row[1] > 0], panel)


def attention_frame(sums: AttentionSums | None) -> pl.DataFrame:
    """One row per path, lag, and head or channel; see `docs/explain.md` for rows without them.

    `size` is what the attention's output changes by without the path, relative to the output.
    Empty for a model without attention.
    """
    schema = {
        "path": pl.String, "head": pl.Int64, "channel": pl.Int64, "lag": pl.Int64,
        "weight": pl.Float64, "strongest": pl.Int64, "strongest_weight": pl.Float64,
        "size": pl.Float64,
    }  # fmt: skip
    parts = [_path_sizes(sums), _softmax_rows(sums), _kernel_rows(sums)] if sums else []
    return pl.concat([pl.DataFrame(schema=schema), *parts], how="diagonal_relaxed")


def graph_frame(sums: GraphSums | None) -> pl.DataFrame:
    """One row per layer, head and edge type; empty when the graph is off.

    `relative` is `attention / uniform`, null for a type without edges.
    """
    schema = {
        "layer": pl.Int64, "head": pl.Int64, "dimension": pl.String, "edge_type": pl.String,
        "edges": pl.Int64, "attention": pl.Float64, "uniform": pl.Float64,
    }  # fmt: skip
    rows = list(_graph_rows(sums)) if sums and sums.nodes else []
    ratio = pl.when(pl.col("edges") > 0).then(pl.col("attention") / pl.col("uniform"))
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(ratio.alias("relative"))


def strength_frame(model: ATFT, panel: Panel) -> pl.DataFrame:
    """One row per element of every learned strength: zero-start ones, and the trees'."""
    wanted = {id(parameter) for parameter in model.parameter_groups()["strengths"]}
    rows, channels = [], channel_names(model.config)
    for name, parameter in model.named_parameters():
        if id(parameter) in wanted:
            module = module_of(name) or name.split(".")[0]
            value = parameter.detach().double().cpu().numpy()
            for place in np.ndindex(value.shape):
                element = _element(name, place, channels, panel)
                on = module in {*model.active, "trees"}
                rows.append((module, on, name, *element, value[place]))
    schema = {
        "module": pl.String, "on": pl.Boolean, "parameter": pl.String, "element": pl.String,
        "channel": pl.String, "value": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def strength_summary(strengths: pl.DataFrame) -> pl.DataFrame:
    """Root mean square and largest size of each parameter's elements."""
    return strengths.group_by("module", "on", "parameter", maintain_order=True).agg(
        pl.len().alias("elements"),
        pl.col("value").pow(2).mean().sqrt().alias("rms"),
        pl.col("value").abs().max().alias("max"),
    )


def _path_sizes(sums: AttentionSums) -> pl.DataFrame:
    squares = (sums.softmax_square, sums.kernel_square)
    sizes = [(square / sums.output_square) ** 0.5 for square in squares]
    return pl.DataFrame({"path": [SOFTMAX, KERNEL], "size": sizes})


def _softmax_rows(sums: AttentionSums) -> pl.DataFrame:
    """The mean of the heads, then each head."""
    share_AL = (sums.weight_AL / sums.tokens).numpy()
    table = _by_lag(SOFTMAX, "head", share_AL)
    mean = table.group_by("path", "lag", maintain_order=True).agg(pl.col("weight").mean())
    return pl.concat([mean, table], how="diagonal")


def _kernel_rows(sums: AttentionSums) -> pl.DataFrame:
    """Root mean square over channels and the strongest channel, then each channel."""
    kernel_HL = sums.kernel_HL.numpy()
    strongest_L = np.abs(kernel_HL).argmax(axis=0)
    lags = np.arange(kernel_HL.shape[1])
    channels = pl.DataFrame(
        {
            "path": [KERNEL] * len(lags),
            "lag": lags,
            "weight": np.sqrt(np.square(kernel_HL).mean(axis=0)),
            "strongest": strongest_L,
            "strongest_weight": kernel_HL[strongest_L, lags],
        }
    )
    return pl.concat([channels, _by_lag(KERNEL, "channel", kernel_HL)], how="diagonal")


def _by_lag(path: str, name: str, weight_CL: NDArray[np.float64]) -> pl.DataFrame:
    """One row per row and column of `weight_CL`."""
    place_C, lag_L = (np.arange(count) for count in weight_CL.shape)
    return pl.DataFrame(
        {
            "path": [path] * weight_CL.size,
            name: np.repeat(place_C, len(lag_L)),
            "lag": np.tile(lag_L, len(place_C)),
            "weight": weight_CL.ravel(),
        }
    )


def _groups(name: str, rows: list[tuple[str, Tensor, Tensor]], panel: Panel) -> pl.DataFrame:
    features = list(panel.feature_names)
    parts = [
        pl.DataFrame({"feature": features, "weight": (weight_F / tokens).numpy()}).select(
            pl.lit(label).alias(name), pl.lit(int(tokens)).alias("tokens"), "feature", "weight"
        )
        for label, tokens, weight_F in rows
        if tokens > 0
    ]
    return pl.concat(parts)


def _graph_rows(sums: GraphSums) -> Iterator[tuple[int, int, str, str, int, float, float]]:
    for layer, attention_AG in enumerate(sums.attention_WAG):
        for head, g in product(range(len(attention_AG)), range(len(EDGE_TYPES))):
            attention = float(attention_AG[head, g]) / sums.nodes
            uniform = float(sums.uniform_G[g]) / sums.nodes
            yield layer, head, *EDGE_TYPES[g], int(sums.edges_G[g]), attention, uniform


def _element(
    name: str, place: tuple[int, ...], channels: dict[str, list[str]], panel: Panel
) -> tuple[str, str | None]:
    """What an element stands for, and its channel: a feature's, a horizon, else its number."""
    module = module_of(name)
    if name.startswith("selection.added.") and module in channels and len(place) == 2:
        feature = panel.feature_names[panel.fan_columns[place[0]]]
        return feature, channels[module][place[1]]
    if name.startswith("main_forecast.") and len(place) == 1:
        return f"{panel.manifest.horizons_days[place[0]]} d", None
    if name.startswith("correction.") and len(place) == 2:
        to, of = (panel.manifest.horizons_days[q] for q in place)
        return f"{to} d from the trees' {of} d", None
    return "unit " + ", ".join(map(str, place)), None


def channel_names(config: ModelConfig) -> dict[str, list[str]]:
    """The added channels of FAN and SAN in their order; SAN's carry the days they look at."""
    windows, san = config.san_windows_days, list[str]()
    for place, days in enumerate(windows):
        earlier = windows[:place].count(days)  # long spans are cut to the same lookback
        again = f" #{earlier + 1}" if earlier else ""
        san += [f"{name} {days}d{again}" for name in SAN_CHANNELS]
    return {"fan": list(FAN_CHANNELS), "san": san}
