"""Programs that end as a benchmark may: well, with an error, silent, killed, late, slow."""

from pathlib import Path

import pytest

from bench.cpu_set import parts
from bench.cpu_set.parts import Part

GOOD = """
import json, pathlib, sys
print("working", sys.argv[1])
pathlib.Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps({"found": 3}))
"""
PROGRAMS = {
    "good": GOOD,
    "bad": "print('so far')\nraise ValueError('no panel')\n",
    "silent": "",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "late": GOOD + "raise SystemExit('only afterwards')\n",
    "slow": "import time\ntime.sleep(60)\n",
}


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    """Programs by name; they are run in place of the benchmarks."""
    for name, text in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(parts, "ROOT", tmp_path)
    return {name: Part("a title", name, ("--few",)) for name in PROGRAMS}
