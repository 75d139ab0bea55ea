"""Which errors of the driver are waited out."""

import psycopg2
import pytest
from sqlalchemy.exc import DatabaseError, OperationalError, ProgrammingError

from atft_hpo.service.database.retry import patiently

URL = "postgresql+psycopg2://host/base"
LOST = DatabaseError("SELECT 1", {}, psycopg2.DatabaseError("no message from the libpq"))
CLOSED = OperationalError("SELECT 1", {}, psycopg2.OperationalError("server closed"))
WRONG = ProgrammingError("SELEC 1", {}, psycopg2.ProgrammingError("syntax error"))


def failing_once(error: Exception) -> tuple[list[int], object]:
    """An action that raises `error` at its first call, and its calls."""
    calls: list[int] = []

    def action() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return "answer"

    return calls, action


@pytest.mark.parametrize("error", [LOST, CLOSED], ids=["lost in an answer", "closed"])
def test_a_lost_connection_is_tried_again(error: Exception) -> None:
    calls, action = failing_once(error)
    assert patiently(action, URL, 5.0) == "answer"  # type: ignore[arg-type]
    assert len(calls) == 2


def test_a_wrong_statement_is_an_error_at_once() -> None:
    calls, action = failing_once(WRONG)
    with pytest.raises(ProgrammingError):
        patiently(action, URL, 5.0)  # type: ignore[arg-type]
    assert len(calls) == 1
