"""What is said when an agent goes home: outcomes, the best trial, its files, what to do next."""

import itertools
import os
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from atft_hpo.config.settings import Device
from atft_hpo.config.shell import shell_command, withheld
from atft_hpo.paths import Volume
from atft_hpo.results.console import print_whole, say
from atft_hpo.results.status_lines import signed
from atft_hpo.results.study_report.facts import best_epoch, study_facts
from atft_hpo.results.study_report.paired_trials import against, base_trial
from atft_hpo.results.study_report.report import write_report
from atft_hpo.results.wording import plural
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord
from atft_hpo.service.agent.agent import Farewell
from atft_hpo.service.database.connection import Database
from atft_hpo.service.queue.operator import STOPPED
from atft_hpo.service.studies.load import load_study
from atft_hpo.training.phases.objective import objective_series

LEADING_TRIALS = 5
_METRICS = {
    "IC": ("ic", 4),
    "RankIC": ("rank_ic", 4),
    "RankIC\nt": ("rank_ic_t", 2),
    "pure\nRankIC": ("pure_rank_ic", 4),
    "Sharpe\nnet": ("sharpe", 2),
    "Sharpe\ngross": ("sharpe_gross", 2),
    "turnover": ("turnover", 2),
}
"""Columns: the metric and its decimals. Together they fit into 80 characters."""


def close_session(
    database: Database,
    name: str,
    farewell: Farewell,
    console: Console,
    device: Device = "auto",
    workers: int | None = None,
) -> None:
    """Print how the study stands, and write its report when it has come to its end.

    `device` and `workers` as this session was asked for them: the commands to try next repeat them.

    Raises:
        VolumeError: the report cannot be written.
    """
    study = load_study(database, name)
    console.print(outcome_table(study))
    if study.best() is not None:
        print_whole(console, leading_table(study))
    lines = [*best_lines(study), *epoch_lines(study)]
    if study.trials and not farewell.interrupted:
        report = write_report(study, database.volume.study(name).report)
        lines.append(f"report         {report}")
    lines += ["", *standing_lines(study, farewell)]
    lines += next_lines(study, farewell, database.volume, device, workers)
    for line in lines:
        say(console, line)


def outcome_table(study: StudyRecord) -> Table:
    """Trials by outcome, with what each means."""
    trials = Column("trials", justify="right")
    table = Table("outcome", trials, "meaning", box=None, title=f"Study {study.name}")
    for outcome in Outcome:
        count = sum(trial.outcome is outcome for trial in study.trials)
        if count:
            table.add_row(outcome.name, str(count), outcome.value)
    unfinished = sum(trial.outcome is None for trial in study.trials)
    if unfinished:
        table.add_row("unfinished", str(unfinished), "running, or continued by the same command")
    done = len(study.trials) - unfinished
    table.add_row("total", str(done), f"of {study.target_trials} asked for")
    return table


def leading_table(study: StudyRecord) -> Table:
    """The best COMPLETE trials with the validation metrics of the epoch that was kept.

    "t, to base": of the paired daily difference to the base configuration, in the objective's
    series.
    """
    objective = study.config.objective
    title = f"Best trials, validation, {plural(objective.horizon_days, 'day')} ahead"
    base, series = base_trial(study), objective_series(objective)
    heads = ("trial", objective.metric, "t,\nto base", *_METRICS)
    columns = (Column(head, justify="right", vertical="bottom", no_wrap=True) for head in heads)
    table = Table(*columns, box=None, title=title, collapse_padding=True, pad_edge=False)
    done = [t for t in study.trials if t.outcome is Outcome.COMPLETE and t.value is not None]
    for trial in sorted(done, key=lambda t: -(t.value or 0.0))[:LEADING_TRIALS]:
        kept = best_epoch(trial, study.config)
        metrics = kept.metrics if kept else {}
        cells = [signed(metrics.get(key), digits) for key, digits in _METRICS.values()]
        paired = against(trial, base, study, series)
        t = signed(paired.t if paired else None, 2)
        table.add_row(str(trial.number), f"{trial.value:.4g}", t, *cells)
    return table


def best_lines(study: StudyRecord) -> list[str]:
    """The best trial: value, parameters, files."""
    best = study.best()
    if best is None:
        return ["no trial is COMPLETE yet"]
    metric = study.config.objective.metric
    lines = [f"best trial {best.number}: {metric} {best.value:.4g}"]
    lines += [f"    {key} = {_plain(value)}" for key, value in best.params.items()]
    lines += [f"configuration  {best.directory}/config.toml"]
    if best.attempts:
        lines += [f"checkpoints    {best.directory}/attempt-{best.attempts[-1].attempt}/"]
    return lines


def epoch_lines(study: StudyRecord) -> list[str]:
    """One line: what the trials trained, and what pruning and sharing spared them."""
    facts = study_facts(study)
    total = facts.epochs_run + facts.epochs_saved
    if not total:
        return []
    trained = facts.epochs_run - facts.epochs_shared
    pruned, shared = facts.epochs_saved / total, facts.epochs_shared / total
    return [
        f"epochs         {trained} trained of {total}: "
        f"{pruned:.0%} saved by pruning, {shared:.0%} by sharing"
    ]


def standing_lines(study: StudyRecord, farewell: Farewell) -> list[str]:
    """One line: done, stopped, or interrupted, and what changes that."""
    done = sum(trial.outcome is not None for trial in study.trials)
    if farewell.interrupted:
        return [
            f"interrupted with {done} of {study.target_trials} done; the same command continues"
        ]
    if farewell.stop:
        return [f"no new trial starts: {farewell.stop.reason}"]
    if done >= study.target_trials:
        all_done = "the one trial is done" if done == 1 else f"all {done} trials are done"
        return [f"{all_done}; ask for more with a larger --trials (HPO_TRIALS)"]
    return []


def next_lines(
    study: StudyRecord,
    farewell: Farewell,
    volume: Volume,
    device: Device = "auto",
    workers: int | None = None,
) -> list[str]:
    """The commands to try next, each on a line to be pasted."""
    best, name = study.best(), study.name
    if best is None:
        commands = [shell_command("status", name), shell_command("report", name)]
    else:
        out = str(_writable(volume) / f"{_free_run(volume, f'{name}-{best.number}')}.toml")
        commands = [
            shell_command("export", name, "--out", out),
            shell_command("train", out, device=device),
        ]
    done = sum(trial.outcome is not None for trial in study.trials)
    more = ["--trials", str(study.target_trials + 10)] if done >= study.target_trials else []
    if farewell.stop is None or farewell.stop.reason.startswith(STOPPED):
        commands.append(shell_command("resume", name, *more, device=device, workers=workers))
    return [f"next{withheld()}:", *(f"    {command}" for command in commands)]


def _free_run(volume: Volume, name: str) -> str:
    """The name of a run that is not there yet; `train` would say that it is complete."""
    names = itertools.chain(("best", name), (f"{name}-{n}" for n in itertools.count(2)))
    return next(free for free in names if not volume.run(free).root.exists())


def _writable(volume: Volume) -> Path:
    """The current directory, or the volume where that is not ours to write, as in a container."""
    try:
        return Path() if os.access(Path.cwd(), os.W_OK) else volume.root
    except FileNotFoundError:  # somebody has removed it
        return volume.root


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
