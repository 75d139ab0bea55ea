"""Finished forecasts are kept, changed ones are not used, failures are named."""

import dataclasses

import numpy as np
import pytest

from atft_hpo.errors import NonFiniteError
from bench.real import jobs
from bench.real.folds import walk_forward
from bench.real.jobs import run_jobs
from bench.real.models import registry


@pytest.fixture
def calls(monkeypatch):
    """Counts calls of a fake ridge, which forecasts its fold's number."""
    seen = []

    def forecast(task):
        seen.append((task.fold.number, task.seed))
        if task.seed == 9:
            raise NonFiniteError("loss is NaN")
        shape = (len(task.fold.days), task.panel.alive.shape[1], task.horizons)
        return np.random.default_rng(task.seed).standard_normal(shape).astype(np.float32)

    fake = dataclasses.replace(registry.MODELS["ridge"], forecast=forecast, ensemble=True)
    monkeypatch.setitem(registry.MODELS, "ridge", fake)
    return seen


@pytest.fixture
def work(noise_prices, make_plan, panel_of, tmp_path):
    """work(**profile): run the fake ridge on two folds."""

    def run(**profile):
        plan = make_plan(noise_prices, **profile)
        panel = panel_of(plan.config)
        folds = walk_forward(len(panel.dates), 2, plan.gap)
        told = []
        return run_jobs(plan.setup(panel), folds, ["ridge"], tmp_path, told.append), folds, told

    return run


def test_one_job_per_fold_and_seed_and_one_forecast_of_all_days(calls, work):
    forecasts, folds, _ = work(seeds=2)
    assert sorted(calls) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(forecasts["ridge"].score_DNQ) == sum(len(fold.days) for fold in folds)


def test_finished_parts_are_not_run_again(calls, work, tmp_path):
    first, *_ = work(seeds=2)
    next((tmp_path / "forecasts" / "ridge").glob("fold1-seed1-*.npz")).unlink()
    calls.clear()
    again, _, told = work(seeds=2)
    assert calls == [(1, 1)]
    assert told[0] == "3 of 4 forecasts are there already"
    np.testing.assert_array_equal(first["ridge"].score_DNQ, again["ridge"].score_DNQ)


def test_a_changed_setting_is_another_forecast(calls, work):
    work(seeds=1)
    calls.clear()
    work(seeds=1, max_rounds=61)
    assert len(calls) == 2


def test_a_full_models_forecast_depends_on_the_study(noise_prices, make_task):
    task = make_task(noise_prices)
    other = make_task(noise_prices)
    model = other.setup.config.model.model_copy(update={"dropout": 0.2})
    config = other.setup.config.model_copy(update={"model": model})
    other = dataclasses.replace(other, setup=dataclasses.replace(other.setup, config=config))
    assert registry.forecast_key("full", task) != registry.forecast_key("full", other)
    assert registry.forecast_key("lightgbm", task) == registry.forecast_key("lightgbm", other)


def test_forecasts_of_nets_depend_on_the_graph(noise_prices, make_task):
    task, other = make_task(noise_prices), make_task(noise_prices)
    graph = other.setup.config.graph.model_copy(update={"window_days": 45})
    config = other.setup.config.model_copy(update={"graph": graph})
    other = dataclasses.replace(other, setup=dataclasses.replace(other.setup, config=config))
    changed = {
        name for name in registry.MODELS
        if registry.forecast_key(name, task) != registry.forecast_key(name, other)
    }  # fmt: skip
    assert changed == {"full", "own_trees", "lstm", "mlp", "graph"}


def test_a_failure_names_its_job_and_keeps_its_kind(calls, work, monkeypatch):
    real = jobs._jobs

    def ninth_seed(*arguments):
        for job in real(*arguments):
            yield dataclasses.replace(job, task=dataclasses.replace(job.task, seed=9))

    monkeypatch.setattr(jobs, "_jobs", ninth_seed)
    with pytest.raises(NonFiniteError, match=r"ridge fold 1 seed 9: loss is NaN"):
        work(seeds=1)
