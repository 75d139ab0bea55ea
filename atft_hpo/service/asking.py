"""From a claimed slot to parameters: asks Optuna, or adopts what a dead agent had asked.

Everything happens under the study's ask lock, in this order: ask, mark the Optuna trial with its
slot, record it in the slot's row, suggest, record the parameters. Whoever holds the lock therefore
knows that a RUNNING trial no row refers to belongs to an agent that died between two of these
steps, and takes it over instead of asking for one more. So Optuna never counts a trial too many.

The lock also lets each suggestion see the parameters of all trials that run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, select, update

from atft_hpo.errors import StudyError
from atft_hpo.search.samplers import make_sampler
from atft_hpo.search.space import baseline_params, suggest
from atft_hpo.service.leases import Claim
from atft_hpo.service.storage import Database
from atft_hpo.service.study import OpenStudy, optuna_study
from atft_hpo.service.tables import trial_table

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
        self._optuna = optuna_study(
            database, study.name, sampler=make_sampler(search.sampler, search.space)
        )

    def ask(self, claim: Claim) -> Asked:
        """The trial of `claim`; a slot that was asked before keeps its trial and parameters.

        Raises:
            StudyError: the lease was lost meanwhile.
        """
        return self._database.patiently(lambda: self._ask(claim))

    def _ask(self, claim: Claim) -> Asked:
        with self._database.ask_lock(self._study.name):
            trial = self._attach(claim)
            params = suggest(trial, self._study.config)
            self._record(claim, {"params": params})
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
        self._record(claim, {"trial_id": trial._trial_id, "number": trial.number})
        return trial

    def _orphan(self, trials: Sequence[FrozenTrial], slot: int) -> FrozenTrial | None:
        """A RUNNING trial that no row refers to; one marked with this slot before any other."""
        running = [trial for trial in trials if trial.state is TrialState.RUNNING]
        known = self._database.run(self._known_trials)
        orphans = [trial for trial in running if trial._trial_id not in known]
        return min(orphans, key=lambda t: (t.user_attrs.get(SLOT) != slot, t.number), default=None)

    def _known_trials(self, connection: Connection) -> set[int]:
        statement = select(trial_table.c.trial_id).where(trial_table.c.study == self._study.name)
        return {known for known in connection.execute(statement).scalars() if known is not None}

    def _enqueue_baseline(self, trials: Sequence[FrozenTrial]) -> None:
        config = self._study.config
        if not config.search.enqueue_baseline or not config.search.space:
            return
        if not any(trial.user_attrs.get(BASELINE) for trial in trials):
            self._optuna.enqueue_trial(baseline_params(config), user_attrs={BASELINE: True})

    def _record(self, claim: Claim, values: dict[str, Any]) -> None:
        row, lease = trial_table.c, claim.lease
        statement = (
            update(trial_table)
            .where(row.study == lease.study, row.slot == lease.slot, row.token == lease.token)
            .where(row.state == "running")
            .values(**values)
        )
        changed = self._database.run(lambda connection: connection.execute(statement).rowcount)
        if changed != 1:
            raise StudyError(f"the lease on slot {lease.slot} was lost while Optuna was asked")
