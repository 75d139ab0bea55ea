"""Which pruner saves epochs without ending the best trials? Simulated studies with known truth.

    python bench/pruner.py [--trials 40] [--studies 12] [--json FILE]

Each study draws trials whose true Sharpe and IC move through the five phases, correlated from phase
to phase, slow starters among them. Every epoch yields a year of daily validation returns and ICs:
standard deviation 0.6 % a day, most of it shared by all trials, most of the rest by the epochs of a
trial. Four trials run at a time. Printed per pruner, as means over studies:

    used     share of all epochs that were run
    killed   share of the truly best 10 % of trials that were ended early
    regret   true annual Sharpe of the best trial minus that of the trial picked at the end
    ended    share of trials ended early

It says nothing of samplers (trials are drawn at random) and nothing of real panels.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray

from atft_hpo.config.search_schema import ObjectiveConfig, PrunerConfig
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.search.pruner import decide, optuna_pruner
from atft_hpo.search.records import EpochRecord
from atft_hpo.training.plan.epoch_report import STEPS_PER_PHASE, DailySeries

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


@dataclass(frozen=True)
class Result:
    """What one pruner did to one study, see the module's docstring."""

    used: float
    killed: float
    regret: float
    ended: float


Rule = Callable[[int, Mapping[int, Sequence[EpochRecord]]], bool]
"""(trial, epochs of all started trials) -> whether to end the trial now."""


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
        daily=DailySeries(dates, ic, ic, net, net, np.zeros_like(net), ic),
    )  # fmt: skip


def ours(config: PrunerConfig) -> Rule:
    """The phase-aware pruner."""
    objective = ObjectiveConfig()

    def rule(trial: int, epochs: Mapping[int, Sequence[EpochRecord]]) -> bool:
        peers = {m: records for m, records in epochs.items() if m != trial}
        return decide(epochs[trial], peers, config, objective).prune

    return rule


def stock(config: PrunerConfig) -> Rule:
    """One of Optuna's own, on the smoothed Sharpe, in a study of its own."""
    study = optuna.create_study(direction="maximize", pruner=optuna_pruner(config))
    asked: dict[int, optuna.Trial] = {}

    def rule(trial: int, epochs: Mapping[int, Sequence[EpochRecord]]) -> bool:
        if trial not in asked:
            asked[trial] = study.ask()
        now = epochs[trial][-1]
        asked[trial].report(now.smoothed, now.step)
        if asked[trial].should_prune():
            study.tell(asked[trial], state=optuna.trial.TrialState.PRUNED)
            return True
        if now.epochs_done == now.epochs_total:
            study.tell(asked[trial], now.smoothed)
        return False

    return rule


def simulate(trials: Trials, rule: Rule, parallel: int = 4) -> Result:
    """Run the study under `rule`, `parallel` trials at a time, in lockstep."""
    waiting = list(range(len(trials.records)))
    running = [waiting.pop(0) for _ in range(min(parallel, len(waiting)))]
    done: dict[int, list[EpochRecord]] = {}
    ended: set[int] = set()
    while running:
        for trial in tuple(running):
            epochs = done.setdefault(trial, [])
            epochs.append(trials.records[trial][len(epochs)])
            if rule(trial, done):
                ended.add(trial)
            if trial in ended or len(epochs) == len(trials.records[trial]):
                running.remove(trial)
                running += [waiting.pop(0)] if waiting else []
    return _result(trials, done, ended)


def _result(trials: Trials, done: Mapping[int, Sequence[EpochRecord]], ended: set[int]) -> Result:
    count = len(trials.truth)
    best = np.argsort(-trials.truth)[: max(1, count // 10)]
    finished = [m for m in done if m not in ended]
    picked = max(finished, key=lambda m: done[m][-1].smoothed)
    return Result(
        used=sum(map(len, done.values())) / sum(map(len, trials.records)),
        killed=float(np.mean([m in ended for m in best])),
        regret=float(trials.truth.max() - trials.truth[picked]),
        ended=len(ended) / count,
    )


def rules() -> dict[str, Callable[[], Rule]]:
    """The pruners compared, by the name printed."""
    compared: dict[str, Callable[[], Rule]] = {"none": lambda: lambda trial, epochs: False}
    for kind in ("median", "percentile", "halving", "hyperband"):
        config = PrunerConfig(kind=kind, keep_share=0.75 if kind == "percentile" else 0.5)
        compared[kind + (" .75" if kind == "percentile" else "")] = lambda c=config: stock(c)
    for keep, min_t in ((0.5, 1.0), (0.5, 2.0), (0.5, 2.5), (0.5, 3.0), (0.75, 1.0), (0.75, 2.0)):
        config = PrunerConfig(keep_share=keep, min_t=min_t)
        compared[phase_aware_name(config)] = lambda c=config: ours(c)
    return compared


def phase_aware_name(config: PrunerConfig) -> str:
    """What a phase-aware pruner is called in the table."""
    return f"phase_aware keep {config.keep_share:g} t {config.min_t:g}"


def main() -> None:
    """Print the table; write it as JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--studies", type=int, default=6)
    parser.add_argument("--correlation", type=float, default=World.correlation)
    parser.add_argument("--phase-link", type=float, default=World.phase_link)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    world = World(correlation=arguments.correlation, phase_link=arguments.phase_link)
    results: dict[str, list[Result]] = {name: [] for name in rules()}
    for seed in range(arguments.studies):
        trials = draw(world, arguments.trials, seed)
        for name, make in rules().items():
            results[name].append(simulate(trials, make()))
    fields = ("used", "killed", "regret", "ended")
    table = {
        name: {field: float(np.mean([getattr(row, field) for row in rows])) for field in fields}
        for name, rows in results.items()
    }
    print(f"{'pruner':28s}" + "".join(f"{field:>8s}" for field in fields))
    for name, row in table.items():
        print(f"{name:28s}" + "".join(f"{row[field]:8.3f}" for field in fields))
    if arguments.json:
        arguments.json.write_text(json.dumps({"world": vars(world), "pruners": table}, indent=2))


if __name__ == "__main__":
    main()
