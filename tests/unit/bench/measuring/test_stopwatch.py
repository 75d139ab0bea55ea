"""The stopwatch runs in the functions it is given, and nowhere else."""

import time
from types import ModuleType

import pytest

from bench.measuring.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only element."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def module(clock: list[float]) -> ModuleType:
    """Functions that take two and three seconds, and one that fails after five."""

    def works(seconds: float) -> float:
        clock[0] += seconds
        return seconds

    def fails() -> None:
        clock[0] += 5.0
        raise ZeroDivisionError

    found = ModuleType("found")
    found.__dict__.update(one=lambda: works(2.0), other=lambda: works(3.0), fails=fails)
    return found


def test_a_lap_is_what_the_functions_took_since_the_last(
    module: ModuleType, clock: list[float]
) -> None:
    with Stopwatch(module, "one", "other") as watch:
        assert module.one() == 2.0
        clock[0] += 100.0
        assert module.other() == 3.0
        assert watch.lap() == 5.0
        module.one()
        assert watch.lap() == 2.0
        assert watch.lap() == 0.0


def test_a_function_that_is_not_named_does_not_count(module: ModuleType) -> None:
    with Stopwatch(module, "one") as watch:
        module.other()
        assert watch.lap() == 0.0


def test_the_time_of_an_error_counts_and_the_error_is_raised(module: ModuleType) -> None:
    with Stopwatch(module, "fails") as watch:
        with pytest.raises(ZeroDivisionError):
            module.fails()
        assert watch.lap() == 5.0


def test_afterwards_the_functions_are_as_before(module: ModuleType) -> None:
    before = module.one
    with Stopwatch(module, "one"):
        assert module.one is not before
    assert module.one is before
