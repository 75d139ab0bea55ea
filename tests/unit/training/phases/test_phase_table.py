"""What comes next, when a phase is over, and scaling of epochs."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import ObjectiveConfig
from atft_hpo.config.training_schema import PHASE_NAMES, PhaseConfig
from atft_hpo.errors import ConfigError
from atft_hpo.training.phases.phase_table import phase_over, phases_of, scaled_to

ConfigOf = Callable[..., Config]


def test_numbers_count_phases_without_epochs_too(config_of: ConfigOf) -> None:
    config = config_of(phases={"adaptive_norm": {"epochs": 0}})
    assert [(p.number, p.name) for p in phases_of(config)] == [
        (0, "baseline"), (2, "gat"), (3, "fine_tuning"), (4, "augmentation"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changes", [{"weights": {"point": 0, "pinball": 0}}, {"horizon_weights": [0.0, 0.0]}]
)
def test_a_phase_without_a_loss_is_an_error(changes: dict[str, Any], config_of: ConfigOf) -> None:
    with pytest.raises(ConfigError, match=r"phases\.baseline\..*weights are all 0"):
        phases_of(config_of(phases={"baseline": changes}))


@pytest.mark.parametrize(
    ("values", "patience", "over"),
    [
        ([1.0, 2.0], 0, False),
        ([1.0] * 6, 0, True),
        ([3.0, 2.0, 1.0], 2, True),
        ([3.0, 2.0], 2, False),
        ([1.0, 2.0, 3.0, 4.0], 1, False),
    ],
)
def test_epochs_and_patience_end_a_phase(values: list[float], patience: int, over: bool) -> None:
    phase = PhaseConfig(epochs=6, lr=1e-3, patience=patience)
    assert phase_over(values, phase, ObjectiveConfig(smoothing_epochs=1)) is over


def test_patience_waits_for_the_first_full_window() -> None:
    phase = PhaseConfig(epochs=9, lr=1e-3, patience=1)
    objective = ObjectiveConfig(smoothing_epochs=3)
    assert not phase_over([9.0, 1.0, 1.0], phase, objective)
    assert phase_over([9.0, 1.0, 1.0, 0.0], phase, objective)


def epochs_of(config: Config) -> dict[str, int]:
    """Epochs by phase."""
    return {phase.name: phase.config.epochs for phase in phases_of(config)}


def test_scaling_keeps_proportions() -> None:
    scaled = epochs_of(scaled_to(Config(), 120))
    assert list(scaled.values()) == [14, 27, 22, 16, 41]
    assert epochs_of(scaled_to(Config(), 44)) == epochs_of(Config())


@given(
    epochs=st.lists(st.integers(0, 40), min_size=5, max_size=5).filter(any),
    target=st.integers(5, 200),
)
@settings(max_examples=40, deadline=None)
def test_scaling_is_exact_and_keeps_every_phase(
    config_of: ConfigOf, epochs: list[int], target: int
) -> None:
    rows = dict(zip(PHASE_NAMES, epochs, strict=True))
    config = config_of(phases={name: {"epochs": count} for name, count in rows.items()})
    scaled = epochs_of(scaled_to(config, target))
    assert sum(scaled.values()) == target
    assert set(scaled) == {name for name, count in rows.items() if count}
    assert min(scaled.values()) >= 1


def test_too_few_epochs_for_the_phases() -> None:
    with pytest.raises(ConfigError, match="--max-epochs 4: 5 phases"):
        scaled_to(Config(), 4)
