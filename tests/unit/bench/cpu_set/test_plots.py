"""Figures are drawn, and failures said."""

import dataclasses

from bench.cpu_set.parts import Outcome
from bench.cpu_set.plots import plates


def test_figures_and_failures_are_drawn(outcomes: dict[str, Outcome]) -> None:
    whole = plates(outcomes)
    assert all(plate.figure is not None for plate in whole)
    error = "ended by signal 9"
    outcomes["step"] = dataclasses.replace(outcomes["step"], result=None, error=error)
    fewer = plates(outcomes)
    assert len(fewer) == len(whole) - 1  # speed and memory are one notice
    assert fewer[0].figure is None
    assert fewer[0].note == f"failed: {error}"
