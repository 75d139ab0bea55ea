"""The search space: checked against the schema, suggested by Optuna, applied to the base.

    check_space(config)                      # once, before a study is created
    params = suggest(trial, config)          # {"model.dropout": 0.2, "model.gat.heads": [4, 2]}
    trial_config = apply(config, params)     # ConfigError when the values exclude each other
    study.enqueue_trial(baseline_params(config))

Optuna stores categorical choices as scalars only; a list is stored as JSON text and decoded here.
Ends and choices are checked one at a time. A pair may still be invalid together; then `apply`
raises and the trial fails with that message.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import optuna

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import Choices, Domain, FloatRange, IntRange
from atft_hpo.config.toml import nearest, section_at, with_values
from atft_hpo.errors import ConfigError

NOT_SEARCHABLE = {
    "study": "it names the study",
    "data": "trials would learn from different panels and could not be compared",
    "split": "trials would be judged on different days and could not be compared",
    "objective": "trials would be judged by different yardsticks",
    "search": "it describes the search itself",
    "budget": "it limits the study, not a trial",
    "runtime": "it changes how a trial computes, not what it learns",
    "provenance": "it records where a configuration comes from",
    "seed": "trials would differ by luck; run the best ones again with other seeds instead",
    "portfolio.cost_bps": "Sharpe ratios net of different costs cannot be compared; "
    "search loss.cost_bps instead",
}
"""Keys and sections that stay the same in all trials of a study, and why."""

_GRID_TOLERANCE = 1e-8


def check_space(config: Config) -> None:
    """Check every key and every end or choice of the search space.

    Raises:
        ConfigError: one line that names each wrong key, type or value.
    """
    space = config.search.space
    problems = [
        f"{key!r}: {problem}"
        for key, domain in space.items()
        for problem in _problems(config, key, domain)
    ]
    if problems:
        raise ConfigError("search.space: " + "; ".join(problems))


def suggest(trial: optuna.trial.BaseTrial, config: Config) -> dict[str, Any]:
    """The trial's values by configuration key, lists decoded."""
    return {key: _suggest(trial, key, domain) for key, domain in config.search.space.items()}


def decode(config: Config, params: Mapping[str, Any]) -> dict[str, Any]:
    """`params` as Optuna stores them, with lists decoded; decoded values stay as they are."""
    space = config.search.space
    return {key: _decoded(space.get(key), value) for key, value in params.items()}


def apply(config: Config, params: Mapping[str, Any]) -> Config:
    """The base configuration with the trial's values; the search space stays in it.

    Raises:
        ConfigError: a key is unknown, or the values exclude each other.
    """
    return with_values(config, decode(config, params)) if params else config


def baseline_params(config: Config) -> dict[str, Any]:
    """The base configuration's own values, as Optuna stores them, for `study.enqueue_trial`.

    A value that its domain does not contain is left out, so that Optuna draws it; see
    `baseline_gaps`.
    """
    found = ((key, domain, _value_at(config, key)) for key, domain in config.search.space.items())
    return {key: _encoded(value) for key, domain, value in found if _contains(domain, value)}


def baseline_gaps(config: Config) -> tuple[str, ...]:
    """One sentence for each value of the base configuration that its domain does not contain."""
    return tuple(
        f"the baseline's {key} = {_value_at(config, key)} is not in its search space; "
        "it is drawn like in any trial"
        for key, domain in config.search.space.items()
        if not _contains(domain, _value_at(config, key))
    )


def space_sha256(config: Config) -> str:
    """Hash of the search space, whatever the order of its keys; a changed space is a new study."""
    tree = {key: domain.model_dump(mode="json") for key, domain in config.search.space.items()}
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def ends(domain: Domain) -> tuple[Any, ...]:
    """Both ends of a range, or every choice (lists for tuples)."""
    if isinstance(domain, Choices):
        return tuple(list(c) if isinstance(c, tuple) else c for c in domain.choices)
    return (domain.low, domain.high)


def _suggest(trial: optuna.trial.BaseTrial, key: str, domain: Domain) -> Any:
    match domain:
        case FloatRange(low=low, high=high, step=step, log=log):
            return trial.suggest_float(key, low, high, step=step, log=log)
        case IntRange(low=low, high=high, step=step, log=log):
            return trial.suggest_int(key, low, high, step=step, log=log)
        case Choices():
            stored = trial.suggest_categorical(key, [_encoded(c) for c in domain.choices])
            return _decoded(domain, stored)


def _problems(config: Config, key: str, domain: Domain) -> Iterator[str]:
    """What is wrong with one entry; the first kind of problem only, since others follow from it."""
    wrong = _wrong_key(key) or _wrong_grid(domain) or _repeated_choice(domain)
    if wrong:
        yield wrong
        return
    for value in ends(domain):
        if wrong := _wrong_value(config, key, value):
            yield wrong


def _wrong_key(key: str) -> str | None:
    for fixed, reason in NOT_SEARCHABLE.items():
        if key == fixed or key.startswith(fixed + "."):
            return f"cannot be searched: {reason}"
    path = tuple(key.split("."))
    for depth, part in enumerate(path):
        section = section_at(path[:depth])
        if section is None:
            return f"{'.'.join(path[:depth])!r} is a value, not a section"
        if part not in section.model_fields:
            return f"unknown key: {nearest(part, list(section.model_fields))}"
    section = section_at(path)
    if section is not None:
        return f"is a section; name one of its keys: {', '.join(section.model_fields)}"
    return None


def _wrong_grid(domain: Domain) -> str | None:
    """Optuna would lower `high` to the grid with no more than a warning."""
    if isinstance(domain, Choices):
        return None
    if not math.isfinite(domain.low) or not math.isfinite(domain.high):
        return f"low = {domain.low}, high = {domain.high}: expected finite ends"
    if domain.step is None:
        return None
    if not 0 < domain.step < math.inf:
        return f"step = {domain.step}: expected a positive number"
    if _on_grid(domain, domain.high):
        return None
    if domain.step > domain.high - domain.low:
        return f"step = {domain.step} is wider than the range"
    last = domain.low + int((domain.high - domain.low) / domain.step) * domain.step
    return f"high = {domain.high} is not low plus a multiple of step; use high = {last:g}"


def _repeated_choice(domain: Domain) -> str | None:
    """Optuna finds a choice by equality: True and 1, or 1 and 1.0, would be one."""
    if not isinstance(domain, Choices):
        return None
    stored = [_encoded(choice) for choice in domain.choices]
    twice = [c for i, c in enumerate(stored) if c in stored[:i]]
    return f"choice {twice[0]!r} equals an earlier one" if twice else None


def _wrong_value(config: Config, key: str, value: Any) -> str | None:
    try:
        read = _value_at(with_values(config, {key: value}), key)
    except ConfigError as error:
        return str(error)
    if read != value or isinstance(read, bool) != isinstance(value, bool):
        return f"{value!r} would be read as {read!r}; give values of the key's own type"
    if isinstance(value, float) and isinstance(read, int):
        return f"{value!r} is real, but the key is an integer; give whole numbers of type int"
    return None


def _contains(domain: Domain, value: Any) -> bool:
    if isinstance(domain, Choices):
        return _encoded(value) in [_encoded(choice) for choice in domain.choices]
    if not isinstance(value, int | float):
        return False
    return domain.low <= value <= domain.high and _on_grid(domain, value)


def _on_grid(domain: FloatRange | IntRange, value: float) -> bool:
    if domain.step is None:
        return True
    steps = (value - domain.low) / domain.step
    return abs(steps - round(steps)) <= _GRID_TOLERANCE


def _encoded(value: Any) -> Any:
    return json.dumps(list(value)) if isinstance(value, list | tuple) else value


def _decoded(domain: Domain | None, value: Any) -> Any:
    if isinstance(domain, Choices) and isinstance(value, str):
        for choice in domain.choices:
            if isinstance(choice, tuple) and _encoded(choice) == value:
                return list(choice)
    return value


def _value_at(config: Config, key: str) -> Any:
    """The value at a dotted key, tuples as lists (the form that choices are applied in)."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return list(value) if isinstance(value, tuple) else value
