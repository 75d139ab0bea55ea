"""The benchmark programs as modules: `bench/` goes onto the path, as running one of them does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))
