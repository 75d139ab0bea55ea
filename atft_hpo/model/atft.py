"""ATFT-GAT-FAN: a temporal fusion transformer over features, time and neighbours.

    inputs = ModelInputs(features=395, fan_columns=(0, 1), sectors=34, horizons=4)
    model = ATFT(config.model, inputs)
    model.enable({"fan", "san"})
    forecast = model(batch)                  # point [S, N, Q], quantiles [S, N, Q, P]

One pass forecasts every day of a slice: each module is causal in time, and all but the graph treat
each stock alone. The optional modules (FAN, SAN, graph) enter through strengths that start at
zero: switched on, they leave the function as it was and learn from the first step; switched off,
they are not computed. It knows nothing of losses, phases or where a batch comes from.

Memory is bounded: `chunk_tokens` stock-days are computed at a time, and beyond the first
`kept_chunks` computed again in the backward pass (see `chunks`). From there on it grows with the
slice by what a stock-day has: inputs, two states with their gradients, forecasts. `fill` makes
chunks as large as a card's memory allows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from atft_hpo.config.model_schema import ModelConfig
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.errors import ConfigError
from atft_hpo.model.forest import Forest
from atft_hpo.model.graph import GraphAttention
from atft_hpo.model.heads import (
    START_SPREAD,
    START_SPREAD_ON_BASE,
    Correction,
    Forecast,
    ForecastHeads,
    MainForecast,
)
from atft_hpo.model.kernels.chunks import in_chunks
from atft_hpo.model.normalization import (
    FAN_CHANNELS,
    SAN_CHANNELS,
    dft_parts,
    fan_channels,
    san_channels,
)
from atft_hpo.model.selection import VariableSelection
from atft_hpo.model.temporal import BandAttention, FeedForward, Recurrence, StaticEnrichment

MODULES = ("fan", "san", "graph")
CHUNK_TOKENS = 8192
"""Stock-days of a chunk: what a CPU's cache likes."""
KEPT_CHUNKS = 8
"""Chunks of a slice whose intermediates are kept for the gradient: 2 GiB of them at H = 64, 395
features and 8,192 tokens each."""
KEPT_CHUNKS_ON_DEVICE = 2
"""The same on a GPU, whose kernels want few large chunks: the LSTM takes as long for one stock as
for a thousand."""
KEPT_SHARE = 0.25
"""Of a GPU's memory, for intermediates that are kept."""
SECTOR_WEIGHTS = ("enrichment.embedding.weight", "enrichment.meaning.weight")
"""Parameters with a row for each sector, in the order of the panel's; absent without sectors."""
_MAIN = FAN_CHANNELS.index("main")
_SUMS = ("selected", "heard")
"""Variable selection's results: a third of a forward pass, in 512 bytes a token at H = 64."""


@dataclass(frozen=True)
class ModelInputs:
    """What the panel says about the model's inputs and outputs."""

    features: int
    """F."""
    fan_columns: tuple[int, ...]
    """Features that FAN and SAN decompose; without any, both contribute nothing."""
    sectors: int
    """Sectors, "unknown" (0) included."""
    horizons: int
    """Q."""
    edge_attributes: int = 2
    """E."""


class ATFT(nn.Module):
    """The model; see the module's docstring. Initialisation follows the global torch seed."""

    plain: Tensor

    def __init__(
        self, config: ModelConfig, inputs: ModelInputs, chunk_tokens: int = CHUNK_TOKENS
    ) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.chunk_tokens, self.kept_chunks = chunk_tokens, KEPT_CHUNKS
        self.enabled: frozenset[str] = frozenset()
        hidden, dropout, columns = config.hidden, config.dropout, inputs.fan_columns
        san_size = len(config.san_windows_days) * len(SAN_CHANNELS)
        added = {"fan": len(FAN_CHANNELS), "san": san_size}
        self.dft = dft_parts
        """What FAN computes of its windows; may be put in compiled form."""
        self.selection = VariableSelection(inputs.features, columns, hidden, dropout, added)
        keep = {"lstm", "attention", "static"} - set(config.without)
        self.recurrence = (
            Recurrence(hidden, config.lstm_layers, dropout) if "lstm" in keep else None
        )
        self.code = nn.Linear(inputs.features, hidden)
        # What FAN and SAN decompose is left out: its course in time is theirs to tell, and its
        # cycles, many times as large as what they cover, would be noise of the code.
        plain_F = torch.ones(inputs.features)
        plain_F[list(columns)] = 0.0
        self.register_buffer("plain", plain_F, persistent=False)
        self.enrichment = StaticEnrichment(hidden, inputs.sectors, dropout, "static" in keep)
        self.attention = (
            BandAttention(hidden, config.attention_heads, config.lookback_days, dropout)
            if "attention" in keep
            else None
        )
        self.feed_forward = FeedForward(hidden, dropout)
        self.graph = GraphAttention(
            inputs.features, hidden, config.gat.heads, inputs.edge_attributes, dropout
        )
        trees = config.trees
        spread = START_SPREAD_ON_BASE if trees.rounds else START_SPREAD
        self.heads = ForecastHeads(hidden, inputs.horizons, config.quantiles, spread)
        self.main_forecast = (
            MainForecast(len(columns), hidden, inputs.horizons) if columns else None
        )
        self.correction = Correction(inputs.horizons, trees.smoothing) if trees.rounds else None
        self.forest: Forest | None = None
        """The trees whose forecasts batches bring along (`Batch.base_NSQ`)."""

    def forward(self, batch: Batch) -> Forecast:
        """Forecasts for the S slice days of `batch`, float32; see `Forecast`."""
        by_stock = self._by_stock(batch)
        given = {name: found.transpose(0, 1) for name, found in by_stock.items()}
        if "graph" in self.active:
            given["alive"] = batch.alive_NS.T
            given["edge"] = batch.edge_SNKE
        if self.correction is not None and batch.base_NSQ is not None:
            given["base"] = batch.base_NSQ.transpose(0, 1)
        if not given.keys().isdisjoint({"edge", "base"}):
            given["neighbours"] = batch.neighbours_SNK

        def of_days(*tensors: Tensor) -> dict[str, Tensor]:
            return self._forecast(dict(zip(given, tensors, strict=True)))._asdict()

        days = max(1, self.chunk_tokens // max(1, given["state"].shape[1]))
        # Of later days nothing is kept: the graph's intermediates are K-fold.
        found = in_chunks(of_days, (*given.values(),), (), self.parameters(), days, keep=1)
        return Forecast(**found)

    def _by_stock(self, batch: Batch) -> dict[str, Tensor]:
        """What each stock says by itself, `_trunk` of some stocks at a time: [N, S, …] by name."""
        names = tuple(batch.channels or {})

        def of_stocks(
            x_NTF: Tensor, present_NT: Tensor, sector_NT: Tensor, *others: Tensor, **sums: Tensor
        ) -> dict[str, Tensor]:
            *given, table_FMH = others
            channels = dict(zip(names, given, strict=True)) if batch.channels is not None else None
            return self._trunk(
                x_NTF, present_NT, sector_NT, batch.context, channels, table_FMH, sums
            )

        rows = (batch.x_NTF, batch.present_NT, batch.sector_NT, *(batch.channels or {}).values())
        stocks = max(1, self.chunk_tokens // batch.x_NTF.shape[1])
        table = (self.selection.table(),)
        keep = self.kept_chunks
        return in_chunks(of_stocks, rows, table, self.parameters(), stocks, keep, _SUMS)

    def _trunk(
        self, x_NTF: Tensor, present_NT: Tensor, sector_NT: Tensor, context: int,
        channels: dict[str, Tensor] | None, table_FMH: Tensor, sums: dict[str, Tensor],
    ) -> dict[str, Tensor]:  # fmt: skip
        """ "state" [N, S, H], what the graph reads of the features "code", "shift" [N, S, Q].

        And variable selection's results, unless `sums` brings them from an earlier pass.
        """
        x_NTF, today = x_NTF.float(), slice(context, None)
        channels = self._channels(x_NTF) if channels is None else channels
        known = (sums["selected"], sums["heard"]) if sums else None
        selected_NTH, heard_NTH = self.selection(x_NTF, present_NT, channels, table_FMH, known)
        lstm_NTH = self.recurrence(selected_NTH, heard_NTH) if self.recurrence else selected_NTH
        code_NTH = F.linear(x_NTF, self.code.weight * self.plain, self.code.bias).float()
        enriched_NTH = self.enrichment(lstm_NTH, code_NTH, sector_NT)
        attended_NSH = (
            self.attention(enriched_NTH, code_NTH, present_NT, context)
            if self.attention
            else enriched_NTH[:, today]
        )
        found = {"selected": selected_NTH, "heard": heard_NTH}
        found["state"] = self.feed_forward(attended_NSH, lstm_NTH[:, today])
        if "graph" in self.active:
            found["code"] = self.graph.encoder(x_NTF, context)
        if self.main_forecast is not None and "fan" in self.active:
            main_NSf = channels["fan"][:, today, :, _MAIN]
            found["shift"] = self.main_forecast(main_NSf, x_NTF[:, today, self.selection.columns])
        return found

    def _forecast(self, given: dict[str, Tensor]) -> Forecast:
        """What is said of some days [S, N, …]: neighbours heard, heads, FAN's shift, the trees."""
        state_SNH = given["state"]
        if "graph" in self.active:
            around = (given["neighbours"], given["edge"])
            state_SNH = state_SNH + self.graph(given["code"], state_SNH, given["alive"], *around)
        forecast: Forecast = self.heads(state_SNH)
        if "shift" in given:
            forecast = forecast.shifted(given["shift"])
        if self.correction is not None and "base" in given:
            forecast = self.correction(forecast, given["base"], given["neighbours"])
        return forecast

    def fill(self, memory_bytes: int, neighbours: int) -> None:
        """Make chunks so large that what is kept of them takes `KEPT_SHARE` of a card's memory.

        Counted in float32: a stock-day keeps 44 bytes a feature and 220 a hidden unit (16.8 + 12.0
        KB at 395 and 64, and what cuDNN's LSTM reserves), in the graph 32 a neighbour and unit.
        """
        hidden = self.config.hidden
        of_stock, of_day = 44 * self.inputs.features + 220 * hidden, 32 * neighbours * hidden
        tokens = KEPT_SHARE * memory_bytes / (KEPT_CHUNKS_ON_DEVICE * of_stock + of_day)
        self.chunk_tokens, self.kept_chunks = max(1, int(tokens)), KEPT_CHUNKS_ON_DEVICE

    def enable(self, modules: Iterable[str]) -> None:
        """Switch on exactly these of "fan", "san", "graph"; the others are not computed.

        Raises:
            ConfigError: a name is none of the three.
        """
        wanted = frozenset(modules)
        if unknown := sorted(wanted - set(MODULES)):
            raise ConfigError(
                f"modules {unknown} are unknown; expected a subset of {list(MODULES)}"
            )
        self.enabled = wanted

    @property
    def active(self) -> frozenset[str]:
        """Modules that compute something: FAN and SAN need columns."""
        return self.enabled if self.inputs.fan_columns else self.enabled & {"graph"}

    def freeze(self, level: Literal["none", "selection", "encoder"]) -> None:
        """Freeze variable selection; "encoder": that and the LSTM; "none": nothing."""
        self.requires_grad_(True)
        self.selection.requires_grad_(level == "none")
        if self.recurrence:
            self.recurrence.requires_grad_(level != "encoder")

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters by "weights", "graph", "no_decay" (biases, norms), "strengths", "kernels".

        "graph" holds the weights of the graph network.
        """
        groups: dict[str, list[nn.Parameter]] = {
            "weights": [], "graph": [], "no_decay": [], "strengths": [], "kernels": []
        }  # fmt: skip
        for name, parameter in self.named_parameters():
            groups[_group(name)].append(parameter)
        return groups

    def channels(self, batch: Batch) -> dict[str, Tensor]:
        """Added channels [N, T, F_fan, c] of the active modules, by module name."""
        return self._channels(batch.x_NTF)

    def _channels(self, x_NTF: Tensor) -> dict[str, Tensor]:
        channels = dict[str, Tensor]()
        columns_NTF = x_NTF[..., self.selection.columns].float()
        if "fan" in self.active:
            fan = self.config.fan
            given = (self.config.lookback_days, fan.k, fan.kind)
            channels["fan"] = fan_channels(columns_NTF, *given, self.dft)
        if "san" in self.active:
            channels["san"] = san_channels(columns_NTF, self.config.san_windows_days)
        return channels

    @torch.no_grad()
    def selection_weights(self, batch: Batch) -> Tensor:
        """Mean selection weight per feature over the live cells of the slice days: float32 [F]."""
        live_NS = batch.alive_NS
        weight_BF = self.selection.weights(batch.x_NTF[:, batch.context :][live_NS].float())
        return weight_BF.mean(dim=0)

    @torch.no_grad()
    def code_weights(self) -> Tensor:
        """How strongly the code takes each feature in, float32 [F]: column norms, which sum to 1.

        The code is the features' other way in, beside variable selection: what matters by its
        course in time or by its sector, and says nothing by itself today, comes through it.
        """
        norm_F = (self.code.weight.float() * self.plain).norm(dim=0)
        total = norm_F.sum().clamp(min=torch.finfo(norm_F.dtype).tiny)
        return torch.div(norm_F, total)


def _group(name: str) -> str:
    *_, owner, last = ["", *name.split(".")]
    if last == "strength":
        return "strengths"
    if last.endswith("kernel"):
        return "kernels"
    undecayed = "bias" in last or owner == "norm" or last.startswith("norm")
    if undecayed or last in ("edge_prior", "log_doubt", "neighbours_part"):
        return "no_decay"
    return "graph" if name.startswith("graph.") else "weights"
