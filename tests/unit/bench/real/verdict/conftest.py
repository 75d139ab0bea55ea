"""A result of two models."""

import pytest

from bench.real.folds import walk_forward
from bench.real.jobs import run_jobs
from bench.real.verdict.comparison import compare


@pytest.fixture
def result(noise_prices, make_plan, panel_of, tmp_path):
    """Two models on noise, two folds and horizons, complete as `bench.real` writes it."""
    plan = make_plan(noise_prices, horizons="1,5", models="ridge,random")
    panel = panel_of(plan.config)
    folds = walk_forward(len(panel.dates), 2, plan.gap)
    forecasts = run_jobs(plan.setup(panel), folds, plan.models, tmp_path, lambda line: None)
    found = compare(panel, folds, forecasts, plan.horizons)
    about = {"panel": "noise", "range": "walk-forward", "seconds": 90.0}
    return {**about, "stocks": 40, "departures": (0, 0.0), **found}
