"""The result has the shape it promises, and is printed."""

import json
from collections.abc import Callable

import pytest

from atft_hpo.config.schema import Config
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.synthetic.planted_parts import PART_SHARES
from bench.planted.report import report
from bench.planted.runs import PhaseTruth
from bench.planted.table import print_report

Truth = Callable[..., PhaseTruth]


def test_the_report_has_the_shape_it_promises(
    config: Config, panel: Panel, capsys: pytest.CaptureFixture[str], truth: Truth
) -> None:
    ceilings = dict.fromkeys(PART_SHARES, 1.0)
    runs = {"full": [[truth("gat", 0.9, 0.95)]], "no_graph": [[truth("gat", 0.0, 0.8)]]}
    found = json.loads(json.dumps(report(runs, ceilings, config, panel, 60.0)))
    assert found["variants"]["full"]["share_of_attainable"]["total"] == pytest.approx(0.95)
    assert set(found["variants"]["full"]["share_of_attainable"]["parts"]) == set(PART_SHARES)
    assert found["coverage_90"] == pytest.approx(0.9)
    print_report(found)
    printed = capsys.readouterr().out
    assert "no_graph loses d_links" in printed
    assert "reached" in printed
