"""The feature page is what the code says."""

from pathlib import Path

from atft_hpo.config.data_schema import FeaturesConfig
from atft_hpo.data.features.catalogue import catalogue, catalogue_markdown

PAGE = Path(__file__).parents[4] / "docs" / "features.md"


def test_docs_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == catalogue_markdown(FeaturesConfig())


def test_catalogue_lists_names_families_and_formulas() -> None:
    docs = {doc.name: doc for doc in catalogue(FeaturesConfig())}
    assert docs["momentum__over_mean_20d"].family == "momentum"
    assert docs["momentum__over_mean_20d"].formula == "c − mean_20 c"
    assert docs["ranks__log_5d"].formula.endswith("c[t] − c[t−5]")
    assert not any("{" in doc.formula for doc in docs.values())


def test_the_page_follows_the_configuration() -> None:
    page = catalogue_markdown(FeaturesConfig(families=("returns",), windows_days=(1, 7)))
    assert "returns__log_7d" in page
    assert "## momentum" not in page
