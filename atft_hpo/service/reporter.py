"""What happens after each epoch of a trial: recorded, reported to Optuna, judged.

The record is ours and comes first, under the fencing token; Optuna gets the smoothed objective for
its samplers, stock pruners and dashboard, and never hears a step twice. The phase-aware pruner
reads what is new of the peers' daily series (`peers`).
"""

import math

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from sqlalchemy import Connection

from atft_hpo.search.pruner import Verdict, decide, optuna_pruner
from atft_hpo.search.records import EpochRecord
from atft_hpo.service.assignment import Assignment
from atft_hpo.service.epochs import Standing, read_epochs, record_epoch
from atft_hpo.service.lines import epoch_line
from atft_hpo.service.peers import Peers
from atft_hpo.service.storage import Database
from atft_hpo.service.study import optuna_study
from atft_hpo.training.report import Decision, EpochReport


class EpochReporter:
    """`on_epoch` for `run_phases`. Afterwards `reason` says why it did not answer CONTINUE."""

    def __init__(self, database: Database, assignment: Assignment) -> None:
        self.reason = ""
        self.lease_lost = False
        self._database = database
        self._assignment = assignment
        self._search = assignment.study.config.search
        study = optuna_study(
            database, assignment.study.name, pruner=optuna_pruner(self._search.pruner)
        )
        self._trial = database.patiently(lambda: optuna.Trial(study, assignment.trial_id))
        its_number = assignment.number
        frozen = database.patiently(lambda: database.optuna_storage.get_trial(assignment.trial_id))
        self._reported = set(frozen.intermediate_values)
        self._own = dict[int, EpochRecord | EpochReport]()
        if assignment.attempt > 1:
            earlier = database.run(lambda c: read_epochs(c, assignment.study.name, its_number))
            self._own |= {epoch.step: epoch for epoch in earlier.get(its_number, ())}
        self._peers = Peers(assignment.study.name, its_number, self._search.pruner.max_peers)

    def on_epoch(self, report: EpochReport) -> Decision:
        """Record, report, judge."""
        its = self._assignment
        print(epoch_line(f"trial {its.number}", report), flush=True)
        standing = record_epoch(self._database, its.lease, its.number, its.attempt, report)
        self._own[report.step] = report
        if standing is not Standing.HOLDS:
            self.lease_lost = standing is Standing.LOST
            return self._answer(Decision.CANCEL, standing.value)
        try:
            self._report(report)
            verdict = self._judge(report)
        except UpdateFinishedTrialError:
            return self._answer(Decision.CANCEL, "ended in Optuna's dashboard while it ran")
        if verdict.prune:
            return self._answer(Decision.PRUNE, verdict.reason)
        return Decision.CONTINUE

    def _answer(self, decision: Decision, reason: str) -> Decision:
        self.reason = reason
        print(f"{decision.value}: {reason}", flush=True)
        return decision

    def _report(self, report: EpochReport) -> None:
        if report.step in self._reported or not math.isfinite(report.smoothed):
            return
        self._database.patiently(lambda: self._trial.report(report.smoothed, report.step))
        self._reported.add(report.step)

    def _judge(self, report: EpochReport) -> Verdict:
        if self._search.pruner.kind == "none":
            return Verdict(False, "no pruner")
        if self._search.pruner.kind != "phase_aware":
            prune = self._database.patiently(self._trial.should_prune)
            return Verdict(prune, f"{self._search.pruner.kind} pruner at step {report.step}")
        return self._database.run(lambda connection: self._compare(connection, report))

    def _compare(self, connection: Connection, report: EpochReport) -> Verdict:
        pruner, objective = self._search.pruner, self._assignment.study.config.objective
        first = report.step - min(report.epoch, pruner.window_epochs - 1)
        own = [epoch for step, epoch in sorted(self._own.items()) if step <= report.step]
        steps = [epoch.step for epoch in own if epoch.step >= first]
        return decide(own, self._peers.read(connection, steps), pruner, objective)
