"""The errors: one tree, distinct exit codes per branch, and nothing but the text in them."""

import inspect

import pytest

from atft_hpo import errors
from atft_hpo.errors import AtftHpoError, DataError, TrainingError

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, AtftHpoError)
]
BRANCHES = [kind for kind in ALL if kind.__base__ is AtftHpoError]


def test_every_error_belongs_to_the_tree() -> None:
    raised = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert raised == ALL
    assert len(BRANCHES) == (errors.__doc__ or "").count("\n    ├─") + 1  # the last is └─


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_text_is_the_message(kind: type[AtftHpoError]) -> None:
    assert str(kind("x is 3; expected 4: do this")) == "x is 3; expected 4: do this"
    assert kind.__doc__
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_tree_in_the_docstring_shows_the_exit_code(kind: type[AtftHpoError]) -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in line]
    assert len(lines) == 1
    assert lines[0].split(kind.__name__)[1].split()[0] == str(kind.exit_code)


def test_branches_have_their_own_exit_codes() -> None:
    codes = [kind.exit_code for kind in [AtftHpoError, *BRANCHES]]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes


def test_leaves_share_the_code_of_their_branch() -> None:
    assert errors.PanelStoreError.exit_code == DataError.exit_code
    assert errors.NonFiniteError.exit_code == TrainingError.exit_code
    assert errors.HealthGateError.exit_code == TrainingError.exit_code
