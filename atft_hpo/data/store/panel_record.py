"""What of a panel a checkpoint and a study keep: names of sectors, codes of stocks, features.

    record = PanelRecord.of(panel)
    content = record.model_dump(mode="json")        # into a file or a row, and back:
    PanelRecord.model_validate(content).other_features(later_panel.manifest.features)

Positions in a store change when data are added or a vendor renames something; names do not. So what
was learned by position is found again by name.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from atft_hpo.data.store.panel import FeatureSpec, Panel

_NAMED: Final = 3
"""So many names stand in an error; the rest is counted."""


class PanelRecord(BaseModel):
    """Names by position."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sectors: tuple[str, ...]
    """Names; index 0 is "unknown"."""
    unknown_sector: bool
    """Whether any stock was of unknown sector on a day it was alive: else nothing was learned of
    such stocks."""
    codes: tuple[str, ...]
    """Of the stocks, ascending."""
    features: tuple[FeatureSpec, ...]
    """In the order of the model's inputs."""

    @classmethod
    def of(cls, panel: Panel) -> "PanelRecord":
        """That of `panel`."""
        manifest = panel.manifest
        return cls(
            sectors=manifest.sectors,
            unknown_sector=bool(((panel.sector == 0) & panel.alive).any()),
            codes=manifest.codes,
            features=manifest.features,
        )

    def other_features(self, theirs: tuple[FeatureSpec, ...]) -> str | None:
        """How these features differ, first differences by name; None when they do not."""
        ours = self.features
        if ours == theirs:
            return None
        before = {spec.name: spec for spec in ours}
        after = {spec.name: spec for spec in theirs}
        differences = {
            "without": [name for name in before if name not in after],
            "with": [name for name in after if name not in before],
            "otherwise treated": [
                f"{name} ({_treatment(after[name])}, not {_treatment(before[name])})"
                for name in before.keys() & after.keys()
                if before[name] != after[name]
            ],
        }
        found = [f"{what} {listed(sorted(names))}" for what, names in differences.items() if names]
        return "; ".join(found) or _order(ours, theirs)

    def new_codes(self, theirs: Iterable[str]) -> int:
        """How many stocks are not among `codes`."""
        return len(set(theirs) - set(self.codes))

    def changes(self, later: "PanelRecord") -> list[str]:
        """What has changed by name, in words."""
        sectors = set(self.sectors) ^ set(later.sectors)
        counts = {
            "new": self.new_codes(later.codes),
            "gone": later.new_codes(self.codes),
        }
        found = [f"stocks {what}: {count:,}" for what, count in counts.items() if count]
        found += [f"sectors new or gone: {listed(sorted(sectors))}"] if sectors else []
        other = self.other_features(later.features)
        return [*found, f"other features: {other}"] if other else found

    def sector_rows(self, panel: Panel) -> list[int]:
        """For each sector of `panel`, its position in `sectors`; 0 for a name not among them."""
        known = {name: row for row, name in enumerate(self.sectors)}
        return [0, *(known.get(name, 0) for name in panel.manifest.sectors[1:])]

    def new_sectors(self, panel: Panel) -> dict[str, int]:
        """Sectors of `panel` that are not among `sectors`, with their number of live stocks."""
        found = {}
        for position, name in enumerate(panel.manifest.sectors):
            if name not in self.sectors:
                live_DN = (panel.sector == position) & panel.alive
                found[name] = int(np.count_nonzero(live_DN.any(axis=0)))
        return {name: stocks for name, stocks in found.items() if stocks}


def listed(names: Iterable[str], most: int = _NAMED) -> str:
    """`a, b, c and 12 more`."""
    first = list(names)
    more = f" and {len(first) - most:,} more" if len(first) > most else ""
    return ", ".join(first[:most]) + more


def _treatment(spec: FeatureSpec) -> str:
    return f"{spec.normalisation}, family {spec.family}"


def _order(ours: tuple[FeatureSpec, ...], theirs: tuple[FeatureSpec, ...]) -> str:
    pairs = zip(ours, theirs, strict=True)
    position, (one, other) = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
    return f"in another order (number {position + 1} is {other.name}, not {one.name})"
