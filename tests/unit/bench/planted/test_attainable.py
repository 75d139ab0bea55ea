"""Ceilings that hold, and what they leave to attain."""

import pytest

from atft_hpo.config.schema import Config
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.synthetic.planted_parts import PART_SHARES
from bench.planted.attainable import attainable, part_ceilings


def test_ceilings_are_shares_and_follow_the_filters(config: Config, panel: Panel) -> None:
    found = part_ceilings(panel, config)
    assert list(found) == list(PART_SHARES)
    assert all(0.0 <= ceiling <= 1.0 for ceiling in found.values())
    assert found["f_sector"] > 0.9  # a product with the sector gives it all
    assert found["f_sector"] > found["e_arbitrary"]


def test_attainable_is_the_root_of_what_the_parts_can_give() -> None:
    assert attainable(PART_SHARES, dict.fromkeys(PART_SHARES, 1.0)) == pytest.approx(1.0)
    assert attainable({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.0}) == pytest.approx(0.5)
