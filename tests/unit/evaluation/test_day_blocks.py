"""Blocks of days cover the range; threads change no order and hide no error."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from atft_hpo.evaluation.day_blocks import DAYS_AT_ONCE, MOST_THREADS, day_blocks, in_threads


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many for torch meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("days", [0, 1, DAYS_AT_ONCE, 3 * DAYS_AT_ONCE + 5])
def test_each_day_is_in_one_block(days: int) -> None:
    parts = [np.arange(days)[block] for block in day_blocks(days)]
    assert np.concatenate([[], *parts]).tolist() == list(range(days))
    assert all(0 < len(part) <= DAYS_AT_ONCE for part in parts)


def test_results_are_in_order(threads: int) -> None:
    assert in_threads(lambda x: x * x, range(50)) == [x * x for x in range(50)]


def test_as_many_work_at_once_as_torch_may_use(threads: int) -> None:
    together = threading.Barrier(threads)

    def meet(_: int) -> int:
        return together.wait(timeout=30)

    assert sorted(in_threads(meet, range(threads))) == list(range(threads))


def test_no_more_than_the_most_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 50)
    found = in_threads(lambda _: threading.get_ident(), range(200))
    assert len(set(found)) <= MOST_THREADS


def test_an_error_is_raised(threads: int) -> None:
    def fail(x: int) -> None:
        raise ValueError(f"day {x}")

    with pytest.raises(ValueError, match="day 0"):
        in_threads(fail, range(3))
