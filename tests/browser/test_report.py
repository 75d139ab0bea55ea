"""The report in a real browser: it draws every figure, and asks the network for nothing."""

import importlib.util
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from atft_hpo.results.study_report.report import write_report
from atft_hpo.search.outcome import Outcome

pytestmark = pytest.mark.browser
RECORDS = Path(__file__).parents[1] / "unit" / "results" / "conftest.py"
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # nothing in these tests leaves the machine
    "--virtual-time-budget=5000", "--window-size=1280,1600", "--enable-logging=stderr",
)  # fmt: skip
WIDTH_PROBE = """<script>addEventListener("load", () => {
  document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth])
})</script>"""


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page."""

    dom: str
    console: list[str]
    requests: list[str]
    """URLs that the page, not the browser itself, asked for, beside the page."""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no `chromium` on the PATH; install Chromium to look at reports")
    return found


@pytest.fixture(scope="module")
def records() -> Any:
    """The seeded studies of the unit tests."""
    spec = importlib.util.spec_from_file_location("result_records", RECORDS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def full(chromium: str, records: Any, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """A visit to the report of 20 trials, with a script that measures its width."""
    folder = tmp_path_factory.mktemp("full")
    page = write_report(records.make_study(records.twenty_outcomes()), folder / "report.html")
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", f"{WIDTH_PROBE}</body>"), encoding="utf-8")
    return visit(chromium, page, folder)


def visit(chromium: str, page: Path, folder: Path) -> Visit:
    """Open `page` with a fresh profile in `folder`."""
    log = folder / "net.json"
    command = [
        chromium, *OPTIONS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}",
        "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    begun = (e["params"] for e in events if "initiator" in e.get("params", {}))
    own = [p["url"] for p in begun if p["initiator"] != "not an origin"]
    return Visit(done.stdout, console, own)


def test_every_figure_is_drawn(full: Visit) -> None:
    assert full.dom.count("<figure ") == 10
    parts = full.dom.split('<div id="plate-')[1:]
    assert len(parts) == 10
    for number, part in enumerate(parts, start=1):
        assert 'class="main-svg"' in part, f"figure {number} was not drawn"
        assert re.search(r'class="(xtick|xaxislayer-above)"', part), f"figure {number} has no axis"


def test_the_browser_has_no_complaint(full: Visit) -> None:
    assert full.console == []


def test_the_page_asks_for_nothing(full: Visit) -> None:
    assert full.requests == []


def test_the_page_fits_its_window(full: Visit) -> None:
    """Nothing but a table that scrolls by itself is wider than the window."""
    title = re.search(r"<title>(.*?)</title>", full.dom)
    assert title is not None
    width, window = json.loads(title[1])
    assert width <= window


def test_a_request_would_have_been_seen(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<img src="http://example.com/x.png"><script>console.error("x")</script>')
    seen = visit(chromium, page, tmp_path)
    assert seen.requests == ["http://example.com/x.png"]
    assert seen.console


@pytest.mark.parametrize("outcomes", [[], [Outcome.ERROR] * 3])
def test_studies_without_a_value(
    chromium: str, records: Any, tmp_path: Path, outcomes: list[Outcome | None]
) -> None:
    page = write_report(records.make_study(outcomes), tmp_path / "report.html")
    seen = visit(chromium, page, tmp_path)
    assert "Set-up" in seen.dom
    assert (seen.console, seen.requests) == ([], [])
