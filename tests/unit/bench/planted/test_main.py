"""What the program refuses."""

import pytest
import typer

from bench.planted import __main__ as planted


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="no_gat: expected some of full"):
        planted._chosen("full,no_gat")
