"""From a claimed slot to parameters: asks Optuna, or adopts what a dead agent had asked.

Everything happens under the study's ask lock, in this order: ask, mark the Optuna trial with its
slot, record it in the slot's row, suggest, record the parameters in that row and in Optuna's tables
(one transaction, which waits for the disk). Whoever holds the lock therefore knows that a RUNNING
trial no row refers to belongs to an agent that died between two of these steps, and takes it over
instead of asking for one more. So Optuna never counts a trial too many.

The lock also lets each suggestion see the parameters of all trials that run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, select, update

from atft_hpo.errors import StudyError
from atft_hpo.search.samplers import make_sampler
from atft_hpo.search.space import baseline_params, suggest
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.tables import trial_table
from atft_hpo.service.optuna_bridge.batched_storage import OneAsk
from atft_hpo.service.queue.leases import Claim
from atft_hpo.service.studies.study import OpenStudy, optuna_study

SLOT = "slot"
BASELINE = "baseline"


@dataclass(frozen=True)
class Asked:
    """What Optuna answered."""

    trial_id: int
    number: int
    params: dict[str, Any]
    """Searched configuration keys and their values."""


class Asker:
    """Asks for the slots an agent has claimed. Long-lived, so that Optuna's cache stays warm."""

    def __init__(self, database: Database, study: OpenStudy) -> None:
        search = study.config.search
        self._database = database
        self._study = study
        self._storage = OneAsk(database.optuna_storage)
        self._optuna = optuna_study(
            database,
            study.name,
            sampler=make_sampler(search.sampler, search.space),
            storage=cast(BaseStorage, self._storage),
        )

    def ask(self, claim: Claim) -> Asked:
        """The trial of `claim`; a slot that was asked before keeps its trial and parameters.

        Raises:
            StudyError: the lease was lost meanwhile.
        """
        return self._database.patiently(lambda: self._ask(claim))

    def _ask(self, claim: Claim) -> Asked:
        with self._database.ask_lock(self._study.name):
            self._storage.begin()
            trial = self._attach(claim)
            params = suggest(trial, self._study.config)

            def record(connection: Connection) -> None:
                self._record(connection, claim, {"params": params})
                self._storage.write_params(connection, trial._trial_id)

            self._database.run(record)
            return Asked(trial._trial_id, trial.number, params)

    def _attach(self, claim: Claim) -> optuna.Trial:
        if claim.trial_id is not None:
            return optuna.Trial(self._optuna, claim.trial_id)
        trials = self._optuna.get_trials(deepcopy=False)
        orphan = self._orphan(trials, claim.lease.slot)
        if orphan is not None:
            trial = optuna.Trial(self._optuna, orphan._trial_id)
        else:
            self._enqueue_baseline(trials)
            trial = self._optuna.ask()
        trial.set_user_attr(SLOT, claim.lease.slot)
        its = {"trial_id": trial._trial_id, "number": trial.number}
        self._database.run(lambda connection: self._record(connection, claim, its))
        return trial

    def _orphan(self, trials: Sequence[FrozenTrial], slot: int) -> FrozenTrial | None:
        """A RUNNING trial that no other row refers to; one marked with this slot before others.

        This slot's row may refer to it, when the connection broke and all is done again.
        """
        running = [trial for trial in trials if trial.state is TrialState.RUNNING]
        row = trial_table.c
        statement = select(row.trial_id).where(
            row.study == self._study.name,
            row.slot != slot,
            row.trial_id.in_([trial._trial_id for trial in running]),
        )
        known = set(self._database.run_single(lambda c: c.execute(statement).scalars().all()))
        orphans = [trial for trial in running if trial._trial_id not in known]
        return min(orphans, key=lambda t: (t.user_attrs.get(SLOT) != slot, t.number), default=None)

    def _enqueue_baseline(self, trials: Sequence[FrozenTrial]) -> None:
        config = self._study.config
        if not config.search.enqueue_baseline or not config.search.space:
            return
        if not any(trial.user_attrs.get(BASELINE) for trial in trials):
            self._optuna.enqueue_trial(baseline_params(config), user_attrs={BASELINE: True})

    def _record(self, connection: Connection, claim: Claim, values: dict[str, Any]) -> None:
        row, lease = trial_table.c, claim.lease
        statement = (
            update(trial_table)
            .where(row.study == lease.study, row.slot == lease.slot, row.token == lease.token)
            .where(row.state == "running")
            .values(**values)
        )
        if connection.execute(statement).rowcount != 1:
            raise StudyError(f"the lease on slot {lease.slot} was lost while Optuna was asked")
