"""Settings of a study that can have no effect, whatever its trials find.

    for note in void_settings(config): print(note)       # one sentence each: what, why, what to do

A study with such a setting runs, and does not what its author thinks: a pruner that has nothing to
judge lets every trial run to the end, an average over one epoch is no average.
"""

import math
from collections.abc import Iterator

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import Choices, IntRange, PrunerConfig
from atft_hpo.config.training_schema import PHASE_NAMES, default_phase
from atft_hpo.search.pruner import exemption


def void_settings(config: Config) -> tuple[str, ...]:
    """Sentences about a pruner that can never prune, smoothing and patience that do nothing."""
    reason = _never_prunes(config)
    pruning = [f"search.pruner ({config.search.pruner.kind}) can never prune: {reason}"]
    return (*(pruning if reason else []), *_smoothing(config), *_patience(config))


def most_epochs(config: Config, phase: str) -> int:
    """Epochs that a phase takes at most in any trial, its own or the largest searched."""
    domain = config.search.space.get(f"phases.{phase}.epochs")
    if isinstance(domain, IntRange):
        return domain.high
    if isinstance(domain, Choices):
        return max(choice for choice in domain.choices if isinstance(choice, int))
    return int(getattr(config.phases, phase).epochs)


def _planned(config: Config) -> list[tuple[int, int]]:
    """Number and most epochs of each phase that may have any."""
    epochs = {number: most_epochs(config, name) for number, name in enumerate(PHASE_NAMES)}
    return [(number, count) for number, count in epochs.items() if count]


def _never_prunes(config: Config) -> str:
    """Why, and what to change; empty when it can, or is meant not to."""
    pruner, trials = config.search.pruner, config.budget.trials
    if pruner.kind == "none":
        return ""
    return (
        _nothing_to_judge(config)
        or _too_few_peers(pruner.kind, pruner.min_peers, trials)
        or _all_kept(config)
    )


def _nothing_to_judge(config: Config) -> str:
    """Epochs after which an ending spares something: any but a trial's last."""
    pruner = config.search.pruner
    planned = _planned(config)
    last = planned[-1][0]
    sparing = [(n, epoch) for n, count in planned for epoch in range(count - (n == last))]
    if any(_judged(pruner, *epoch) for epoch in sparing):
        return ""
    phases = ", ".join(f"{PHASE_NAMES[number]} {count}" for number, count in planned)
    warmup = f", warmup_epochs = {pruner.warmup_epochs}" if pruner.kind == "phase_aware" else ""
    return (
        f"of the epochs by phase ({phases}), skip_phases = {pruner.skip_phases}{warmup} and a "
        "trial's last epoch leave none to judge; lower them, or give the phases more epochs"
    )


def _judged(pruner: PrunerConfig, phase: int, epoch: int) -> bool:
    """Whether the pruner compares trials there; Optuna's know of no warm-up, two of no phases."""
    if pruner.kind == "phase_aware":
        return not exemption(phase, epoch, pruner)
    return pruner.kind in ("halving", "hyperband") or phase >= pruner.skip_phases


def _too_few_peers(kind: str, needed: int, trials: int) -> str:
    if kind not in ("phase_aware", "median", "percentile") or trials > needed:
        return ""
    return (
        f"min_peers = {needed} of budget.trials = {trials}: no trial ever has so many others; "
        "lower min_peers, or ask for more trials"
    )


def _all_kept(config: Config) -> str:
    """A comparison ends nothing where the better share is everyone."""
    pruner = config.search.pruner
    if pruner.kind not in ("phase_aware", "percentile"):
        return ""
    most = min(config.budget.trials, pruner.max_peers + 1)
    kept = math.ceil(pruner.keep_share * most)
    if kept < most:
        return ""
    return (
        f"keep_share = {pruner.keep_share:g} keeps all of the {most} trials of the largest "
        "comparison; lower it"
    )


def _smoothing(config: Config) -> Iterator[str]:
    """The value is of the last phase reached in full, which the last one is for a whole trial."""
    width = config.objective.smoothing_epochs
    number, epochs = _planned(config)[-1]
    if width <= epochs or width == 1:
        return
    effect = "is void" if epochs == 1 else f"averages {epochs}"
    yield (
        f"objective.smoothing_epochs = {width} {effect}: the last phase, {PHASE_NAMES[number]}, "
        f"takes {epochs} epoch(s); set it to {epochs}, or give the phase more epochs"
    )


def _patience(config: Config) -> Iterator[str]:
    """Patience that cannot end before the phase does, where the file itself asks for it."""
    for number, epochs in _planned(config):
        name = PHASE_NAMES[number]
        patience = getattr(config.phases, name).patience
        asked = patience > 0 and patience != default_phase(name).patience
        window = min(config.objective.smoothing_epochs, epochs)
        if asked and epochs - 1 - window < patience:
            yield (
                f"phases.{name}.patience = {patience} is void: the first value stands after "
                f"{window} of at most {epochs} epochs; lower it, or give the phase more epochs"
            )
