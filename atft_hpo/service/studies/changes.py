"""What has changed since a study or a run began, and whether it may."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import RowMapping

from atft_hpo.config.schema import Config
from atft_hpo.config.shell import shell_command
from atft_hpo.config.toml import parse_config
from atft_hpo.errors import StudyError
from atft_hpo.search.space import space_sha256

if TYPE_CHECKING:
    from atft_hpo.data.store.panel_record import PanelRecord  # it brings torch along

_FREE = ("study.question", "data.path", "budget")
"""Keys that may differ: `data.path` because the panel's fingerprint says more."""


def changed_keys(old: Config, new: Config) -> list[str]:
    """Dotted keys that differ and may not, with both values."""
    before, after = _flat(old), _flat(new)
    return [
        f"{key}: {before.get(key, 'absent')!s} → {after.get(key, 'absent')!s}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
        and not any(key == free or key.startswith(free + ".") for free in _FREE)
    ]


def refuse_changes(
    row: RowMapping, config: Config, fingerprint: str, record: "PanelRecord"
) -> None:
    """Raises StudyError: the study of `row` has another space, setting or panel than these."""
    name = row["name"]
    advice = f"a study cannot mix them; choose another study.name than {name!r}"
    before = parse_config(row["config"], f"study {name}")
    changes = changed_keys(before, config)
    if row["panel_fingerprint"] != fingerprint:  # other data have other dates
        changes = [change for change in changes if not change.startswith("split.")]
    if row["space_sha256"] != space_sha256(config):
        space = [change for change in changes if change.startswith("search.space")]
        raise StudyError(f"the search space has changed ({_few(space)}): {advice}")
    if changes:
        raise StudyError(f"the configuration has changed ({_few(changes)}): {advice}")
    if row["panel_fingerprint"] != fingerprint:
        panels = f"panel {row['panel_fingerprint'][:12]} → {fingerprint[:12]}"
        known = type(record).model_validate(row["panel_record"])
        news = [panels, *_last_days(before, config), *known.changes(record)]
        again = f"{shell_command('resume', name)} goes on with those it was made with"
        raise StudyError(f"the data have changed ({'; '.join(news)}): {advice}, or {again}")


def _flat(config: Config) -> dict[str, Any]:
    flat: dict[str, Any] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(f"{prefix}.{key}" if prefix else key, value)
        else:
            flat[prefix] = node

    walk("", config.model_dump(mode="json", exclude_none=True))
    return flat


def _last_days(before: Config, after: Config) -> list[str]:
    """How the end of the data has moved, if the dates of both splits are known."""
    if before.split.dates is None or after.split.dates is None:
        return []
    old, new = before.split.dates.test_last, after.split.dates.test_last
    return [f"last day {old} → {new}"] if old != new else []


def _few(changes: list[str], limit: int = 3) -> str:
    more = f", and {len(changes) - limit} more" if len(changes) > limit else ""
    return "; ".join(changes[:limit]) + more
