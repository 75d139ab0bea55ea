"""What several trials of a study can have in common, so that it need be trained only once.

    names = shared_states(config)          # {"trees", "baseline", "adaptive_norm"}

Trials differ in what is searched. As long as no searched key has had a say, they have done the
same; where few values of few keys have, many trials have.
"""

import math

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import Choices, Domain, FloatRange
from atft_hpo.config.toml import with_values
from atft_hpo.search.space import ends
from atft_hpo.training.state.identity import TREES, shaping, trees_shaping


def shared_states(config: Config) -> frozenset[str]:
    """The phases, and `TREES`, at whose end at least two trials are to be expected on average.

    The searched keys that shape such a state have at most half as many combinations of values as
    the study has trials. (A state is some megabytes on disk.)
    """
    most = config.budget.trials / 2
    combinations: dict[str, float] = {}
    for key, domain in config.search.space.items():
        first, *others = (with_values(config, {key: value}) for value in ends(domain))
        for name in _states(config):
            shaped = any(_shape(other, name) != _shape(first, name) for other in others)
            combinations[name] = combinations.get(name, 1.0) * (_values(domain) if shaped else 1.0)
    return frozenset(n for n in _states(config) if combinations.get(n, 1.0) <= most)


def _states(config: Config) -> tuple[str, ...]:
    phases = tuple(name for name, _ in config.phases.in_order)
    return (TREES, *phases) if config.model.trees.rounds else phases


def _shape(config: Config, name: str) -> object:
    if name == TREES:
        return trees_shaping(config)
    names = [phase for phase, _ in config.phases.in_order]
    return shaping(config, names[: names.index(name) + 1] if name in names else names)


def _values(domain: Domain) -> float:
    """How many different values a trial may have."""
    if isinstance(domain, Choices):
        return len(domain.choices)
    if isinstance(domain, FloatRange) and domain.step is None:
        return math.inf
    assert domain.step is not None
    return round((domain.high - domain.low) / domain.step) + 1
