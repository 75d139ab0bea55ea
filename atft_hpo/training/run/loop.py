"""Training through the phases: phase → epoch → steps → evaluation → checkpoint → report → decision.

    result = run_phases(config, panel, paths, device, on_epoch=lambda report: Decision.CONTINUE)

`on_epoch` hears of every finished epoch and answers whether to go on; `should_stop` is asked
between steps. The loop knows nothing of searches, databases or processes.

After each epoch, in this order: metrics.parquet and daily.parquet, best_main.pt when a phase is
reached in full, last.pt, then `on_epoch`. A process killed between the last two has not reported
its last epoch; so a resumed run begins by reporting that epoch again, and the receiver ignores a
step it already holds. A resumed run writes its own complete set of files.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.store.panel import Panel
from atft_hpo.evaluation.metrics import Evaluation
from atft_hpo.paths import RunPaths
from atft_hpo.training.forecasting.forecast import evaluate_panel
from atft_hpo.training.loss.terms import LossRules
from atft_hpo.training.optim.averaging import Weights, held
from atft_hpo.training.optim.optimizer import forget_frozen
from atft_hpo.training.phases.epoch_report import Decision, Ending, EpochReport, TrainingResult
from atft_hpo.training.phases.objective import epoch_value, smooth
from atft_hpo.training.phases.phase_table import Phase
from atft_hpo.training.run.epoch import EpochFacts, train_epoch
from atft_hpo.training.run.health import check_gradients, check_inputs
from atft_hpo.training.state.checkpoint import save_checkpoint
from atft_hpo.training.state.history import write_tables
from atft_hpo.training.state.reuse import SharedStates, Sharing
from atft_hpo.training.state.run_state import RunState

OnEpoch = Callable[[EpochReport], Decision]
ShouldStop = Callable[[], Decision]
GATE_DAYS = 60
"""Least length of the slice in which the health gate chooses what it looks at."""
_ENDINGS = {
    Decision.CONTINUE: Ending.COMPLETE,
    Decision.PRUNE: Ending.PRUNED,
    Decision.INTERRUPT: Ending.INTERRUPTED,
    Decision.CANCEL: Ending.CANCELLED,
}


def run_phases(
    config: Config,
    panel: Panel,
    paths: RunPaths,
    device: torch.device,
    on_epoch: OnEpoch,
    resume_from: Path | None = None,
    should_stop: ShouldStop = lambda: Decision.CONTINUE,
    shared: SharedStates | None = None,
) -> TrainingResult:
    """Train through all phases of `config`, from the start or from another attempt's last.pt.

    The result's `value` is the mean objective over the best `smoothing_epochs` in a row of the last
    phase reached in full (`phases.objective`); `metrics` and best_main.pt are of the epoch that
    ends them. A phase that its patience ended counts as reached in full. A decision other than
    CANCEL after the very last epoch changes nothing: the run is complete.

    Phases named in `shared` are taken over from a run that has trained just the same, or kept for
    others. `on_epoch` hears of their epochs too, all at once; a PRUNE before the last of them is
    not followed, since the rest costs nothing.

    Raises:
        HealthGateError: the network is dead before epoch 1, or a module when it is switched on.
        NonFiniteError: a loss, a gradient or the objective is NaN or infinite.
        CheckpointError: `resume_from` is damaged, of another panel, or of another configuration of
            phases that have begun.
        VolumeError: the volume is full; what was written before is intact.
    """
    run = RunState.begin(config, panel, device)
    decision = Decision.CONTINUE
    with Sharing(run, shared, should_stop) as sharing:
        if resume_from is not None:
            decision = _resume(run, resume_from, paths, on_epoch)
        for phase, epoch in _epochs_to_run(run):
            if decision is not Decision.CONTINUE:
                break
            if epoch == 0:
                begun = sharing.begin(phase)
                if begun is not None:
                    decision = _taken_over(run, paths, begun, on_epoch)
                    continue
                _enter(run, phase)
            _apply(run, phase)
            started = time.monotonic()
            facts = train_epoch(run, phase, epoch, should_stop)
            if isinstance(facts, Decision):
                decision = facts
                break
            with run.averages.in_place(run.model):
                evaluation = _evaluate(run)
                report = _report(run, phase, facts, evaluation, time.monotonic() - started)
                run.record(phase, report)
            if phase is run.phases[-1]:
                run.averages.after_epoch(run.model)
            _save(run, paths)
            sharing.keep(phase)
            decision = on_epoch(report)
    return _finish(run, paths, decision)


def _epochs_to_run(run: RunState) -> Iterator[tuple[Phase, int]]:
    """Phase and epoch that come next, as long as there are any; reads the history each time."""
    for phase in run.phases:
        while not run.is_over(phase):
            yield phase, len(run.reports_of(phase))


def _enter(run: RunState, phase: Phase) -> None:
    """What happens once, between two phases or before the first."""
    before = set(run.history[-1].modules) if run.history else set()
    if phase.config.reload_best and run.best is not None:
        run.model.load_state_dict(run.best.weights)
        run.averages.restart(run.model)
    _apply(run, phase)
    if run.history and run.model.enabled <= before:
        return
    length = max(run.config.slices.days, GATE_DAYS)
    plan = run.source.whole_slices(run.source.split.train, length)
    batch = run.source.batch(plan[max(0, len(plan) - 2)])
    if not run.history:
        check_inputs(run.model, batch, _families(run.panel))
    check_gradients(run.model, batch, LossRules.of(run.config, phase.config))


def _apply(run: RunState, phase: Phase) -> None:
    """The phase's modules and frozen layers; the same again does nothing."""
    run.model.enable(phase.config.modules)
    run.model.freeze(phase.config.freeze)
    forget_frozen(run.optimizer)


def _evaluate(run: RunState) -> Evaluation:
    days = run.source.split.validation
    return evaluate_panel(
        run.model, run.source, run.panel, days, run.config, run.decompositions, run.yardsticks
    )


def _families(panel: Panel) -> dict[str, list[int]]:
    """Columns by input family."""
    families: dict[str, list[int]] = {}
    for column, spec in enumerate(panel.manifest.features):
        families.setdefault(spec.family, []).append(column)
    return families


def _report(
    run: RunState, phase: Phase, facts: EpochFacts, evaluation: Evaluation, seconds: float
) -> EpochReport:
    value = epoch_value(evaluation.metrics, run.config.objective)
    earlier = run.reports_of(phase)
    left = run.epochs_total - len(run.history) - 1
    return EpochReport(
        phase=phase.number,
        phase_name=phase.name,
        epoch=len(earlier),
        epochs_done=len(run.history) + 1,
        epochs_total=run.epochs_total,
        metrics=evaluation.metrics,
        value=value,
        smoothed=smooth([*(r.value for r in earlier), value], run.config.objective),
        train=facts.train,
        modules=tuple(sorted(run.model.enabled)),
        seconds=seconds,
        validation_seconds=seconds - facts.seconds,
        samples_per_second=facts.samples / facts.seconds,
        eta_seconds=left * (sum(r.seconds for r in earlier) + seconds) / (len(earlier) + 1),
        daily=evaluation.daily,
    )


def _save(run: RunState, paths: RunPaths, first: bool = False) -> None:
    """The files of an epoch; `first`: nothing is in the directory yet."""
    write_tables(paths, run.history)
    best = run.best
    if best is not None and (first or best.phase == run.history[-1].phase):
        content = run.model_content(best.weights, best.modules, best.metrics, best.step)
        save_checkpoint(paths.best, content)
    save_checkpoint(paths.last, run.content())


def _resume(run: RunState, last: Path, paths: RunPaths, on_epoch: OnEpoch) -> Decision:
    """Restore the run, write its files anew, report its last epoch again."""
    run.restore(last)
    _save(run, paths, first=True)
    return on_epoch(run.history[-1])


def _taken_over(
    run: RunState, paths: RunPaths, begun: Decision | list[EpochReport], on_epoch: OnEpoch
) -> Decision:
    """Write the files of the epochs that the run took over, and report each as its own."""
    if isinstance(begun, Decision):
        return begun
    _save(run, paths, first=True)
    decision = Decision.CONTINUE
    for report in begun:
        decision = on_epoch(report)
        if decision not in (Decision.CONTINUE, Decision.PRUNE):
            break
    return decision


def _finish(run: RunState, paths: RunPaths, decision: Decision) -> TrainingResult:
    if run.is_complete and decision is not Decision.CANCEL:
        decision = Decision.CONTINUE
        _save_final(run, paths)
    best = run.best
    return TrainingResult(
        ending=_ENDINGS[decision],
        value=best.value if best else None,
        best_step=best.step if best else None,
        metrics=dict(best.metrics) if best else {},
        epochs_done=len(run.history),
        epochs_total=run.epochs_total,
        seconds=run.seconds,
        history=tuple(run.history),
    )


def _save_final(run: RunState, paths: RunPaths) -> None:
    """final.pt, and swa_main.pt with metrics of its own when there is an average."""
    last = run.history[-1]
    _save_model(run, paths.final, {}, last)
    if average := run.averages.final():
        _save_model(run, paths.swa, average, last)


def _save_model(run: RunState, path: Path, weights: Weights, last: EpochReport) -> None:
    with held(run.model, weights):
        evaluation = _evaluate(run)
        state = {name: value.cpu() for name, value in run.model.state_dict().items()}
        save_checkpoint(path, run.model_content(state, last.modules, evaluation.metrics, last.step))
