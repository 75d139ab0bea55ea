"""Estimators by hand, and that the comparison shows what it is there to show."""

import numpy as np
import pytest

from bench.mean_error.__main__ import main, rates
from bench.mean_error.estimators import ESTIMATORS, hansen_hodrick, newey_west
from bench.mean_error.processes import PROCESSES, overlapped

FOUR = np.array([[1.0, 2.0, 4.0, 3.0]])


def test_newey_west_and_hansen_hodrick_by_hand() -> None:
    c = FOUR[0] - 2.5
    bartlett = (c @ c + 2 * 0.5 * (c[1:] @ c[:-1])) / 4
    assert newey_west(FOUR, 1) == pytest.approx(2.5 / np.sqrt(bartlett / 4))
    uniform = (c @ c + 2 * (c[1:] @ c[:-1])) / 4
    assert hansen_hodrick(FOUR, 2) == pytest.approx(2.5 / np.sqrt(uniform / 4))


def test_newey_west_is_too_sure_under_overlap_and_ours_is_not() -> None:
    theirs, ours = (rates(overlapped, ESTIMATORS[name], 1000, 448, 20, 0.0)[0]
                    for name in ("Newey-West", "ours"))  # fmt: skip
    assert theirs > 0.1
    assert ours < 0.06


@pytest.mark.parametrize("name", PROCESSES)
def test_processes_have_mean_0_and_share_days_with_the_next(name: str) -> None:
    values_RD = PROCESSES[name](np.random.default_rng(0), 2000, 60, 5, 0.5)
    assert values_RD.shape == (2000, 60)
    error = values_RD.mean(axis=1).std() / np.sqrt(2000)
    assert abs(values_RD.mean()) < 4 * error
    assert np.corrcoef(values_RD[:, 0], values_RD[:, 1])[0, 1] > 0.3


def test_the_table_has_a_row_per_estimator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["mean_error", "--replications", "20", "--days", "60"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 4 * len(ESTIMATORS)
