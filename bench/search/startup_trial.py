"""A real trial process that ends with its first training step, and says when it got where.

Run by the launcher in place of `trial_process.main`. The trial's own code is unchanged: the
functions that it passes are wrapped from outside. Its last words are MARKS and, as JSON, the
readings of the machine's monotonic clock, which all processes share.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

MARKS = "MARKS "


def main(arguments: Sequence[str]) -> int:
    """The trial process, up to its first step."""
    marks = {"forked": time.monotonic()}
    from atft_hpo.data.store.panel import Panel
    from atft_hpo.service.trial import trial_process
    from atft_hpo.training.run import epoch, loop

    def end_here() -> None:
        print(MARKS + json.dumps(marks), flush=True)
        os._exit(0)

    _wrap(Panel, "open", marks, before="assigned", after="panel_opened")
    _wrap(loop, "train_epoch", marks, before="begun")
    _wrap(epoch, "step", marks, after="first_step", then=end_here)
    return trial_process.main(arguments)


def _wrap(
    owner: Any,
    name: str,
    marks: dict[str, float],
    before: str = "",
    after: str = "",
    then: Callable[[], None] = lambda: None,
) -> None:
    """Note in `marks` when `owner.name` is called, and when it returns."""
    function = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before:
            marks[before] = time.monotonic()
        result = function(*args, **kwargs)
        if after:
            marks[after] = time.monotonic()
        then()
        return result

    setattr(owner, name, wrapped)
