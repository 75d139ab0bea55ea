import json
import shutil

import numpy as np
import pytest
import torch

from atft_hpo.data.store.panel import FeatureSpec, Panel, features_sha256
from atft_hpo.errors import PanelStoreError
from atft_hpo.paths import PanelPaths


@pytest.fixture
def copy(panel, tmp_path):
    """A copy of the session's store that a test may damage."""
    shutil.copytree(panel.root, tmp_path / "copy")
    return tmp_path / "copy"


def test_opened_shapes_and_types(panel):
    days, stocks = 160, 30
    assert panel.features.shape == (days, stocks, 5)
    assert panel.features.dtype == np.float16
    assert panel.alive.shape == panel.present.shape == panel.tradable.shape == (days, stocks)
    assert panel.returns.shape == panel.sector.shape == (days, stocks)
    assert panel.targets.shape == (days, stocks, 2)
    assert panel.dates[0] == np.datetime64("2020-01-01")
    assert panel.manifest.sectors[0] == "unknown"
    assert panel.oracle is None


def test_fan_columns_are_the_return_like_features(panel):
    assert [panel.feature_names[i] for i in panel.fan_columns] == ["returns__1d"]


def test_features_tensor_shares_memory(panel):
    tensor = panel.features_tensor(slice(10, 20))
    assert tensor.shape == (10, 30, 5)
    assert tensor.dtype == torch.float16
    assert tensor.data_ptr() == panel.features[10:20].ctypes.data


def test_writing_to_an_opened_array_does_not_reach_the_store(copy):
    Panel.open(copy).features[:] = 1
    Panel.open(copy).verify()


def test_verify_finds_one_flipped_byte(copy):
    path = PanelPaths(copy).features
    content = bytearray(path.read_bytes())
    content[1234] ^= 1
    path.write_bytes(content)
    with pytest.raises(PanelStoreError, match=r"features\.bin: content differs"):
        Panel.open(copy).verify()


def test_a_truncated_file_is_refused_at_once(copy):
    path = PanelPaths(copy).targets
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(PanelStoreError, match=r"targets\.bin: \d+ bytes, the manifest says \d+"):
        Panel.open(copy)


def test_an_absent_file_is_refused_at_once(copy):
    PanelPaths(copy).alive.unlink()
    with pytest.raises(PanelStoreError, match=r"alive\.bin: absent"):
        Panel.open(copy)


def test_a_directory_without_a_manifest_is_no_store(copy):
    PanelPaths(copy).manifest.unlink()
    with pytest.raises(PanelStoreError, match="no panel store"):
        Panel.open(copy)


@pytest.mark.parametrize("content", ["", "{}", "[]", "{not json", '{"version": 3}'])
def test_a_damaged_manifest_is_refused(copy, content):
    PanelPaths(copy).manifest.write_text(content)
    with pytest.raises(PanelStoreError, match="not a manifest"):
        Panel.open(copy)


def test_a_store_of_another_version_is_refused(copy):
    path = PanelPaths(copy).manifest
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with pytest.raises(PanelStoreError, match="store version 99, expected 3"):
        Panel.open(copy)


def test_fingerprint_follows_the_manifest(copy):
    before = Panel.open(copy).fingerprint
    path = PanelPaths(copy).manifest
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": 1}))
    assert Panel.open(copy).fingerprint != before


def test_feature_hash_depends_on_names_order_and_normalisation():
    a = FeatureSpec(name="a", family="x", normalisation="robust_z")
    b = FeatureSpec(name="b", family="x", normalisation="robust_z")
    changed = FeatureSpec(name="b", family="x", normalisation="rank_gauss")
    hashes = {features_sha256(specs) for specs in ([a, b], [b, a], [a], [a, changed])}
    assert len(hashes) == 4
