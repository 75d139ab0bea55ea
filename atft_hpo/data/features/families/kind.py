"""What a feature is: a kind (a named formula) at one window, within a family.

A family is a list of kinds; `order_of_family` and `interleave` put their features in the one
documented order, in which any beginning of the list has every family in proportion and, within a
family, every kind before the second window of any.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from atft_hpo.data.features.families.price_history import History
from atft_hpo.data.features.families.trailing import Array

Compute = Callable[[History, int], Array]


@dataclass(frozen=True)
class Kind:
    """A formula over trailing windows."""

    name: str
    formula: str
    """Words and symbols; `{w}` stands for the window, see the legend in docs/features.md."""
    compute: Compute
    """(history, w) → [N, T]."""
    least: int = 1
    """Shortest window that makes sense, in days."""
    most: int | None = None
    """Longest window that makes sense, in days."""
    fixed: tuple[int, ...] | None = None
    """These windows instead of the configured ones; () = no window at all."""
    needs_sector: bool = False
    """Only with a sector column."""
    ranked: bool = False
    """The feature is the rank of `compute` among the day's universe, instead of its value."""

    def windows(self, configured: Sequence[int]) -> tuple[int, ...]:
        """The windows this kind is built for, ascending; (0,) for a kind without window."""
        if self.fixed is not None:
            return self.fixed or (0,)
        most = max(configured, default=0) if self.most is None else self.most
        return tuple(sorted({w for w in configured if self.least <= w <= most}))


@dataclass(frozen=True)
class Feature:
    """One column."""

    family: str
    kind: Kind
    window: int
    """Rows; 0 for a kind without window."""

    @property
    def name(self) -> str:
        """`<family>__<kind>`, with the window where there is one."""
        suffix = f"_{self.window}d" if self.window else ""
        return f"{self.family}__{self.kind.name}{suffix}"

    @property
    def formula(self) -> str:
        """The formula at this window."""
        return self.kind.formula.format(w=self.window)

    def compute(self, history: History) -> Array:
        """[N, T] values; NaN where the window is not full."""
        return self.kind.compute(history, self.window)


def order_of_family(family: str, kinds: Sequence[Kind], configured: Sequence[int]) -> list[Feature]:
    """All kinds at one window each, then all at a second, …; windows spread from the middle."""
    spreads = [(kind, _spread(kind.windows(configured))) for kind in kinds]
    rounds = max((len(windows) for _, windows in spreads), default=0)
    return [
        Feature(family, kind, windows[i])
        for i in range(rounds)
        for kind, windows in spreads
        if i < len(windows)
    ]


def interleave(families: Sequence[Sequence[Feature]]) -> list[Feature]:
    """Families merged in proportion to their sizes; each keeps its own order."""
    placed = [
        ((i + 0.5) / len(family), number, feature)
        for number, family in enumerate(families)
        for i, feature in enumerate(family)
    ]
    return [feature for *_, feature in sorted(placed, key=lambda p: p[:2])]


def _spread(windows: tuple[int, ...]) -> list[int]:
    """The middle one, then the middles of what is left of either side, and so on."""
    return [windows[i] for i in _middles(len(windows))]


def _middles(count: int) -> Iterator[int]:
    spans = [(0, count)]
    while spans:
        low, high = spans.pop(0)
        if low < high:
            middle = (low + high) // 2
            yield middle
            spans += [(low, middle), (middle + 1, high)]
