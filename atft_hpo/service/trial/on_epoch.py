"""What happens after each epoch of a trial: recorded, reported to Optuna, judged.

The record is ours, under the fencing token, and the same statement gives Optuna the smoothed
objective, for its samplers, stock pruners and dashboard. The phase-aware pruner then reads what is
new of the peers' daily series (`peer_series`).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from atft_hpo.results.status_lines import epoch_line
from atft_hpo.search.pruner import (
    Verdict,
    compared_series,
    decide,
    exemption,
    optuna_pruner,
)
from atft_hpo.search.records import EpochRecord, EpochSeries
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.epoch_rows import epoch_row, read_epochs, write_epoch
from atft_hpo.service.database.fencing import TrialStop
from atft_hpo.service.database.peer_series import Peers
from atft_hpo.service.studies.study import optuna_study
from atft_hpo.service.trial.assignment import Assignment
from atft_hpo.training.phases.epoch_report import Decision, EpochReport


class EpochReporter:
    """`on_epoch` for `run_phases`. Afterwards `reason` says why it did not answer CONTINUE."""

    def __init__(self, database: Database, assignment: Assignment) -> None:
        self.reason = ""
        self.lease_lost = False
        self._database = database
        self._assignment = assignment
        self._search = assignment.study.config.search
        self._own = dict[int, EpochRecord | EpochReport]()
        if assignment.attempt > 1:
            its_number = assignment.number
            earlier = database.run(lambda c: read_epochs(c, assignment.study.name, its_number))
            self._own |= {epoch.step: epoch for epoch in earlier.get(its_number, ())}
        series = compared_series(assignment.study.config.objective)
        self._peers = Peers(
            assignment.study.name, assignment.number, self._search.pruner.max_peers, series
        )

    def on_epoch(self, report: EpochReport) -> Decision:
        """Record, report, judge."""
        its = self._assignment
        print(epoch_line(f"trial {its.number}", report), flush=True)
        self._own[report.step] = report
        row = epoch_row(its.lease, its.number, its.attempt, report)
        stop = self._database.run_single(lambda connection: write_epoch(connection, row))
        if stop:
            self.lease_lost = stop is TrialStop.LEASE_LOST
            return self._answer(Decision.CANCEL, stop.value)
        try:
            verdict = self._judge(report)
        except UpdateFinishedTrialError:  # halving and Hyperband leave notes with the trial
            return self._answer(Decision.CANCEL, TrialStop.ENDED.value)
        if verdict.prune:
            return self._answer(Decision.PRUNE, verdict.reason)
        return Decision.CONTINUE

    def _answer(self, decision: Decision, reason: str) -> Decision:
        self.reason = reason
        print(f"{decision.value}: {reason}", flush=True)
        return decision

    def _judge(self, report: EpochReport) -> Verdict:
        pruner, objective = self._search.pruner, self._assignment.study.config.objective
        if pruner.kind == "none":
            return Verdict(False, "no pruner")
        if pruner.kind != "phase_aware":
            prune = self._database.patiently(self._stock_pruner_ends_it)
            return Verdict(prune, f"{pruner.kind} pruner at step {report.step}")
        own = [self._own[step] for step in sorted(self._own) if step <= report.step]
        return decide(own, self._rivals(own, report), pruner, objective)

    def _rivals(
        self, own: Sequence[EpochRecord | EpochReport], report: EpochReport
    ) -> Mapping[int, Sequence[EpochSeries]]:
        """The peers' epochs that are compared; nothing at an epoch that is not judged."""
        pruner = self._search.pruner
        if exemption(report.phase, report.epoch, pruner):
            return {}
        first = report.step - min(report.epoch, pruner.window_epochs - 1)
        steps = [epoch.step for epoch in own if epoch.step >= first]
        return self._database.run_single(
            lambda connection: self._peers.read(connection, steps, report.daily.dates)
        )

    def _stock_pruner_ends_it(self) -> bool:
        trial = self._database.optuna_storage.get_trial(self._assignment.trial_id)
        return self._study.pruner.prune(self._study, trial)

    @cached_property
    def _study(self) -> optuna.Study:
        """Optuna's view, for its own pruners alone."""
        return optuna_study(
            self._database, self._assignment.study.name, pruner=optuna_pruner(self._search.pruner)
        )
