"""From a panel to forecasts: the one path of validation, prediction and backtest.

table = forecast_panel(model, source, source.split.validation, config)
evaluation = evaluate_panel(model, source, panel, source.split.validation, config)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atft_hpo.config.schema import Config
from atft_hpo.data.array_statistics.rolling import trailing_volatility
from atft_hpo.data.sampling.edges import EDGE_ATTRIBUTES
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.evaluation.metrics import Evaluation, evaluate_forecast
from atft_hpo.evaluation.portfolio import VOLATILITY_DAYS
from atft_hpo.evaluation.yardsticks import Yardsticks
from atft_hpo.model.atft import ATFT, CHUNK_TOKENS, ModelInputs
from atft_hpo.model.compiled import compile_parts
from atft_hpo.model.kernels import decomposed, interpolation
from atft_hpo.training.forecasting.fan_cache import KeptDecompositions
from atft_hpo.training.forecasting.native_bf16 import slower_in_bf16


@dataclass(frozen=True)
class ForecastTable:
    """Forecasts of a range of days, in units of the ranked label; NaN where a stock is dead."""

    score_DNQ: NDArray[np.float32]
    """Point forecast: the score that portfolios rank."""
    quantiles_DNQP: NDArray[np.float32]
    """Ascending along P."""

    @property
    def width(self) -> NDArray[np.float32]:
        """[D, N, Q] distance of the outermost quantiles: the forecast's own uncertainty."""
        return np.asarray(self.quantiles_DNQP[..., -1] - self.quantiles_DNQP[..., 0])


def forecast_panel(
    model: ATFT,
    source: SliceSource,
    days: range,
    config: Config,
    kept: KeptDecompositions | None = None,
) -> ForecastTable:
    """Forecasts for every live stock of `days`, with the model in `eval()` mode meanwhile.

    With `kept`, the same days are forecast faster the next time. Waits for the device once.
    """
    score_DNQ, quantiles_DNQP = forecast_on_device(model, source, days, config, kept)
    return ForecastTable(score_DNQ.cpu().numpy(), quantiles_DNQP.cpu().numpy())


def forecast_on_device(
    model: ATFT,
    source: SliceSource,
    days: range,
    config: Config,
    kept: KeptDecompositions | None = None,
) -> tuple[Tensor, Tensor]:
    """The two parts of a `ForecastTable` where the model is; waits for nothing.

    So the device need not stand still between slices. All of the seed's validation range takes
    84 MB there.
    """
    kept = kept or KeptDecompositions(most_bytes=0)
    shape = (len(days), source.stock_count, len(config.data.horizons_days))
    score_DNQ = torch.full(shape, torch.nan, device=source.device)
    quantiles_DNQP = torch.full(
        (*shape, len(config.model.quantiles)), torch.nan, device=source.device
    )
    if model.forest is not None and not source.has_base(days):
        source.set_base(days, model.forest.forecast(source.panel, days))
    with evaluating(model), torch.no_grad(), precision(config, source.device):
        for index in source.evaluation_plan(days):
            batch = kept.added_to(source.batch(index), model)
            found = model(batch)
            dead_SN1 = ~batch.alive_NS.T[..., None]
            first = batch.first_day - days.start
            part = slice(first, first + len(dead_SN1))
            point_SNQ = found.point_SNQ.masked_fill(dead_SN1, torch.nan)
            quantiles_SNQP = found.quantiles_SNQP.masked_fill(dead_SN1[..., None], torch.nan)
            score_DNQ[part].index_copy_(1, batch.stocks, point_SNQ)
            quantiles_DNQP[part].index_copy_(1, batch.stocks, quantiles_SNQP)
    return score_DNQ, quantiles_DNQP


def evaluate_panel(
    model: ATFT,
    source: SliceSource,
    panel: Panel,
    days: range,
    config: Config,
    kept: KeptDecompositions | None = None,
    yardsticks: Yardsticks | None = None,
) -> Evaluation:
    """Metrics of the model's forecasts on all of `days`.

    `kept` as in `forecast_panel`, `yardsticks` as in `evaluate_table`.
    """
    table = forecast_panel(model, source, days, config, kept)
    return evaluate_table(table, panel, days, config, yardsticks)


def evaluate_table(
    table: ForecastTable,
    panel: Panel,
    days: range,
    config: Config,
    yardsticks: Yardsticks | None = None,
) -> Evaluation:
    """Metrics of `table`, the forecasts for `days` of `panel`.

    With `yardsticks`, those of `days`, the second forecast is evaluated faster than the first.
    """
    volatility_DN = None
    if config.portfolio.sizing == "inverse_volatility":
        past = slice(max(0, days.start - VOLATILITY_DAYS), days.stop)
        volatility_DN = trailing_volatility(panel.returns[past], VOLATILITY_DAYS)[-len(days) :]
    return evaluate_forecast(
        table.score_DNQ,
        yardsticks or Yardsticks.of(panel, days, config.portfolio),
        config,
        width_DNQ=table.width if config.portfolio.sizing == "uncertainty" else None,
        volatility_DN=volatility_DN,
    )


def new_model(config: Config, panel: Panel) -> ATFT:
    """An untrained model for `panel`, initialised from the global torch seed."""
    inputs = ModelInputs(
        features=len(panel.feature_names),
        fan_columns=tuple(panel.fan_columns),
        sectors=len(panel.manifest.sectors),
        horizons=len(config.data.horizons_days),
        edge_attributes=EDGE_ATTRIBUTES,
    )
    return ATFT(config.model, inputs, config.runtime.chunk_tokens or CHUNK_TOKENS)


def model_to_train(config: Config, panel: Panel, device: torch.device) -> ATFT:
    """`new_model` on `device`, compiled where `runtime.compile` says so.

    On a GPU chunks are as large as its memory allows, unless `runtime.chunk_tokens` is given, and
    with `runtime.triton` the faster forms of variable selection's sums are measured, and printed. A
    CPU that is slower in bf16, where the configuration says so, is told of.

    Raises:
        ConfigError: it does, and the machine has no C++ compiler.
    """
    model = new_model(config, panel).to(device)
    if config.runtime.compile:
        compile_parts(model)
    if device.type == "cuda":
        _fill(model, config, device)
        if config.runtime.triton:
            _choose_forms(model, config, device)
    elif config.runtime.precision == "bf16" and (warning := slower_in_bf16()):
        print(warning, flush=True)
    return model


def _fill(model: ATFT, config: Config, device: torch.device) -> None:
    """All of the card's memory counts, not what is free: trials beside each other do the same."""
    if config.runtime.chunk_tokens is None:
        _, total = torch.cuda.mem_get_info(device)
        model.fill(total, config.graph.neighbours)


def _choose_forms(model: ATFT, config: Config, device: torch.device) -> None:
    selection = model.selection
    if selection.tabulated:
        found = interpolation.compare(selection.tabulated, config.model.hidden, device)
        print(found.line(), flush=True)
        selection.interpolate = found.best
    if len(selection.columns):
        found = decomposed.compare(selection.fan_networks, selection.fan_inputs, device)
        print(found.line(), flush=True)
        selection.fan_networks.kernels = found.best if found.by_kernels else None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in `eval()` mode while the context lasts, then as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def precision(config: Config, device: torch.device) -> torch.autocast:
    """The autocast context of `runtime.precision` on `device`."""
    enabled = config.runtime.precision == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
