"""A probe that says what a test has written down; passes the contract of the real one."""

from collections.abc import Callable

from atft_hpo.service.capacity.density import Layout, Measured, ProbeFailedError


class ToldProbe:
    """A `SideBySide` that answers by layout, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Layout], Measured]) -> None:
        self._answer = answer
        self.asked: list[Layout] = []

    def measure(self, layout: Layout) -> Measured:
        self.asked.append(layout)
        return self._answer(layout)


def on_a_cpu(rate: Callable[[Layout], float]) -> ToldProbe:
    """Says `rate` of each layout."""
    return ToldProbe(lambda layout: Measured(layout, rate(layout)))


def on_a_gpu(
    rates: dict[int, float],
    total_gib: float = 80.0,
    each_gib: float = 4.0,
    context_gib: float = 1.0,
) -> ToldProbe:
    """`rates` by the number of trials, each of which takes `each_gib` and a context."""

    def answer(layout: Layout) -> Measured:
        left = total_gib - layout.trials * (each_gib + context_gib)
        if left < 0.0:
            return Measured(layout, 0.0)
        return Measured(layout, rates[layout.trials], each_gib, left, 60.0)

    return ToldProbe(answer)


def failing(why: str) -> ToldProbe:
    """Measures nothing."""

    def answer(layout: Layout) -> Measured:
        raise ProbeFailedError(why)

    return ToldProbe(answer)
