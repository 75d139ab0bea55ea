"""What happens after each epoch of a trial: recorded, reported to Optuna, judged.

The record is ours and comes first, under the fencing token; Optuna gets the smoothed objective for
its samplers, stock pruners and dashboard, and never hears a step twice. The phase-aware pruner
reads what is new of the peers' daily series (`peers`). All of it happens in the transaction of the
record: nobody takes the slot meanwhile, and its commit waits until the disk has the report as well.
"""

import math
from collections.abc import Mapping, Sequence

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial
from sqlalchemy import Connection

from atft_hpo.search.pruner import (
    Verdict,
    compared_series,
    decide,
    exemption,
    optuna_pruner,
)
from atft_hpo.search.records import EpochRecord, EpochSeries
from atft_hpo.service.assignment import Assignment
from atft_hpo.service.epochs import Standing, epoch_row, read_epochs, write_epoch
from atft_hpo.service.lines import epoch_line
from atft_hpo.service.peers import Peers
from atft_hpo.service.storage import Database
from atft_hpo.service.study import optuna_study
from atft_hpo.training.report import Decision, EpochReport

_Rivals = Mapping[int, Sequence[EpochSeries]]
"""Epochs of the trial's peers, by trial number."""


class EpochReporter:
    """`on_epoch` for `run_phases`. Afterwards `reason` says why it did not answer CONTINUE."""

    def __init__(self, database: Database, assignment: Assignment) -> None:
        self.reason = ""
        self.lease_lost = False
        self._database = database
        self._assignment = assignment
        self._search = assignment.study.config.search
        self._study = optuna_study(
            database, assignment.study.name, pruner=optuna_pruner(self._search.pruner)
        )
        self._reported = set[int]()
        self._own = dict[int, EpochRecord | EpochReport]()
        if assignment.attempt > 1:
            self._reported |= set(database.patiently(self._frozen).intermediate_values)
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
        standing, rivals = self._record(report)
        if standing is not Standing.HOLDS:
            self.lease_lost = standing is Standing.LOST
            return self._answer(Decision.CANCEL, standing.value)
        try:
            verdict = self._judge(report, rivals)
        except UpdateFinishedTrialError:  # halving and Hyperband leave notes with the trial
            return self._answer(Decision.CANCEL, Standing.ENDED.value)
        if verdict.prune:
            return self._answer(Decision.PRUNE, verdict.reason)
        return Decision.CONTINUE

    def _record(self, report: EpochReport) -> tuple[Standing, _Rivals]:
        its = self._assignment
        row = epoch_row(its.lease, its.number, its.attempt, report)

        def work(connection: Connection) -> tuple[Standing, _Rivals]:
            standing = write_epoch(connection, row)
            if standing is not Standing.HOLDS:
                return standing, {}
            rivals = self._rivals(connection, report)
            try:
                self._report(report)
            except UpdateFinishedTrialError:
                return Standing.ENDED, {}
            return standing, rivals

        answer = self._database.run(work)
        self._reported.add(report.step)
        return answer

    def _rivals(self, connection: Connection, report: EpochReport) -> _Rivals:
        """What the phase-aware pruner compares with; nothing at an epoch it does not judge."""
        pruner = self._search.pruner
        if pruner.kind != "phase_aware" or exemption(report, pruner):
            return {}
        first = report.step - min(report.epoch, pruner.window_epochs - 1)
        steps = [step for step in self._steps(report) if step >= first]
        return self._peers.read(connection, steps, report.daily.dates)

    def _steps(self, report: EpochReport) -> list[int]:
        return [step for step in sorted(self._own) if step <= report.step]

    def _answer(self, decision: Decision, reason: str) -> Decision:
        self.reason = reason
        print(f"{decision.value}: {reason}", flush=True)
        return decision

    def _report(self, report: EpochReport) -> None:
        """Done twice, when the record's commit broke, it replaces the value by itself."""
        if report.step not in self._reported and math.isfinite(report.smoothed):
            self._database.optuna_storage.set_trial_intermediate_value(
                self._assignment.trial_id, report.step, report.smoothed
            )

    def _frozen(self) -> FrozenTrial:
        return self._database.optuna_storage.get_trial(self._assignment.trial_id)

    def _judge(self, report: EpochReport, rivals: _Rivals) -> Verdict:
        pruner, objective = self._search.pruner, self._assignment.study.config.objective
        if pruner.kind == "none":
            return Verdict(False, "no pruner")
        if pruner.kind != "phase_aware":
            prune = self._database.patiently(
                lambda: self._study.pruner.prune(self._study, self._frozen())
            )
            return Verdict(prune, f"{pruner.kind} pruner at step {report.step}")
        return decide([self._own[s] for s in self._steps(report)], rivals, pruner, objective)
