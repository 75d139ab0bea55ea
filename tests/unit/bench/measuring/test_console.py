"""A file gets the width that is asked for."""

import pytest

from bench.measuring.console import wide_console


@pytest.mark.parametrize("width", [120, 160])
def test_lines_in_a_file_are_as_long_as_asked(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    wide_console(width).print("word " * 100)
    longest = max(map(len, capsys.readouterr().out.splitlines()))
    assert width - 5 <= longest <= width
