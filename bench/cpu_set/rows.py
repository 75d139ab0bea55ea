"""What the parts found, as rows of one table. Bounds are those of the programs themselves.

rows = rows_of("startup", result)
rows[0].measured, rows[0].figure, rows[0].asked, rows[0].reached
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from atft_hpo.config.search_schema import PrunerConfig
from bench.panel import pack
from bench.pruner.rules import phase_aware_name
from bench.search import cost, startup
from bench.training_speed import step, validation

Result = Mapping[str, Any]
"""A program's JSON."""
Form = Callable[[float], str]


@dataclass(frozen=True)
class Row:
    """One figure."""

    measured: str
    figure: str
    asked: str = ""
    """Empty: nothing is asked of it."""
    reached: bool | None = None


def rows_of(name: str, result: Result) -> list[Row]:
    """The rows of the part `name` of `parts.PARTS`."""
    return _ROWS[name](result)


def at_most(measured: str, value: float, bound: float, form: Form) -> Row:
    """A figure that is better when smaller."""
    return Row(measured, form(value), f"≤ {form(bound)}", value <= bound)


def at_least(measured: str, value: float, bound: float, form: Form) -> Row:
    """A figure that is better when larger."""
    return Row(measured, form(value), f"≥ {form(bound)}", value >= bound)


def _step(result: Result) -> list[Row]:
    rows: list[Row] = []
    for found in result["stocks"].values():
        where = f"{found['stocks']:,} stocks × {found['days']} days"
        rows += [
            Row(f"samples/s, {where}", f"{found['samples_per_second']:,.0f}"),
            Row("… window by window", f"{found['window_samples_per_second']:,.0f}"),
            at_least("… ratio", found["ratio_to_window_path"], step.TARGET_RATIO, _times),
            _peak(found["peak_rss_gib"], found["stocks"]),
            at_least(
                "… variable selection's share of a grouped product's rate",
                found["selection_share_of_grouped_matmul"], step.TARGET_SHARE, _plain,
            ),
        ]  # fmt: skip
    small = result["one_thread"]
    measured = f"{small['stocks']} stocks × {small['days']} days, one thread, to the earlier system"
    return [
        *rows,
        at_least(measured, small["ratio_to_earlier_system"], step.TARGET_EARLIER_RATIO, _times),
    ]


def _peak(gib: float, stocks: int) -> Row:
    if stocks != step.TARGET_STOCKS:
        return Row("… peak memory", _gib(gib))
    return at_most("… peak memory", gib, step.TARGET_GIB, _gib)


def _validation(result: Result) -> list[Row]:
    days = f"{result['training_days']:,} days of training, {result['validation_days']} validated"
    return [
        at_most(
            f"validation's share of an epoch of {epoch['phase']}, {days}",
            epoch["share"], validation.TARGET_SHARE, _percent,
        )
        for epoch in result["epochs"]
    ]  # fmt: skip


def _epoch_end(result: Result) -> list[Row]:
    size = f"{result['days']} days × {result['stocks']:,} stocks, {result['threads']} thread(s)"
    seconds = result["seconds"]
    return [
        Row(f"metrics, {size}", _seconds(seconds["metrics"])),
        Row("… of a run's first epoch", _seconds(seconds["metrics, first"])),
        Row("last.pt", _seconds(seconds["last.pt"])),
    ]


def _search(result: Result) -> list[Row]:
    measured = f"per trial-epoch after {result['trials']:,} trials of {result['epochs']} epochs"
    return [
        at_most(measured, result["milliseconds_per_trial_epoch"], cost.TARGET_MS, _milliseconds)
    ]


def _startup(result: Result) -> list[Row]:
    trials = len(result["later"])
    return [
        Row(f"{result['study']}, median of {trials}", _seconds(result["median_seconds"])),
        at_most("… longest", result["longest_seconds"], startup.TARGET_SECONDS, _seconds),
    ]


def _pack(result: Result) -> list[Row]:
    size = f"{result['rows']:,} rows × {result['features']} columns"
    share, peak = result["throughput_share_of_decoding"], result["pack"]["peak_rss_gib"]
    opened = result["open"]["seconds"]
    return [
        Row(f"{size}", _seconds(result["pack"]["seconds"])),
        at_least("… throughput, as a share of decoding's", share, pack.TARGET_SHARE, _plain),
        at_most("… peak memory", peak, pack.TARGET_GIB, _gib),
        at_most(
            "the store, opened",
            1000 * opened, 1000 * pack.TARGET_OPEN_SECONDS, _milliseconds,
        ),
    ]  # fmt: skip


def _selection(result: Result) -> list[Row]:
    rates, given = result["tokens_per_second"], result["arguments"]
    size = f"{given['features']} features, hidden {given['hidden']}, {given['threads']} thread(s)"
    return [
        Row(f"tokens/s, {size}", f"{rates['ours']:,.0f}"),
        Row("… every network computed for every token", f"{rates['plain']:,.0f}"),
        Row("… ratio", _times(rates["ours"] / rates["plain"])),
    ]


def _pruner(result: Result) -> list[Row]:
    default = PrunerConfig()
    found = result["pruners"][phase_aware_name(default)]
    return [
        Row("share of epochs run, simulated studies", _percent(found["used"])),
        Row("… of the best tenth of trials ended early", _percent(found["killed"])),
    ]


_ROWS: Mapping[str, Callable[[Result], list[Row]]] = {
    "step": _step,
    "validation": _validation,
    "epoch_end": _epoch_end,
    "search": _search,
    "startup": _startup,
    "pack": _pack,
    "selection": _selection,
    "pruner": _pruner,
}


def _plain(value: float) -> str:
    return f"{value:.2f}"


def _times(value: float) -> str:
    return f"{value:.1f} ×"


def _percent(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")


def _gib(value: float) -> str:
    return f"{value:.2f} GiB"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms"
