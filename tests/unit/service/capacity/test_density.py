"""Which layout is chosen, from what a probe is made to say."""

import pytest
from told_probe import ToldProbe, on_a_cpu, on_a_gpu

from atft_hpo.service.capacity.density import (
    CONTEXT_GIB,
    MARGIN,
    Layout,
    Measured,
    ProbeFailedError,
    cpu_split,
    gpu_density,
    splits,
)


def rates(by_trials: dict[int, float]) -> ToldProbe:
    return on_a_cpu(lambda layout: by_trials[layout.trials])


def one_thread(trials: int) -> int:
    return 1


@pytest.mark.parametrize(
    ("cores", "trials"),
    [(1, [1]), (2, [2, 1]), (6, [6, 3, 1]), (7, [7, 1]), (16, [16, 8, 4, 2, 1]),
     (12, [12, 6, 3, 1])],
)  # fmt: skip
def test_splits_leave_no_core_idle(cores: int, trials: list[int]) -> None:
    found = splits(cores)
    assert [layout.trials for layout in found] == trials
    assert all(layout.trials * layout.threads == cores for layout in found)


def test_the_split_with_the_most_samples_in_total() -> None:
    probe = rates({4: 4000.0, 2: 5000.0, 1: 3000.0})
    chosen = cpu_split(4, probe)
    assert chosen.layout == Layout(2, 2)
    assert probe.asked == splits(4)
    assert chosen.line() == "2 trials × 2 threads: 5,000 samples/s; 4 × 1: 4,000; 1 × 4: 3,000"


def test_a_tie_goes_to_more_trials() -> None:
    assert cpu_split(4, rates({4: 4900.0, 2: 5000.0, 1: 4990.0})).layout == Layout(4, 1)


def test_a_split_that_does_not_fit_is_not_chosen() -> None:
    chosen = cpu_split(2, rates({2: 0.0, 1: 10.0}))
    assert chosen.layout == Layout(1, 2)
    assert "2 × 1: does not fit" in chosen.line()
    with pytest.raises(ProbeFailedError, match="not even one"):
        cpu_split(2, rates({2: 0.0, 1: 0.0}))


def test_a_gpu_takes_trials_while_the_total_rises() -> None:
    probe = on_a_gpu({1: 100.0, 2: 180.0, 3: 230.0, 4: 240.0})
    chosen = gpu_density(lambda trials: 12 // trials, probe)
    assert chosen.layout == Layout(3, 4)
    assert [layout.trials for layout in probe.asked] == [1, 2, 3, 4]
    assert chosen.line() == (
        "3 trials × 4 threads: 230 samples/s, 4.0 GiB each, GPU busy 60 %; "
        "1 × 12: 100; 2 × 6: 180; 4 × 3: 240"
    )


@pytest.mark.parametrize("second", [40.0, 100.0, 109.0])
def test_one_per_gpu_where_a_second_raises_nothing(second: float) -> None:
    probe = on_a_gpu({1: 100.0, 2: second, 3: 1000.0})
    assert gpu_density(one_thread, probe).layout.trials == 1
    assert [layout.trials for layout in probe.asked] == [1, 2], "a third is not tried"


def test_memory_forbids_a_second_before_it_is_tried() -> None:
    each = 10.0
    room = MARGIN * (each + CONTEXT_GIB)
    rising = {1: 100.0, 2: 200.0, 3: 300.0}
    without = on_a_gpu(rising, total_gib=each + CONTEXT_GIB + room - 0.1, each_gib=each)
    assert gpu_density(one_thread, without).layout.trials == 1
    assert len(without.asked) == 1
    with_it = on_a_gpu(rising, total_gib=each + CONTEXT_GIB + room, each_gib=each)
    assert gpu_density(one_thread, with_it).layout.trials == 2


def test_a_second_that_does_not_fit_after_all_is_not_taken() -> None:
    """A trial's memory is not known to the byte before it is there."""

    def answer(layout: Layout) -> Measured:
        return Measured(layout, 100.0, 4.0, 60.0) if layout.trials == 1 else Measured(layout, 0.0)

    assert gpu_density(one_thread, ToldProbe(answer)).layout.trials == 1


def test_a_gpu_that_does_not_tell_its_memory_carries_one() -> None:
    probe = rates({1: 100.0, 2: 200.0})
    assert gpu_density(one_thread, probe).layout.trials == 1


def test_not_even_one_fits_the_gpu() -> None:
    with pytest.raises(ProbeFailedError, match="GPU's memory"):
        gpu_density(one_thread, rates({1: 0.0}))
