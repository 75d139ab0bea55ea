"""Marks are noted around the functions of a trial, which do what they did."""

from bench.search import startup_trial


def test_marks_are_noted_around_a_call_that_does_what_it_did() -> None:
    class Owner:
        @staticmethod
        def double(number: int) -> int:
            return 2 * number

    marks: dict[str, float] = {}
    ended: list[bool] = []
    startup_trial._wrap(Owner, "double", marks, "before", "after", lambda: ended.append(True))
    assert Owner.double(21) == 42
    assert marks["before"] <= marks["after"]
    assert ended == [True]
