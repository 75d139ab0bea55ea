"""The record of looks at the test range: each one makes the next worth less.

number = record_look(out, plan)       # 1 for the first; before anything is computed
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from atft_hpo.errors import VolumeError
from atft_hpo.files import write_atomically
from bench.real.plan import Plan, versions

NAME = "test-looks.json"


def record_look(out: Path, plan: Plan) -> int:
    """Add a look to the record in `out`; returns how many there are now.

    Raises:
        VolumeError: the record is damaged, or cannot be written.
    """
    path = out / NAME
    try:
        looks = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        looks.append(
            {
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "models": list(plan.models),
                "config": plan.config.model_dump(mode="json", exclude={"search", "budget"}),
                "versions": versions(),
            }
        )
    except (ValueError, AttributeError) as error:
        raise VolumeError(f"{path}: not a record of looks ({error}); restore it") from error
    write_atomically(path, (json.dumps(looks, indent=2) + "\n").encode())
    return len(looks)
