from pathlib import Path

import pytest

from atft_hpo.service.process.exit_codes import describe_death, kernel_memory_kills


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "killed by SIGKILL (out of memory on this machine?)"),
        (-11, "killed by SIGSEGV"),
        (1, "exit code 1"),
    ],
)
def test_says_how_and_the_last_line(tmp_path: Path, code: int, words: str) -> None:
    log = tmp_path / "log.txt"
    assert describe_death(code, log) == words
    log.write_text("first\nValueError: the end\n\n")
    assert describe_death(code, log) == f"{words}; its last words: ValueError: the end"


def test_long_or_strange_logs_do_no_harm(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"\xff\xfe" * 10_000)
    assert len(describe_death(1, log)) < 300


def test_the_kernels_count_of_kills(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    monkeypatch.setattr("atft_hpo.service.process.exit_codes.VMSTAT", counters)
    assert kernel_memory_kills() == 0, "not on Linux"
    counters.write_text("nr_free_pages 12\noom_kill 3\noom_kill_other 5\n")
    assert kernel_memory_kills() == 3
    counters.write_text("nr_free_pages 12\n")
    assert kernel_memory_kills() == 0
