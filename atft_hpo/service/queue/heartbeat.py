"""Renews an agent's leases from a thread of its own, so that a slow suggestion costs none.

It renews while the process lives. A database that does not answer is asked again at every beat: as
long as nobody can reach it, nobody can take a lease away either.
"""

import threading
from types import TracebackType
from typing import Self

from atft_hpo.errors import StorageError
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.fencing import Lease
from atft_hpo.service.queue.leases import LeaseTimes, Renewal, renew


class LeaseKeeper:
    """Context manager: `hold` and `release` leases; read what the renewals found."""

    def __init__(self, database: Database, times: LeaseTimes) -> None:
        self._database = database
        self._times = times
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._lost: set[Lease] = set()
        self._cancelled: set[Lease] = set()
        self._stop_mode = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def hold(self, lease: Lease) -> None:
        """Renew `lease` from now on."""
        with self._lock:
            self._leases.add(lease)

    def release(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._lock:
            self._leases.discard(lease)
            self._lost.discard(lease)
            self._cancelled.discard(lease)

    def is_lost(self, lease: Lease) -> bool:
        """Somebody else holds its slot by now."""
        with self._lock:
            return lease in self._lost

    def is_cancelled(self, lease: Lease) -> bool:
        """A person wants its trial cancelled."""
        with self._lock:
            return lease in self._cancelled

    @property
    def stop_now(self) -> bool:
        """A person wants everything that runs to be interrupted."""
        with self._lock:
            return self._stop_mode == "now"

    def _beat(self) -> None:
        while not self._ended.wait(self._times.renew):
            with self._lock:
                leases = frozenset(self._leases)
            if not leases:
                continue
            try:
                self._note(leases, renew(self._database, leases, self._times))
            except StorageError:
                continue  # asked again at the next beat; the agent's own work reports it

    def _note(self, leases: frozenset[Lease], found: Renewal) -> None:
        with self._lock:
            still = leases & self._leases
            self._lost |= still - found.held
            self._cancelled |= still & found.cancelled
            self._stop_mode = found.stop_mode
