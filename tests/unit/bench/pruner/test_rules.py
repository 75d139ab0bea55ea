"""The pruners compared."""

from atft_hpo.config.search_schema import PrunerConfig
from bench.pruner.rules import phase_aware_name, rules


def test_the_default_pruner_is_one_of_those_compared() -> None:
    assert phase_aware_name(PrunerConfig()) in rules()
