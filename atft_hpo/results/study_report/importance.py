"""How much each searched parameter mattered, from a study's records (PED-ANOVA).

    importance = parameter_importance(study)      # {"optim.lr_scale": .6, …} or None

Watanabe, Bansal & Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
Arbitrary Subspaces" (IJCAI 2023), as Optuna computes it, on an in-memory study made from the
records. Only COMPLETE trials count; correlated parameters share their importance arbitrarily.
"""

import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import Choices, Domain, FloatRange
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord, TrialRecord
from atft_hpo.search.space import decode

LEAST_TRIALS = 8
"""Complete trials below which an importance would be noise."""
TOP_TRIALS = 5
"""Trials that count as good: PED-ANOVA wants at least so many."""


def parameter_importance(study: StudyRecord) -> dict[str, float] | None:
    """Share of each parameter, descending, summing to 1; None with too few complete trials."""
    space = {key: _distribution(domain) for key, domain in study.config.search.space.items()}
    complete = [t for t in study.trials if t.outcome is Outcome.COMPLETE]
    trials = [f for t in complete if (f := _frozen(t, space, study.config))]
    if not space or len(trials) < LEAST_TRIALS:
        return None
    top = min(max(0.1, TOP_TRIALS / len(trials)), 0.5)
    memory = _study_in_memory()
    memory.add_trials(trials)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=top)
    found = get_param_importances(memory, evaluator=evaluator)
    return dict(sorted(found.items(), key=lambda item: -item[1])) if sum(found.values()) else None


def _study_in_memory() -> optuna.Study:
    """A study that announces itself to nobody."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.InMemoryStorage()
        return optuna.create_study(direction="maximize", storage=storage)
    finally:
        optuna.logging.set_verbosity(before)


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choices):
        return CategoricalDistribution([_choice(c) for c in domain.choices])
    kind = FloatDistribution if isinstance(domain, FloatRange) else IntDistribution
    keys = {"low", "high", "log"} | ({"step"} if not domain.log else set())
    return kind(**domain.model_dump(include=keys))


def _choice(value: Any) -> str:
    """Lists are no categories to Optuna; text is. JSON makes tuples and lists equal."""
    return json.dumps(value)


def _frozen(
    trial: TrialRecord, space: Mapping[str, BaseDistribution], config: Config
) -> optuna.trial.FrozenTrial | None:
    """The record as Optuna's trial; None when a value is missing or not in the space."""
    params = {}
    for key, value in decode(config, trial.params).items():
        kind = space.get(key)
        stored = _choice(value) if isinstance(kind, CategoricalDistribution) else value
        if kind is not None and _holds(kind, stored):
            params[key] = stored
    if params.keys() != space.keys():
        return None
    return optuna.trial.create_trial(params=params, distributions=dict(space), value=trial.value)


def _holds(kind: BaseDistribution, value: Any) -> bool:
    if isinstance(kind, CategoricalDistribution):
        return value in kind.choices
    assert isinstance(kind, FloatDistribution | IntDistribution)
    return bool(kind.low <= value <= kind.high)
