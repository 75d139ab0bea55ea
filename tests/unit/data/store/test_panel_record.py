"""What a checkpoint and a study keep of a panel, and what they find changed in a later one."""

from collections.abc import Callable

import polars as pl
import pytest

from atft_hpo.data.store.panel import FeatureSpec, Panel
from atft_hpo.data.store.panel_record import PanelRecord, listed

Pack = Callable[..., Panel]


def spec(name: str, normalisation: str = "robust_z") -> FeatureSpec:
    return FeatureSpec.model_validate(
        {"name": name, "family": name.partition("__")[0], "normalisation": normalisation}
    )


def record(*features: FeatureSpec) -> PanelRecord:
    return PanelRecord(
        sectors=("unknown", "banks", "tools"),
        unknown_sector=False,
        codes=("A", "B", "C"),
        features=features,
    )


def test_it_survives_a_file(panel: Panel) -> None:
    found = PanelRecord.of(panel)
    assert found.sectors == ("unknown", "sector 0", "sector 1", "sector 2")
    assert found.codes == panel.manifest.codes
    assert found.features == panel.manifest.features
    assert PanelRecord.model_validate(found.model_dump(mode="json")) == found
    assert PanelRecord.model_validate_json(found.model_dump_json()) == found


def test_it_says_whether_anything_was_learned_of_unknown_sectors(
    panel: Panel, market: pl.DataFrame, pack: Pack
) -> None:
    assert PanelRecord.of(panel).unknown_sector is False
    lost = pl.when(pl.col("code") == "S003").then(None).otherwise(pl.col("sector"))
    assert PanelRecord.of(pack(market.with_columns(lost.alias("sector")))).unknown_sector is True
    assert PanelRecord.of(pack(market.drop("sector"), "none")).unknown_sector is True


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ((spec("a"), spec("b"), spec("c")), None),
        ((spec("a"), spec("b")), "without c"),
        ((spec("a"), spec("b"), spec("c"), spec("d")), "with d"),
        ((spec("a"), spec("x"), spec("c")), "without b; with x"),
        (
            (spec("a"), spec("b", "rank_gauss"), spec("c")),
            "otherwise treated b (rank_gauss, family b, not robust_z, family b)",
        ),
        ((spec("a"), spec("c"), spec("b")), "in another order (number 2 is c, not b)"),
        ((), "without a, b, c"),
    ],
)
def test_other_features_are_named(theirs: tuple[FeatureSpec, ...], words: str | None) -> None:
    assert record(spec("a"), spec("b"), spec("c")).other_features(theirs) == words


def test_many_names_are_counted() -> None:
    assert listed("abc") == "a, b, c"
    assert listed([f"n{n}" for n in range(1200)]) == "n0, n1, n2 and 1,197 more"


def test_changes_of_a_later_panel() -> None:
    before = record(spec("a"))
    assert before.changes(before) == []
    later = PanelRecord(
        sectors=("unknown", "banks", "hardware"),
        unknown_sector=True,
        codes=("B", "C", "D", "E"),
        features=(spec("b"),),
    )
    assert before.changes(later) == [
        "stocks new: 2",
        "stocks gone: 1",
        "sectors new or gone: hardware, tools",
        "other features: without a; with b",
    ]


def test_sectors_of_a_panel_by_name(panel: Panel) -> None:
    known = PanelRecord.of(panel)
    assert known.sector_rows(panel) == [0, 1, 2, 3]
    assert known.new_sectors(panel) == {}
    other = known.model_copy(update={"sectors": ("unknown", "sector 2", "gone", "sector 0")})
    assert other.sector_rows(panel) == [0, 3, 0, 1]
    assert other.new_sectors(panel) == {"sector 1": 10}


def test_a_sector_that_a_table_calls_unknown(panel: Panel) -> None:
    """Stands beside the row without a sector, and stays itself."""
    named = PanelRecord.of(panel).model_copy(update={"sectors": ("unknown", "sector 0", "unknown")})
    names = ("unknown", "sector 0", "sector 1", "unknown")
    manifest = panel.manifest.model_copy(update={"sectors": names})
    renamed = Panel(panel.root, manifest, panel.fingerprint)
    assert named.sector_rows(renamed) == [0, 1, 0, 2]
    assert set(named.new_sectors(renamed)) == {"sector 1"}
