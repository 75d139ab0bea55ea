"""The report of a study: one HTML file that says what was found and how far to believe it.

    write_report(study, volume.study(study.name).report)

Reads records only, so it can be written while the study runs, and for a study that is empty or
whose trials all failed: what cannot be drawn yet is explained in its place.
"""

from collections.abc import Iterator
from pathlib import Path

from atft_hpo.config.data_schema import SplitDates
from atft_hpo.results.study_report import learning_figures, search_figures
from atft_hpo.results.study_report.best_by_luck import BestByLuck, best_by_luck
from atft_hpo.results.study_report.facts import StudyFacts, study_facts
from atft_hpo.results.study_report.importance import parameter_importance
from atft_hpo.results.study_report.page import (
    Stat,
    dot,
    joined,
    outcome_bar,
    stats,
    table,
    tag,
    write_page,
)
from atft_hpo.results.study_report.paired_trials import paired
from atft_hpo.results.study_report.single_trials import Part, all_trials, best_trial, trust
from atft_hpo.results.study_report.theme import status_label
from atft_hpo.results.wording import (
    ABSENT,
    duration,
    listing,
    number,
    percent,
    phase_label,
    plural,
    plus_minus,
)
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord


def write_report(study: StudyRecord, out: Path) -> Path:
    """Write the study's report to `out` and return `out`.

    Raises:
        VolumeError: the volume is full or cannot be written.
    """
    facts, luck = study_facts(study), best_by_luck(study)
    parts: list[Part] = [*_head(study, facts, luck)]
    if study.trials:
        parts += [
            *_failures(study),
            *_search(study),
            *_training(study),
            *best_trial(study, facts),
            *paired(study),
            *trust(study, luck),
            *all_trials(study, facts),
        ]
    parts += _set_up(study)
    return write_page(out, f"Study {study.name}", parts)


def _head(study: StudyRecord, facts: StudyFacts, luck: BestByLuck | None) -> Iterator[Part]:
    yield tag("p", f"Study {study.name}", class_="eyebrow")
    yield tag("h1", study.config.study.question or f"What did the study {study.name} find?")
    yield tag("p", _lead(study, facts), class_="lead")
    if study.stop_reason:
        yield tag("p", f"The study has stopped: {study.stop_reason}", class_="warning")
    yield stats(_stats(study, facts, luck))
    if facts.counts:
        yield outcome_bar(facts.counts)


def _lead(study: StudyRecord, facts: StudyFacts) -> str:
    label = search_figures.objective_label(study)
    if facts.best is not None:
        value = plus_minus(facts.best.value, facts.standard_error, 3)
        error = " (standard error over days)" if facts.standard_error is not None else ""
        return f"Trial {facts.best.number} leads with a validation {label} of {value}{error}."
    if not study.trials:
        asked = plural(study.target_trials, "trial")
        return (
            f"No trial has begun yet; the study asks for {asked}. Figures appear with the first "
            "finished epoch; write this report again then."
        )
    running = facts.counts.get("RUNNING", 0)
    if running:
        return f"No trial is complete yet; {running} of {len(study.trials)} are running."
    failed = sum(t.outcome is not None and t.outcome.failed for t in study.trials)
    return (
        f"No trial came to a value: {failed} of {plural(len(study.trials), 'trial')} failed. "
        "What happened is listed below."
    )


def _stats(study: StudyRecord, facts: StudyFacts, luck: BestByLuck | None) -> list[Stat]:
    finished = sum(t.state == "finished" for t in study.trials)
    best = facts.best
    error = facts.standard_error
    return [
        Stat(
            f"Best {search_figures.objective_label(study)}",
            number(best.value if best else None, 3),
            f"± {error:.3f} standard error" if error is not None else "standard error not known",
        ),
        Stat(
            "Luck does as well",
            percent(luck.probability if luck else None, 0),
            f"of studies without skill, {luck.choices:.0f} effective choices"
            if luck and luck.probability is not None
            else "needs daily values and something to choose from",
        ),
        Stat("Trials finished", f"{finished}", f"of {study.target_trials} asked for"),
        Stat(
            "Saved by pruning",
            plural(facts.epochs_saved, "epoch"),
            f"about {duration(facts.seconds_saved)} of device time"
            if facts.epochs_saved
            else f"{facts.epochs_run:,} epochs run",
        ),
        Stat(
            "Saved by sharing",
            plural(facts.epochs_shared, "epoch"),
            "trained once by another trial"
            if facts.epochs_shared
            else "no two trials had a phase in common",
        ),
        Stat("Device time", duration(facts.device_seconds or None), "over all trials"),
    ]


def _failures(study: StudyRecord) -> Iterator[Part]:
    failed = [t for t in study.trials if t.outcome is not None and t.outcome.failed]
    if not failed:
        return
    yield tag("h2", f"{plural(len(failed), 'trial')} did not finish")
    head = [("outcome", "t"), ("trials", "t"), ("what to do", "w"), ("latest message", "w")]
    rows = []
    for outcome in Outcome:
        own = [t for t in failed if t.outcome is outcome]
        if own:
            name = joined((dot(outcome.name), status_label(outcome.name)))
            numbers = listing([str(t.number) for t in own])
            rows.append((name, numbers, outcome.value, own[-1].message or ABSENT))
    yield table(head, rows)


def _search(study: StudyRecord) -> Iterator[Part]:
    yield tag("h2", "What the search found")
    yield search_figures.optimisation_history(study)
    importance = parameter_importance(study)
    yield search_figures.importances(study, importance)
    yield search_figures.slices(study, importance)


def _training(study: StudyRecord) -> Iterator[Part]:
    yield tag("h2", "How the trials learned")
    yield learning_figures.learning_curves(study)
    for other in ("sharpe", "rank_ic", "pure_rank_ic"):
        if other != study.config.objective.metric:
            yield learning_figures.learning_curves(study, other)
    yield learning_figures.epochs_and_time(study)


def _days(dates: SplitDates | None) -> Iterator[tuple[str, str]]:
    if dates is not None:
        yield "Trained on", f"{dates.train_first} to {dates.train_last}"
        yield "Chosen by", f"{dates.validation_first} to {dates.validation_last}"
        yield "Test range", f"{dates.test_first} to {dates.test_last}; what follows is live"


def _set_up(study: StudyRecord) -> Iterator[Part]:
    config = study.config
    phases = listing([f"{phase_label(n)} {p.epochs}" for n, p in config.phases.in_order])
    rows = [
        ("Started", f"{study.created_at:%Y-%m-%d %H:%M %Z}"),
        ("Panel", study.panel),
        *_days(config.split.dates),
        ("Horizons", f"{listing([str(h) for h in config.data.horizons_days])} days, "
                     f"traded with a delay of {plural(config.data.delay_days, 'day')}"),
        ("Cost", f"{config.portfolio.cost_bps:g} bps of Σ|Δw|, sizing {config.portfolio.sizing}"),
        ("Epochs by phase", phases),
        ("Objective", f"{search_figures.objective_label(study)}, mean of "
                      f"{plural(config.objective.smoothing_epochs, 'epoch')}"),
        ("Sampler", f"{config.search.sampler.kind}, seed {config.search.sampler.seed}"),
        ("Pruner", config.search.pruner.kind),
        ("Parameters searched", str(len(config.search.space))),
    ]  # fmt: skip
    yield tag("h2", "Set-up")
    yield table([("", "t"), ("", "w")], rows)
