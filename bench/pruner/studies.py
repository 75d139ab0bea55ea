"""Simulated studies with known truth: trials through five phases, each epoch a year of days.

    trials = draw(World(), trials=40, seed=0)
    trials.records[m][e]          # what trial m would report after its epoch e
    trials.truth[m]               # its true annual Sharpe in the end

Axes: M trials, E epochs, D validation days.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.search.records import EpochRecord
from atft_hpo.training.phases.epoch_report import STEPS_PER_PHASE

DAILY_STD = 0.006
IC_STD = 0.10
LEVELS = (-1.0, -0.3, 0.0, 0.2, 0.4)
"""Mean true annual Sharpe at the end of each phase."""


@dataclass(frozen=True)
class World:
    """What a simulated study looks like."""

    epochs: tuple[int, ...] = (5, 10, 8, 6, 15)
    """Per phase."""
    days: int = 250
    correlation: float = 0.9
    """Of daily returns between trials, through the market they share."""
    persistence: float = 0.7
    """Share of a trial's own noise that its epochs of one phase share."""
    phase_link: float = 0.9
    """Correlation of true quality between neighbouring phases."""
    sharpe_spread: float = 0.6
    """Standard deviation of true annual Sharpe between trials."""
    ic_per_sharpe: float = 0.004 / 0.6
    """True mean IC per unit of true annual Sharpe."""


@dataclass(frozen=True)
class Trials:
    """A drawn study: what each trial would report if nothing ended it."""

    records: list[list[EpochRecord]]
    truth: NDArray[np.float64]
    """Final true annual Sharpe of each trial."""


def draw(world: World, trials: int, seed: int) -> Trials:
    """A study of `trials` trials."""
    rng = np.random.default_rng(seed)
    quality_ME, truth = _quality(world, trials, rng)
    phase_E = np.repeat(np.arange(len(world.epochs)), world.epochs)
    returns = _noise(world, trials, phase_E, rng)
    other = _noise(world, trials, phase_E, rng)
    net = DAILY_STD * (returns + quality_ME[..., None] / np.sqrt(252))
    ic = IC_STD * (0.8 * returns + 0.6 * other) + world.ic_per_sharpe * quality_ME[..., None]
    dates = np.datetime64("2020-01-01") + np.arange(world.days)
    records = [
        [_record(world, phase_E, e, dates, net[m], ic[m]) for e in range(len(phase_E))]
        for m in range(trials)
    ]
    return Trials(records, truth)


def _quality(
    world: World, trials: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True annual Sharpe [M, E]: in each phase it moves towards that phase's end, at own speed."""
    phases = len(world.epochs)
    z = rng.standard_normal((trials, phases))
    for p in range(phases - 2, -1, -1):
        z[:, p] = world.phase_link * z[:, p + 1] + np.sqrt(1 - world.phase_link**2) * z[:, p]
    end = np.array(LEVELS) + world.sharpe_spread * z
    start = np.concatenate([np.full((trials, 1), -2.5), end[:, :-1]], axis=1)
    speed = rng.uniform(0.3, 1.5, (trials, phases))
    curves = [
        end[:, [p]] + (start - end)[:, [p]] * np.exp(-speed[:, [p]] * np.arange(1, n + 1))
        for p, n in enumerate(world.epochs)
    ]
    quality = np.concatenate(curves, axis=1)
    wobble = 0.1 * world.sharpe_spread * rng.standard_normal(quality.shape)
    return quality + wobble, end[:, -1]


def _noise(
    world: World, trials: int, phase_E: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Unit noise [M, E, D]: market + the trial's in this phase + the epoch's."""
    market = rng.standard_normal(world.days, dtype=np.float32)
    own = rng.standard_normal((trials, len(world.epochs), world.days), dtype=np.float32)
    epoch = rng.standard_normal((trials, len(phase_E), world.days), dtype=np.float32)
    idiosyncratic = np.sqrt(world.persistence) * own[:, phase_E]
    idiosyncratic += np.sqrt(1 - world.persistence) * epoch
    noise = np.sqrt(world.correlation) * market + np.sqrt(1 - world.correlation) * idiosyncratic
    return np.asarray(noise, dtype=np.float32)


def _record(
    world: World,
    phase_E: NDArray[np.int64],
    index: int,
    dates: NDArray[np.datetime64],
    net_ED: NDArray[np.float32],
    ic_ED: NDArray[np.float32],
) -> EpochRecord:
    phase = int(phase_E[index])
    first = int(np.argmax(phase_E == phase))
    recent = net_ED[max(first, index - 2) : index + 1]
    sharpes = [float(np.sqrt(252) * net.mean() / net.std()) for net in recent]
    net, ic = net_ED[index], ic_ED[index]
    return EpochRecord(
        step=phase * STEPS_PER_PHASE + index - first, phase=phase, phase_name=PHASE_NAMES[phase],
        epoch=index - first, attempt=1, value=sharpes[-1], smoothed=float(np.mean(sharpes)),
        metrics={}, train={}, modules=(), seconds=1.0, samples_per_second=1.0, eta_seconds=0.0,
        epochs_done=index + 1, epochs_total=len(phase_E),
        daily=DailySeries(dates, ic, ic, net, net, np.zeros_like(net), ic, dates),
    )  # fmt: skip
