"""Does the model rank real stocks better than what is simpler? All in one run, on equal terms.

    python -m bench.real prices.parquet                          # walk-forward, profile cpu
    python -m bench.real prices.parquet --profile quick          # a look, minutes
    python -m bench.real prices.parquet --models ridge,lightgbm --horizons 1,5,20
    python -m bench.real prices.parquet --test                   # the test range; recorded

`prices.parquet` holds one row per (date, code): date, code, open, high, low, close, volume,
optionally adj_close, sector, and one boolean column that says who is in the universe that day.
Without it a small simulated market is drawn, which shows what the tables look like and no more.

Every model has the same features, labels (trading delay one day), folds and measures:

    full           the product's model under the study's configuration
    own_trees      the very trees below its net, without the net (where the study has trees)
    ridge          on ranked features, penalty chosen within the training range
    lightgbm       rounds chosen within the training range
    lightgbm_plus  the same with all that the net's trees have: recency weights, boosters that
                   draw their thresholds, mixed horizons
    lstm           linear projection, LSTM
    mlp            per-feature piecewise-linear encoding, no time
    graph          the same encoding and graph attention, no time
    random         AR(1) noise                      ┐ controls: within 3 standard
    shuffled       LightGBM on shuffled labels      ┘ errors of 0, or something leaks

What neighbours and net add is full less own_trees. Besides, full is held against its best rival:
of all others but controls the one with the largest pure RankIC of the horizon on the very days of
the comparison, which flatters the rival.

The folds cover all years before the test range, the last 20 % of the days. Forecasts of seeds are
brought to equal spread per day and averaged. Finished forecasts are kept in --out and used again
while nothing they depend on has changed, so that an interrupted run continues. docs/recipe.md says
more.
"""

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from atft_hpo.config.settings import read_settings
from atft_hpo.data.prepare import prepare_panel
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import AtftHpoError
from atft_hpo.files import write_atomically
from atft_hpo.paths import Volume
from bench.measuring.console import wide_console
from bench.real.folds import Fold, test_fold, walk_forward
from bench.real.jobs import run_jobs
from bench.real.looks import record_look
from bench.real.models.registry import MODELS
from bench.real.plan import Plan, versions
from bench.real.simulated import write_market
from bench.real.verdict.comparison import compare
from bench.real.verdict.departures import departures
from bench.real.verdict.table import markdown, tables, verdict_lines

STUDY = Path(__file__).parents[2] / "studies" / "us_equities.toml"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = wide_console(160)


@app.command()
def run(
    prices: Annotated[Path | None, typer.Argument(help="Parquet of daily prices")] = None,
    study: Annotated[Path, typer.Option(help="configuration of the full model")] = STUDY,
    horizons: Annotated[str, typer.Option(help="trading days, such as 1,5,20")] = "1,5",
    models: Annotated[
        str | None, typer.Option(help="of " + ",".join(MODELS) + " [default: all]")
    ] = None,
    profile: Annotated[str, typer.Option(help="quick, cpu or gpu")] = "cpu",
    folds: Annotated[int | None, typer.Option(min=1, help="walk-forward folds")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="members of an ensemble")] = None,
    features: Annotated[int | None, typer.Option(min=1, help="first so many features")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes at a time")] = None,
    universe: Annotated[str | None, typer.Option(help="boolean column of the universe")] = None,
    test: Annotated[bool, typer.Option("--test", help="the test range; recorded")] = False,
    out: Annotated[Path | None, typer.Option(help="where forecasts and results are kept")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the result here")] = None,
) -> None:
    """Compare the model with baselines on daily prices."""
    started = time.monotonic()
    overrides = {"folds": folds, "seeds": seeds, "features": features, "workers": workers}
    try:
        settings = read_settings()
        if prices is None:
            console.print(
                "no prices given: a simulated market stands in, whose volumes tell something"
            )
            prices = simulated(settings.volume)
            profile, overrides["features"] = "quick", overrides["features"] or 24
        plan = Plan.of(
            prices, study, horizons, models, profile, overrides, universe, settings.device
        )
        out = out or settings.volume.root / "real" / prices.stem
        panel = prepare_panel(plan.config.data, settings.volume, console.print)
        result = measured(plan, panel, out, test) | {"seconds": time.monotonic() - started}
    except AtftHpoError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    show(result, out, json_file)


def measured(plan: Plan, panel: Panel, out: Path, test: bool = False) -> dict[str, Any]:
    """All models on the folds of `panel`, or on its test range, which is recorded in `out`."""
    days = len(panel.dates)
    if test:
        chosen: tuple[Fold, ...] = (test_fold(days, plan.gap),)
    else:
        chosen = walk_forward(days, plan.profile.folds, plan.gap)
    look = record_look(out, plan) if test else None
    if look:
        console.print(f"look number {look} at the test range; recorded in {out}")
    forecasts = run_jobs(plan.setup(panel), chosen, plan.models, out, console.print)
    result = compare(panel, chosen, forecasts, plan.horizons)
    return {
        "panel": Path(str(plan.config.data.path)).stem,
        "range": "test range" if test else "walk-forward before the test range",
        "look": look,
        **result,
        "profile": vars(plan.profile),
        "label": plan.config.loss.model_dump().get("label", "rank"),
        "stocks": len(panel.manifest.codes),
        "departures": departures(panel),
        "features": len(panel.feature_names),
        "cores": os.cpu_count(),
        "versions": versions(),
    }


def simulated(volume: Volume) -> Path:
    """The prices of the simulated market, drawn once per volume: a new file is a new panel."""
    volume.root.mkdir(parents=True, exist_ok=True)
    path = volume.root / "simulated_market.parquet"
    return path if path.exists() else write_market(path)


def show(result: dict[str, Any], out: Path, json_file: Path | None) -> None:
    """Print the tables; write them, and the result as JSON, into `out` and where asked."""
    for table in tables(result):
        console.print(table)
    for line in verdict_lines(result):
        console.print(line)
    name = "test" if result["look"] else "walk-forward"
    text = json.dumps(result, indent=2) + "\n"
    write_atomically(out / f"{name}.md", markdown(result).encode())
    for path in [out / f"{name}.json", *([json_file] if json_file else [])]:
        write_atomically(path, text.encode())
    console.print(f"{result['seconds'] / 60:.1f} minutes; {out / name}.md and .json")


if __name__ == "__main__":
    app()
