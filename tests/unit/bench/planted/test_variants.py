"""An ablation is the full model without its module."""

import pytest

from atft_hpo.config.schema import Config
from bench.planted.variants import VARIANTS

PHASES = ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "full"])
def test_an_ablation_lacks_its_module_and_ends_where_its_part_is_learned(
    name: str, config: Config
) -> None:
    full, ablated = (VARIANTS[n].config(config, 5) for n in ("full", name))
    assert full.seed == ablated.seed == 5
    assert full.phases == config.phases
    last = PHASES.index(VARIANTS[name].end)
    assert [phase for phase, _ in ablated.phases.in_order] == list(PHASES[: last + 1])
    modules = {module for _, phase in ablated.phases.in_order for module in phase.modules}
    reached = {"fan", "san", "graph"} if last == 2 else {"fan", "san"}
    assert modules == reached - set(VARIANTS[name].without)
    if not VARIANTS[name].without:
        assert ablated.model != full.model
