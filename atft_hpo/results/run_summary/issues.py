"""Rules over a run's records: what a reader should look at before believing its value.

    for issue in find_issues(config, result, usage): print(issue.finding, issue.remedy)

Each rule looks at records only and says its numbers. A rule that finds nothing says nothing; none
of them changes an outcome or a value.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from atft_hpo.config.schema import Config
from atft_hpo.evaluation.paired import paired_difference
from atft_hpo.results.run_epochs import by_phase, gradient_norms, kept_epoch, train_values, values
from atft_hpo.results.run_summary.hardware import HardwareUsage
from atft_hpo.results.wording import metric_label, number, percent, phase_label, plural
from atft_hpo.training.phases.epoch_report import EpochReport, TrainingResult

IC_STD_LIMIT = 0.02
"""Largest standard deviation of IC between the epochs of a phase that passes as calm."""
HIT_RATE_LIMIT = 0.05
"""Largest range of the hit rate over a run."""
SIGNIFICANT_T = 2.0
QUIET_TERM_SHARE = 0.01
"""A weighted loss term below this share of all terms' gradient norms steers nothing."""
LOW_GPU_PERCENT = 30.0
LEAK_RANK_IC = 0.06
LEAK_SHARPE = 2.0
"""Out of reach of daily prices and volume: above these, look for a leak."""

Phases = Sequence[Sequence[EpochReport]]


@dataclass(frozen=True)
class Issue:
    """One thing to look at."""

    finding: str
    """What the records show, with its numbers."""
    remedy: str
    """What to try."""


def find_issues(config: Config, result: TrainingResult, usage: HardwareUsage) -> list[Issue]:
    """Everything the rules find in a run."""
    phases = by_phase(result.history)
    return [
        *_negative_sharpe(phases),
        *_restless_ic(phases),
        *_restless_hit_rate(result.history),
        *_constant_predictions(result.history),
        *_skipped_days(result.history),
        *_lost_between_phases(phases, config),
        *_graph_without_edges(phases),
        *_quiet_terms(phases),
        *_indistinct_from_zero(config, result),
        *_leak_alarm(config, result),
        *_idle_gpu(usage),
    ]


def _negative_sharpe(phases: Phases) -> Iterator[Issue]:
    means = [float(np.mean(v)) for p in phases if (v := values(p, "sharpe"))]
    negative = [m for m in means if m < 0.0]
    if 2 * len(negative) > len(means):
        yield Issue(
            f"The mean Sharpe is negative in {len(negative)} of {plural(len(means), 'phase')} "
            f"(lowest {min(negative):.2f}).",
            "compare sharpe_gross: if that is positive, cost eats the signal; raise the weight of "
            "the turnover term or forecast a longer horizon",
        )


def _restless_ic(phases: Phases) -> Iterator[Issue]:
    for epochs in phases:
        found = values(epochs, "ic")
        if len(found) > 1 and (spread := float(np.std(found, ddof=1))) > IC_STD_LIMIT:
            yield Issue(
                f"IC varies by {spread:.4f} between the {len(found)} epochs of "
                f"{phase_label(epochs[0].phase_name)} (more than {IC_STD_LIMIT:.2f}).",
                "lower the phase's rate, or average weights (optim.ema_decay)",
            )


def _restless_hit_rate(history: Sequence[EpochReport]) -> Iterator[Issue]:
    found = values(history, "hit_rate")
    if found and max(found) - min(found) > HIT_RATE_LIMIT:
        yield Issue(
            f"The hit rate moves between {percent(min(found))} and {percent(max(found))}.",
            "judge by RankIC and its t-statistic; the hit rate of one range of days is coarse",
        )


def _constant_predictions(history: Sequence[EpochReport]) -> Iterator[Issue]:
    """A forecast without spread across stocks: constant scores, or an IC of exactly 0."""
    zero = max(values(history, "ic_zero_share"), default=0.0)
    if zero > 0.0:
        yield Issue(
            f"IC is exactly 0 on up to {percent(zero, 2)} of the days of an epoch.",
            "the forecast takes few distinct values on those days; see the health gate in log.txt",
        )
    epochs = [r for r in history if r.metrics.get("days_constant", 0.0) > 0.0]
    if epochs:
        worst = max(epochs, key=lambda r: r.metrics["days_constant"])
        yield Issue(
            "The forecast had no spread across stocks on up to "
            f"{worst.metrics['days_constant']:.0f} days of an epoch "
            f"({plural(len(epochs), 'epoch')} affected, worst: epoch {worst.epoch + 1} of "
            f"{phase_label(worst.phase_name)}).",
            "the network collapsed to a constant; lower the rate of that phase or its dropout",
        )


def _skipped_days(history: Sequence[EpochReport]) -> Iterator[Issue]:
    skipped = max(values(history, "days_skipped"), default=0.0)
    if skipped > 0.0:
        days = max(values(history, "days"), default=float("nan"))
        yield Issue(
            f"{plural(round(skipped), 'validation day')} had no usable correlation and were left "
            f"out; up to {number(days, 0)} days were scored.",
            "too few stocks with a label, or a constant forecast on those days; "
            "the command `panel describe` shows what the panel holds",
        )


def _lost_between_phases(phases: Phases, config: Config) -> Iterator[Issue]:
    kept = [
        kept_epoch(epochs, getattr(config.phases, epochs[0].phase_name).epochs, config.objective)
        for epochs in phases
    ]
    for earlier, later in pairwise(kept):
        horizon = config.objective.horizon_days
        paired = paired_difference(later.daily.ic, earlier.daily.ic, horizon)
        if later.smoothed < earlier.smoothed and paired and paired.t < -SIGNIFICANT_T:
            yield Issue(
                f"{phase_label(later.phase_name)} lost what {phase_label(earlier.phase_name)} had: "
                f"objective {earlier.smoothed:.4f} → {later.smoothed:.4f}, "
                f"daily IC lower with paired t = {paired.t:.1f}.",
                f"lower phases.{later.phase_name}.lr, or set phases.{later.phase_name}.reload_best",
            )


def _graph_without_edges(phases: Phases) -> Iterator[Issue]:
    for epochs in phases:
        edges = train_values(epochs, "edges")
        if "graph" in epochs[0].modules and edges and not any(edges):
            yield Issue(
                f"Graph attention was on in {phase_label(epochs[0].phase_name)}, "
                f"but all {len(epochs)} epochs had 0 edges.",
                "lower graph.min_correlation or raise graph.neighbours",
            )


def _quiet_terms(phases: Phases) -> Iterator[Issue]:
    for epochs in phases:
        norms = gradient_norms(epochs)
        total = sum(norms.values())
        for term, norm in norms.items():
            if total > 0.0 and norm < QUIET_TERM_SHARE * total:
                yield Issue(
                    f"The {term} term has {percent(norm / total, 2)} of the terms' gradient norm "
                    f"in {phase_label(epochs[0].phase_name)} ({norm:.2e} of {total:.2e}).",
                    f"raise phases.{epochs[0].phase_name}.weights.{term}, or set it to 0",
                )


def _indistinct_from_zero(config: Config, result: TrainingResult) -> Iterator[Issue]:
    """The value itself, and RankIC: a Sharpe ratio has much more noise."""
    for metric in dict.fromkeys((config.objective.metric, "rank_ic")):
        t = result.metrics.get(f"{metric}_t", float("nan"))
        if abs(t) < SIGNIFICANT_T:
            label = metric_label(metric, config.objective.horizon_days)
            found = number(result.metrics.get(metric))
            yield Issue(
                f"The {label} of the best epoch, {found}, is not distinguishable "
                f"from zero (t = {t:.2f}).",
                "more validation days, or replicates with other seeds, before believing the value",
            )


def _leak_alarm(config: Config, result: TrainingResult) -> Iterator[Issue]:
    limits = {"rank_ic": LEAK_RANK_IC, "sharpe": LEAK_SHARPE}
    for metric, limit in limits.items():
        found = result.metrics.get(metric, 0.0)
        if config.data.source != "synthetic" and found > limit:
            yield Issue(
                f"{metric} = {found:.3f} is above {limit}: on daily prices that is a leak alarm, "
                "not a success.",
                "look at the leak alarms of the command `panel describe`; "
                "check data.delay_days and any column computed over the full period",
            )


def _idle_gpu(usage: HardwareUsage) -> Iterator[Issue]:
    if usage.gpu_percent_mean is not None and usage.gpu_percent_mean < LOW_GPU_PERCENT:
        yield Issue(
            f"The GPU was busy {usage.gpu_percent_mean:.0f} % of the time.",
            "raise slices.days or slices.stocks, or run several trials per GPU",
        )
