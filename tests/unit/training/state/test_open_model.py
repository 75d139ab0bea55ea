"""A file with trained weights gives the forecast of the model that it was written from."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atft_hpo import __version__
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import dump_config
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.sampling.splits import dated
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.panel_record import PanelRecord
from atft_hpo.errors import CheckpointError
from atft_hpo.model.atft import ATFT, SECTOR_WEIGHTS
from atft_hpo.training.forecasting.forecast import forecast_panel, new_model
from atft_hpo.training.state.checkpoint import save_checkpoint
from atft_hpo.training.state.open_model import checkpoint_config, load_model

CPU = torch.device("cpu")


def content_of(model: ATFT, config: Config, panel: Panel) -> dict[str, Any]:
    """What best_main.pt holds, as far as loading needs it."""
    return {
        "version": "0", "config": dump_config(dated(config, panel)), "modules": ["fan"],
        "panel_record": PanelRecord.of(panel).model_dump(mode="json"), "model": model.state_dict(),
    }  # fmt: skip


def test_a_checkpoint_gives_the_same_forecast(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best_main.pt", content_of(model, config, panel))
    loaded, found = load_model(tmp_path / "best_main.pt", panel)
    assert found == dated(config, panel)
    assert not loaded.training
    assert loaded.enabled == {"fan"}
    source = SliceSource(panel, config, CPU)
    before, after = (forecast_panel(m, source, range(50, 80), config) for m in (model, loaded))
    np.testing.assert_array_equal(before.score_DNQ, after.score_DNQ)


def test_other_features_are_refused(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path
) -> None:
    content = content_of(model, config, panel)
    del content["panel_record"]["features"][1]
    content["panel_record"]["features"][0]["normalisation"] = "none"
    save_checkpoint(tmp_path / "best_main.pt", content)
    words = r"the panel's is with signal__b; otherwise treated signal__a \(robust_z.*not none"
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path / "best_main.pt", panel)


def test_other_weights_are_refused_in_one_line(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path
) -> None:
    weights = dict(model.state_dict())
    weights["heads.point.weight"] = torch.zeros(3, 3)
    save_checkpoint(tmp_path / "x.pt", content_of(model, config, panel) | {"model": weights})
    with pytest.raises(
        CheckpointError, match=r"do not fit.*heads\.point.*; use atft-hpo 0$"
    ) as caught:
        load_model(tmp_path / "x.pt", panel)
    assert "\n" not in str(caught.value)


def test_a_training_state_is_no_model(tmp_path: Path, panel: Panel) -> None:
    save_checkpoint(tmp_path / "last.pt", {"model": {}, "optimizer": {}})
    with pytest.raises(CheckpointError, match="no trained model in it"):
        load_model(tmp_path / "last.pt", panel)


def test_weights_that_do_not_fit_are_no_matter_of_versions(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path
) -> None:
    content = content_of(model, config, panel) | {"version": __version__, "model": {}}
    save_checkpoint(tmp_path / "x.pt", content)
    with pytest.raises(CheckpointError, match=r"; train again$"):
        load_model(tmp_path / "x.pt", panel)


def test_a_file_that_keeps_no_dates_is_refused(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path
) -> None:
    old = content_of(model, config, panel)
    del old["panel_record"]
    save_checkpoint(tmp_path / "old.pt", old)
    shares = content_of(model, config, panel) | {"config": dump_config(config)}
    save_checkpoint(tmp_path / "shares.pt", shares)
    for read in (lambda path: load_model(path, panel), checkpoint_config):
        with pytest.raises(CheckpointError, match="atft-hpo 0, which kept neither the dates"):
            read(tmp_path / "old.pt")
        with pytest.raises(CheckpointError, match=r"no split\.dates.*; train again$"):
            read(tmp_path / "shares.pt")


def test_all_that_has_a_row_for_each_sector_is_found_by_name(config: Config, panel: Panel) -> None:
    def shapes(sectors: int) -> dict[str, torch.Size]:
        inputs = dataclasses.replace(new_model(config, panel).inputs, sectors=sectors)
        return {name: w.shape for name, w in ATFT(config.model, inputs).state_dict().items()}

    few, many = shapes(3), shapes(5)
    assert {name for name in few if few[name] != many[name]} == set(SECTOR_WEIGHTS)
    assert {many[name][0] for name in SECTOR_WEIGHTS} == {5}


Sectors = tuple[str, ...]


def relabelled(panel: Panel, names: Sectors, sector_of_code: Callable[[str, int], int]) -> Panel:
    """The panel with other sectors, as if a vendor had changed the column."""
    manifest = panel.manifest.model_copy(update={"sectors": names})
    other = Panel(panel.root, manifest, panel.fingerprint)
    for n, code in enumerate(manifest.codes):
        other.sector[:, n] = sector_of_code(code, int(panel.sector[-1, n]))
    return other


def scores(checkpoint: Path, panel: Panel) -> np.ndarray[Any, Any]:
    """[D, N] one-day forecasts of thirty days."""
    loaded, config = load_model(checkpoint, panel)
    return forecast_panel(loaded, SliceSource(panel, config, CPU), range(50, 80), config).score_DNQ[
        ..., 0
    ]


@pytest.fixture
def checkpoint(model: ATFT, config: Config, panel: Panel, tmp_path: Path) -> Path:
    """One whose sectors differ in scale and shift, too, which begin alike."""
    torch.nn.init.normal_(model.enrichment.film.weight, std=0.3)
    save_checkpoint(tmp_path / "best_main.pt", content_of(model, config, panel))
    return tmp_path / "best_main.pt"


def test_a_renamed_sector_is_unknown_and_exchanges_nothing(
    checkpoint: Path, panel: Panel, capsys: pytest.CaptureFixture[str]
) -> None:
    """ "sector 0" has become "utilities", which comes last; the order of all others changes."""
    before = scores(checkpoint, panel)
    assert capsys.readouterr().err == ""
    names = ("unknown", "sector 1", "sector 2", "utilities")
    renamed = relabelled(panel, names, lambda _, sector: {0: 0, 1: 3, 2: 1, 3: 2}[sector])
    after = scores(checkpoint, renamed)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.endswith("taken as unknown, with their number of stocks: 'utilities' (10)\n")
    kept = renamed.sector[-1] != 3
    np.testing.assert_array_equal(after[:, kept], before[:, kept])
    assert (after[:, ~kept] != before[:, ~kept]).any()


def test_a_new_sector_for_one_stock_is_what_unknown_is(
    checkpoint: Path, panel: Panel, capsys: pytest.CaptureFixture[str]
) -> None:
    before = scores(checkpoint, panel)
    names = (*panel.manifest.sectors, "a new one")
    new = relabelled(panel, names, lambda code, sector: 4 if code == "S07" else sector)
    lost = relabelled(panel, names[:-1], lambda code, sector: 0 if code == "S07" else sector)
    after, unknown = scores(checkpoint, new), scores(checkpoint, lost)
    assert capsys.readouterr().err.endswith(" stocks: 'a new one' (1)\n")
    others = np.array(panel.manifest.codes) != "S07"
    np.testing.assert_array_equal(after[:, others], before[:, others])
    np.testing.assert_array_equal(after, unknown)
    assert np.isfinite(after[:, ~others]).all()


@pytest.mark.parametrize("had_unknown", [False, True])
def test_unknown_is_the_mean_where_nothing_was_learned_of_it(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path, had_unknown: bool
) -> None:
    content = content_of(model, config, panel)
    assert content["panel_record"]["unknown_sector"] is False
    content["panel_record"]["unknown_sector"] = had_unknown
    save_checkpoint(tmp_path / "x.pt", content)
    loaded, _ = load_model(tmp_path / "x.pt", panel)
    for name in SECTOR_WEIGHTS:
        learned = model.state_dict()[name]
        expected = learned[0] if had_unknown else learned[1:].mean(dim=0)
        torch.testing.assert_close(loaded.state_dict()[name][0], expected)
        torch.testing.assert_close(loaded.state_dict()[name][1:], learned[1:])


def test_new_stocks_are_counted(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = content_of(model, config, panel)
    content["panel_record"]["codes"] = content["panel_record"]["codes"][5:]
    save_checkpoint(tmp_path / "x.pt", content)
    load_model(tmp_path / "x.pt", panel)
    assert capsys.readouterr().err.endswith("x.pt: 5 of the panel's 30 stocks are new to it\n")
