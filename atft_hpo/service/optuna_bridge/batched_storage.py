"""Optuna's storage as a single ask needs it: looked at once, parameters written together.

    storage = OneAsk(database.optuna_storage)
    study = optuna.Study(name, cast(BaseStorage, storage), sampler)
    storage.begin()
    trial = study.ask()
    trial.suggest_float(…)                              # any number of them; nothing is written yet
    database.run(lambda connection: storage.write_params(connection, trial._trial_id))

Optuna looks at the database four times for a suggestion and commits each parameter by itself: for
22 of them half of what an ask takes. Whoever uses this holds the ask lock, so that there is nothing
new to see between two looks but what other trials report.
"""

import copy
from collections.abc import Container
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, text

_PARAMS = text("""
    WITH open AS (
        SELECT trial_id FROM trials
        WHERE trial_id = :trial_id AND state IN ('RUNNING', 'WAITING')
    ), written AS (
        INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
        SELECT trial_id, name, value, distribution
        FROM open CROSS JOIN unnest(
            CAST(:names AS text[]), CAST(:values AS double precision[]),
            CAST(:distributions AS text[])
        ) WITH ORDINALITY AS given (name, value, distribution, place)
        ORDER BY place
        ON CONFLICT (trial_id, param_name) DO NOTHING
    )
    SELECT count(*) FROM open
""")
"""What Optuna's `set_trial_param` writes, in the order in which parameters are read back."""


class OneAsk:
    """Passes everything on to `storage`, but for the methods below."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self.begin()

    def begin(self) -> None:
        """Forget the ask before."""
        self._trials: list[FrozenTrial] | None = None
        self._params: dict[str, tuple[float, BaseDistribution]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials there were when this was called first; one that `ask` makes is not among them.

        No sampler learns from the trial that it is asked for.
        """
        if self._trials is None:
            self._trials = self._storage.get_all_trials(study_id, deepcopy=False)
        found = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """A new trial; one with a template waits, and `ask` must find it."""
        if template_trial is not None:
            self._trials = None
        return self._storage.create_new_trial(study_id, template_trial)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Keep it for `write_params`."""
        self._params[param_name] = (param_value_internal, distribution)

    def write_params(self, connection: Connection, trial_id: int) -> None:
        """Write what was suggested for the trial; those it has already stay as they are.

        Raises:
            UpdateFinishedTrialError: the trial has ended; nothing was written.
        """
        row = {
            "trial_id": trial_id,
            "names": list(self._params),
            "values": [float(value) for value, _ in self._params.values()],
            "distributions": [distribution_to_json(d) for _, d in self._params.values()],
        }
        if connection.execute(_PARAMS, row).scalar_one() == 0:
            raise UpdateFinishedTrialError(f"trial {trial_id} has ended while it was asked for")
