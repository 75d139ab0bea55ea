"""The result as tables on the terminal, and the same as markdown.

for table in tables(result): console.print(table)
for line in verdict_lines(result): console.print(line)
path.write_text(markdown(result))
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rich.table import Table

from bench.real.verdict.departures import departures_line

Row = Mapping[str, Any]
_MODEL_COLUMNS: Final[tuple[tuple[str, Callable[[Row], str]], ...]] = (
    ("RankIC (t)", lambda m: _with_t(m, "rank_ic")),
    ("pure RankIC (t)", lambda m: _with_t(m, "pure_rank_ic")),
    ("IC (t)", lambda m: _with_t(m, "ic")),
    ("ICIR", lambda m: _number(m.get("icir"), 3)),
    ("style R²", lambda m: _number(m.get("style_r2"), 2)),
    ("RankIC std", lambda m: _number(m.get("rank_ic_std"), 3)),
    ("Sharpe gross", lambda m: _number(m.get("sharpe_gross"), 2)),
    ("net 10 bps", lambda m: _number(m.get("sharpe_net"), 2)),
    ("turnover", lambda m: _number(m.get("turnover"), 2)),
    ("autocorr.", lambda m: _number(m.get("score_autocorrelation"), 2)),
)
_PAIRED_COLUMNS: Final[tuple[tuple[str, Callable[[Row], str]], ...]] = (
    ("Δ pure RankIC (t)", lambda p: _delta(p["pure_rank_ic"])),
    ("90 % interval", lambda p: _interval(p["pure_rank_ic"])),
    ("Δ RankIC (t)", lambda p: _delta(p["rank_ic"])),
    ("90 % interval", lambda p: _interval(p["rank_ic"])),
    ("less style bets (t)", lambda p: _alpha(p["style_attribution"])),
    ("explained", lambda p: _number(p["style_attribution"].get("explained"), 2)),
)


def tables(result: Row) -> Iterator[Table]:
    """Two per horizon: every model by itself, and the reference against each other one."""
    for title, head, rows in _contents(result):
        table = Table(title=title, title_justify="left")
        for place, name in enumerate(head):
            table.add_column(name, justify="right" if place else "left")
        for row in rows:
            table.add_row(*row)
        yield table


def markdown(result: Row) -> str:
    """The same as `tables`, and what was looked at."""
    first, last, count = result["days"]
    lines = [
        f"# {result['panel']}: {result['range']}",
        f"\n{count} days, {first} … {last}, {len(result['folds'])} fold(s); delay 1 day. "
        f"{result['seconds'] / 60:.1f} minutes.",
    ]
    for title, head, rows in _contents(result):
        lines += [f"\n## {title}\n", _line(head), _line(["---"] * len(head)), *map(_line, rows)]
    lines += ["\n## Verdict\n", *(f"- {line}" for line in verdict_lines(result))]
    return "\n".join(lines) + "\n"


def verdict_lines(result: Row) -> list[str]:
    """What is added to the trees, the lead over the best rival, who is in the panel, targets."""
    words = {True: "reached", False: "MISSED", None: "not measured"}
    return [
        *(line for h, found in result["horizons"].items() for line in _added(result, h, found)),
        departures_line(result["stocks"], *result["departures"]),
        *(f"{name}: {words[met]}" for name, met in result["targets"].items()),
    ]


def _added(result: Row, horizon: str, found: Row) -> Iterator[str]:
    """Of one horizon: full less its own trees, and less its best rival."""
    if result["reference"] != "full":
        return
    ahead, paired, rival = _ahead(horizon), found["paired"], found["best_rival"]
    if own := paired.get("own_trees"):
        yield f"{ahead}, neighbours and net add to its own trees: {_both(own)}"
    if rival:
        chosen = "its best rival, by pure RankIC on these days"
        yield f"{ahead}, full over {rival}, {chosen}: {_both(paired[rival])}"


def _both(pair: Row) -> str:
    return f"pure RankIC {_delta(pair['pure_rank_ic'])}, RankIC {_delta(pair['rank_ic'])}"


def _ahead(horizon: str) -> str:
    return f"{horizon} day{'' if horizon == '1' else 's'} ahead"


def _contents(result: Row) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    reference = result["reference"]
    for horizon, found in result["horizons"].items():
        ahead = _ahead(horizon)
        head = ["model", *(name for name, _ in _MODEL_COLUMNS)]
        models = [[n, *(c(m) for _, c in _MODEL_COLUMNS)] for n, m in found["models"].items()]
        yield f"{result['panel']}, {ahead}, {result['range']}", head, models
        head = [f"{reference} less", *(name for name, _ in _PAIRED_COLUMNS)]
        pairs = [[n, *(c(p) for _, c in _PAIRED_COLUMNS)] for n, p in found["paired"].items()]
        if pairs:
            yield f"{ahead}: paired daily differences", head, pairs


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _with_t(row: Row, name: str) -> str:
    return f"{_number(row.get(name), 4)} ({_number(row.get(f'{name}_t'), 1)})"


def _delta(row: Row) -> str:
    return f"{_number(row.get('mean'), 4)} ({_number(row.get('t'), 1)})"


def _alpha(row: Row) -> str:
    return f"{_number(row.get('alpha'), 4)} ({_number(row.get('t'), 1)})"


def _interval(row: Row) -> str:
    return f"{_number(row.get('low'), 4)} … {_number(row.get('high'), 4)}"


def _number(value: float | None, digits: int) -> str:
    """`.0123`, `−1.20`, or a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{abs(value):.{digits}f}".removeprefix("0" if abs(value) < 1 else "")
    return f"−{text}" if value < 0 and float(text) else text
