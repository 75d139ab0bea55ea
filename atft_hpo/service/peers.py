"""The daily series of a trial's peers, as its pruner wants them after each epoch.

    peers = Peers(study, number, most=100)
    series = database.run(lambda connection: peers.read(connection, steps))

A series is some kilobytes, and a late trial has thousands of peers with five of them each in its
window. So no more than the newest `most` peers are looked at, and each series is read once.
"""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection, select, tuple_

from atft_hpo.search.records import EpochSeries
from atft_hpo.service.epochs import decode_daily
from atft_hpo.service.tables import epoch_table

_Key = tuple[int, int]
"""Trial number and step."""


class Peers:
    """Reads what the process has not read before; used from one thread."""

    def __init__(self, study: str, number: int, most: int) -> None:
        """`number`: the trial whose peers they are."""
        self._study, self._number, self._most = study, number, most
        self._known: dict[_Key, EpochSeries] = {}

    def read(self, connection: Connection, steps: Sequence[int]) -> dict[int, list[EpochSeries]]:
        """Epochs at `steps` (ascending), by number, of the newest peers that have the last one."""
        numbers = self._numbers(connection, steps[-1])
        wanted = [(number, step) for number in numbers for step in steps]
        known = {key: self._known[key] for key in wanted if key in self._known}
        missing = [key for key in wanted if key not in known]
        self._known = known | dict(self._series(connection, missing))
        return {
            number: [self._known[number, s] for s in steps if (number, s) in self._known]
            for number in numbers
        }

    def _numbers(self, connection: Connection, step: int) -> Sequence[int]:
        row = epoch_table.c
        statement = (
            select(row.number)
            .where(row.study == self._study, row.step == step, row.number != self._number)
            .order_by(row.number.desc())
            .limit(self._most)
        )
        return connection.execute(statement).scalars().all()

    def _series(
        self, connection: Connection, keys: Collection[_Key]
    ) -> Iterable[tuple[_Key, EpochSeries]]:
        if not keys:
            return
        row = epoch_table.c
        statement = select(row.number, row.step, row.daily).where(
            row.study == self._study, tuple_(row.number, row.step).in_(keys)
        )
        for number, step, daily in connection.execute(statement):
            yield (number, step), EpochSeries(step, decode_daily(daily))
