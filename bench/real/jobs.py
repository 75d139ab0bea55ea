"""One job per (model, fold, seed), a few processes at a time; what is finished is kept.

    forecasts = run_jobs(setup, folds, ["ridge", "lightgbm"], out, progress=print)
    forecasts["ridge"].score_DNQ      # of all folds' days

A job leaves one file, named by a hash of all it depends on. It is written whole or not at all, so
that the same command after an interruption goes on where it stopped; the full model even goes on
within a training.
"""

import io
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from atft_hpo.errors import AtftHpoError
from atft_hpo.files import write_atomically
from atft_hpo.progress import Progress
from bench.measuring.processes import begin_worker
from bench.real.folds import Fold
from bench.real.models.registry import MODELS, forecast_key
from bench.real.samples import Scores, Setup, Task, ensemble

_ORDER = {"full": 0, "own_trees": 2}


@dataclass(frozen=True)
class Job:
    """What one process computes and where it leaves it."""

    model: str
    task: Task
    path: Path

    def __str__(self) -> str:
        return f"{self.model} fold {self.task.fold.number} seed {self.task.seed}"


@dataclass(frozen=True)
class Forecast:
    """What one model says, its members averaged."""

    score_DNQ: Scores
    """Of the days of all folds, one after another."""
    seconds: float
    """Of all its jobs together, those kept from before included."""
    cpu_seconds: float
    """The same, without waiting for a busy machine."""


def run_jobs(
    setup: Setup,
    folds: Sequence[Fold],
    models: Sequence[str],
    out: Path,
    progress: Progress,
) -> dict[str, Forecast]:
    """Forecasts of every model, computed where they are not there yet.

    Raises:
        AtftHpoError: a job failed; those that finished are kept.
    """
    jobs = [job for name in models for fold in folds for job in _jobs(setup, name, fold, out)]
    missing = [job for job in jobs if not job.path.is_file()]
    if kept := len(jobs) - len(missing):
        progress(f"{kept} of {len(jobs)} forecasts are there already")
    # Longest first, so that no process is left alone at the end; what takes over, last.
    missing.sort(key=lambda job: (_ORDER.get(job.model, 1), -len(job.task.fold.train)))
    started = time.monotonic()
    for done, (job, seconds) in enumerate(_run(missing, setup), start=1):
        minutes = (time.monotonic() - started) / 60
        progress(f"{done}/{len(missing)}  {job}: {seconds:.0f} s  ({minutes:.1f} min so far)")
    return {name: _collect([job for job in jobs if job.model == name]) for name in models}


def _jobs(setup: Setup, name: str, fold: Fold, out: Path) -> Iterator[Job]:
    for seed in range(setup.profile.seeds if MODELS[name].ensemble else 1):
        shared = out / "shared"
        key = forecast_key(name, Task(setup, fold, seed, out, shared))
        place = out / "forecasts" / name / f"fold{fold.number}-seed{seed}-{key}"
        task = Task(setup, fold, seed, place, shared)
        yield Job(name, task, place.with_name(place.name + ".npz"))


def _run(jobs: Sequence[Job], setup: Setup) -> Iterator[tuple[Job, float]]:
    """Jobs as they finish, with their seconds."""
    if setup.profile.workers == 1:
        for job in jobs:
            with _named(job):
                seconds = run_job(job)
            yield job, seconds
        return
    pool = ProcessPoolExecutor(
        min(setup.profile.workers, max(len(jobs), 1)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(setup.profile.threads,),
    )
    with pool:
        futures: dict[Future[float], Job] = {pool.submit(run_job, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                with _named(futures[future]):
                    seconds = future.result()
                yield futures[future], seconds
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_job(job: Job) -> float:
    """Compute and keep one forecast; returns its seconds."""
    started, cpu_started = time.monotonic(), time.process_time()
    score_DNQ = MODELS[job.model].forecast(job.task)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    buffer = io.BytesIO()
    np.savez(buffer, score=score_DNQ, seconds=(seconds, cpu_seconds))
    write_atomically(job.path, buffer.getbuffer())
    return seconds


@contextmanager
def _named(job: Job) -> Iterator[None]:
    """An error of `job` says whose it is."""
    try:
        yield
    except AtftHpoError as error:
        raise type(error)(f"{job}: {error}") from error
    except BrokenProcessPool as error:
        raise AtftHpoError(
            f"{job}, or one beside it: its process was killed, probably for memory; give fewer "
            "--workers or --features, then run the same command again"
        ) from error


def _begin(threads: int) -> None:
    """A process of its own, with few threads."""
    begin_worker()
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def _collect(jobs: Sequence[Job]) -> Forecast:
    folds: dict[int, list[Scores]] = {}
    seconds_J2 = []
    for job in jobs:
        with np.load(job.path) as kept:
            folds.setdefault(job.task.fold.number, []).append(kept["score"])
            seconds_J2.append(kept["seconds"])
    score_DNQ = np.concatenate([ensemble(members) for members in folds.values()])
    return Forecast(score_DNQ, *np.sum(seconds_J2, axis=0).tolist())
