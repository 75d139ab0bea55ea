"""Work that runs have in common is done once, and taken over by the others.

    shared = SharedStates(volume.states, {"trees", "baseline", "adaptive_norm"})
    run_phases(config, panel, paths, device, on_epoch, shared=shared)

The state at the end of a phase (what last.pt holds), and the trees below the net, are kept under
the hash of everything that shaped them (`identity`). A run that would do the same again goes on
from there, on a CPU with bitwise the same result as if it had. Of several that would do it at the
same time one does, the others wait for it; its lock is the operating system's, so that it ends with
its process. The directory may be removed whenever nothing runs.
"""

import itertools
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from atft_hpo.errors import CheckpointError
from atft_hpo.model.forest import Stack
from atft_hpo.training.phases.epoch_report import Decision, EpochReport
from atft_hpo.training.phases.phase_table import Phase
from atft_hpo.training.state.checkpoint import load_checkpoint, save_checkpoint
from atft_hpo.training.state.identity import TREES, phase_key, trees_key
from atft_hpo.training.state.run_state import RunState

_POLL_SECONDS = 0.2


class SharedStates:
    """The states kept in one directory, and the locks of those that this run is making."""

    def __init__(self, directory: Path, names: Collection[str]) -> None:
        """`names`: the phases, and `TREES`, whose states are worth keeping."""
        self.names = frozenset(names)
        self._directory = directory
        self._locks: dict[str, FileLock] = {}

    def has(self, key: str) -> bool:
        """Whether a state is kept under `key`, sound or not."""
        return self._path(key).is_file()

    def take(self, key: str, should_stop: Callable[[], Decision]) -> Path | Decision | None:
        """The state kept under `key`, once a run that is making it has finished.

        None: there is none; this run is to make it, and holds the lock until `keep` or `release`.
        A decision: `should_stop` ended the waiting.
        """
        kept = self._path(key)
        kept.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(kept.with_suffix(".lock"))
        while not _is_sound(kept):
            try:
                lock.acquire(blocking=False)
            except Timeout:
                if (decision := should_stop()) is not Decision.CONTINUE:
                    return decision
                time.sleep(_POLL_SECONDS)
                continue
            except (OSError, NotImplementedError):
                return None  # a file system without locks: at worst the work is done twice
            if not _is_sound(kept):  # it may have been finished since
                self._locks[key] = lock
                return None
            lock.release()
        return kept

    def keep(self, key: str, content: dict[str, Any]) -> None:
        """Keep `content` (as of `save_checkpoint`) and let those go on who wait for it.

        Raises:
            VolumeError: the volume is full or cannot be written.
        """
        if not self.has(key):
            save_checkpoint(self._path(key), content)
        if lock := self._locks.pop(key, None):
            lock.release()

    def release(self) -> None:
        """Hold no lock: what this run was to make, it does not."""
        while self._locks:
            self._locks.popitem()[1].release()

    def _path(self, key: str) -> Path:
        return self._directory / f"{key[:32]}.pt"


class Sharing:
    """What one run takes over from others, and makes for them. Without a store it does it all."""

    def __init__(
        self, run: RunState, store: SharedStates | None, should_stop: Callable[[], Decision]
    ) -> None:
        self._run, self._store, self._should_stop = run, store, should_stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store:
            self._store.release()

    def begin(self, phase: Phase) -> list[EpochReport] | Decision | None:
        """Take over `phase`, with those after it that are kept: the epochs taken over.

        None: this run is to train the phase; its trees are there. A decision: `should_stop`'s.
        """
        if self._store is None or phase.name not in self._store.names:
            return self._trees()
        for last in reversed(self._stretch(phase, self._store)):
            key = self._key(last)
            if last is not phase and not self._store.has(key):
                continue
            kept = self._store.take(key, self._should_stop)
            if isinstance(kept, Decision):
                return kept
            if kept is not None:
                return self._run.take_over(kept)
            if last is not phase:  # it was damaged, and this run is not there yet
                self._store.release()
        return self._trees()

    def keep(self, phase: Phase) -> None:
        """Keep the state after an epoch for others, if `phase` is over and they may want it."""
        if self._store and phase.name in self._store.names and self._run.is_over(phase):
            self._store.keep(self._key(phase), self._run.content())

    def _stretch(self, first: Phase, store: SharedStates) -> list[Phase]:
        ahead = [phase for phase in self._run.phases if phase.number >= first.number]
        return list(itertools.takewhile(lambda phase: phase.name in store.names, ahead))

    def _key(self, last: Phase) -> str:
        names = [phase.name for phase in self._run.phases if phase.number <= last.number]
        return phase_key(self._run.config, self._run.panel, names)

    def _trees(self) -> Decision | None:
        """See to it that the run has its trees."""
        run, store = self._run, self._store
        if not run.needs_trees:
            return None
        if store is None or TREES not in store.names:
            return _fit_trees(run, self._should_stop)
        key = trees_key(run.config, run.panel)
        kept = store.take(key, self._should_stop)
        if isinstance(kept, Decision):
            return kept
        if kept is not None:
            run.use(Stack.from_content(load_checkpoint(kept)["stack"]))
            return None
        decision = _fit_trees(run, self._should_stop)
        if run.stack is not None:
            store.keep(key, {"stack": run.stack.content()})
        return decision


class _StoppedError(Exception):
    """Leaves a fit between two trees."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision


def _fit_trees(run: RunState, should_stop: Callable[[], Decision]) -> Decision | None:
    def ask() -> None:
        if (decision := should_stop()) is not Decision.CONTINUE:
            raise _StoppedError(decision)

    try:
        run.fit_trees(ask)
    except _StoppedError as stopped:
        return stopped.decision
    return None


def _is_sound(kept: Path) -> bool:
    """Whether it is there and undamaged; a damaged one is made again, over it."""
    if not kept.is_file():
        return False
    try:
        load_checkpoint(kept)
    except CheckpointError as error:
        print(f"{error}; it is made again", flush=True)
        kept.unlink(missing_ok=True)
        return False
    return True
