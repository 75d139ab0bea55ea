"""The parts of a report about single trials: the best one, how far to believe it, all of them."""

from collections.abc import Iterator, Sequence

from atft_hpo.results.run_epochs import by_phase, kept_epoch
from atft_hpo.results.study_report import daily_figures
from atft_hpo.results.study_report.best_by_luck import BestByLuck
from atft_hpo.results.study_report.facts import (
    StudyFacts,
    best_epoch,
    phase_epochs,
    status_of,
)
from atft_hpo.results.study_report.page import Markup, absent, dot, joined, table, tag
from atft_hpo.results.study_report.search_figures import objective_label
from atft_hpo.results.study_report.theme import Plate, status_label
from atft_hpo.results.wording import (
    ABSENT,
    duration,
    number,
    parameter,
    percent,
    phase_label,
    plural,
    shortened,
)
from atft_hpo.search.records import StudyRecord, TrialRecord
from atft_hpo.search.space import decode

Part = Markup | Plate
"""What a page is made of."""


def best_trial(study: StudyRecord, facts: StudyFacts) -> Iterator[Part]:
    """The best trial: where it lies, parameters, phases, days."""
    best, kept = facts.best, facts.best_epoch
    if best is None:
        yield tag("h2", "The best trial")
        yield absent("There is no best trial yet.", "It takes one trial that ran all its phases.")
        return
    yield tag("h2", f"The best trial, number {best.number}")
    if best.directory:
        where = joined(("Its checkpoints and logs are in ", tag("code", best.directory), "."))
        yield tag("p", where)
    yield _parameters(study, best)
    yield _phase_table(study, best)
    if kept is None or kept.daily is None:
        yield absent("Its days cannot be drawn.", "No daily series was recorded for its epoch.")
        return
    who = f"Trial {best.number}"
    yield daily_figures.daily_ic(kept.daily, who)
    yield daily_figures.equity(kept.daily, who)
    yield daily_figures.drawdown(kept.daily, who)


def _parameters(study: StudyRecord, trial: TrialRecord) -> Markup:
    params = decode(study.config, trial.params)
    if not params:
        return tag("p", "It searched no parameters: the base configuration as it is.")
    rows = [(tag("code", key), parameter(value)) for key, value in params.items()]
    return joined((tag("h3", "Its parameters"), table([("key", "t"), ("value", "n")], rows)))


def _phase_table(study: StudyRecord, trial: TrialRecord) -> Markup:
    numbers = (
        "rate", "Sharpe, net", "Sharpe, gross", "IC", "RankIC", "RankIC t", "pure RankIC", "pure t",
    )  # fmt: skip
    head = [("phase", "t"), ("epochs", "n"), ("modules on", "t"), *((n, "n") for n in numbers)]
    rows = []
    for epochs in by_phase(trial.epochs):
        name = epochs[0].phase_name
        planned = phase_epochs(trial, study.config, name)
        kept = kept_epoch(epochs, planned, study.config.objective)
        found = kept.metrics.get
        rate = max((e.train.get("lr", 0.0) for e in epochs), default=0.0)
        rows.append(
            (
                phase_label(name),
                f"{len(epochs)} of {planned}",
                ", ".join(kept.modules) or "none",
                f"{rate:.2g}" if rate else ABSENT,
                number(found("sharpe"), 2),
                number(found("sharpe_gross"), 2),
                number(found("ic")),
                number(found("rank_ic")),
                number(found("rank_ic_t"), 2),
                number(found("pure_rank_ic")),
                number(found("pure_rank_ic_t"), 2),
            )
        )
    return joined((tag("h3", "Each phase at the epoch that counts"), table(head, rows)))


def trust(study: StudyRecord, found: BestByLuck | None) -> Iterator[Part]:
    """How much of the best value is luck."""
    yield tag("h2", "How far to believe it")
    if found is None:
        yield absent(
            "Too early to tell skill from luck.",
            "This needs a complete trial with daily values, and an objective that is not a "
            "weighted sum.",
        )
        return
    yield tag("p", _luck_sentence(study, found))
    if found.overfitting is not None:
        yield tag(
            "p",
            "When the validation days are split in half in all ways (CSCV), the trial that is "
            "best in one half lies below the median in the other in "
            f"{percent(found.overfitting, 0)} of the splits. Noise gives about 50 %.",
        )
    yield tag(
        "p",
        "All numbers here are of the validation range, which chose the trial; a search never reads "
        "the test range. The standard error above is of one trial's own days and mostly the "
        "market's, which all trials share: compare trials by paired daily differences, and run "
        "the best ones again with other seeds.",
    )
    if study.test_reads:
        yield tag(
            "p",
            f"The test range of this study has been read {plural(study.test_reads, 'time')}; only "
            "the first look was untouched by any choice.",
        )


def _luck_sentence(study: StudyRecord, found: BestByLuck) -> str:
    if found.luck is None or found.probability is None:
        return "With a single trial and epoch there is no maximum to deflate."
    label = objective_label(study)
    digits = 2 if found.metric == "sharpe" else 4
    sentence = (
        f"The best of {plural(found.trials, 'trial')} (pruned ones included), each at its best "
        f"epochs, is as lucky as the best of about {found.choices:.0f} independent choices. "
        f"Without any skill that would be expected to show a {label} of {found.luck:.{digits}f}; "
        f"the best trial's days have {found.best:.{digits}f}, and luck alone would show as much "
        f"in {percent(found.probability, 0)} of such studies. This is not the probability that "
        "the trial has no skill, which no data of one study can tell."
    )
    if found.deflated is None:
        return sentence
    return (
        f"{sentence} Deflated Sharpe ratio (Bailey and López de Prado 2014): {found.deflated:.2f}, "
        "the probability of a lower Sharpe than the best trial's if the true one were luck's."
    )


def all_trials(study: StudyRecord, facts: StudyFacts) -> Iterator[Part]:
    """The table of all trials, the best set off."""
    yield tag("h2", "All trials")
    names = list(study.config.search.space)
    numbers = (objective_label(study), "RankIC", "pure RankIC", "epochs", "time", *names)
    head = [("trial", "n"), ("outcome", "t"), *((n, "n") for n in numbers), ("message", "t")]
    rows = [_trial_row(study, trial, names) for trial in study.trials]
    best = study.trials.index(facts.best) if facts.best else None
    yield table(head, rows, marked=best)


def _trial_row(study: StudyRecord, trial: TrialRecord, names: Sequence[str]) -> list[str]:
    status, kept = status_of(trial), best_epoch(trial, study.config)
    params = decode(study.config, trial.params)
    planned = trial.epochs[-1].epochs_total if trial.epochs else None
    return [
        str(trial.number),
        joined((dot(status), status_label(status))),
        number(trial.value),
        number(kept.metrics.get("rank_ic") if kept else None),
        number(kept.metrics.get("pure_rank_ic") if kept else None),
        f"{len(trial.epochs)} of {planned}" if planned else ABSENT,
        duration(trial.device_seconds or None),
        *(parameter(params[n]) if n in params else ABSENT for n in names),
        shortened(trial.message) or ABSENT,
    ]
