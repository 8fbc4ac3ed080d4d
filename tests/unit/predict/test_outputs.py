import numpy as np
import pytest

from spixgraph.io.masks import read_mask
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.outputs import class_areas, write_card_mask
from tests.toy_bundle import CLASSES, write_toy_bundle


@pytest.fixture
def card(tmp_path):
    classes = [CLASSES[0], {**CLASSES[1], "id": 3}]
    return load_bundle(write_toy_bundle(tmp_path / "bundle", classes=classes)).card


@pytest.mark.parametrize("suffix", [".png", ".tif", ".zarr"])
def test_mask_with_a_gap_in_the_ids_comes_back(tmp_path, card, suffix):
    mask = np.array([[[0, 3, 3], [3, 0, 0]]], np.uint8)
    write_card_mask(tmp_path / f"mask{suffix}", mask, card, (1.0, 0.5, 0.5))
    np.testing.assert_array_equal(read_mask(tmp_path / f"mask{suffix}"), mask)


@pytest.mark.parametrize("unit", ["um2", "um3"])
def test_areas(card, unit):
    n_dims = 2 if unit == "um2" else 3
    ground, cell = class_areas({0: 30, 3: 10}, card, (2.0, 0.5, 0.5), n_dims=n_dims)
    assert (ground["id"], cell["id"], cell["name"]) == (0, 3, "cell")
    assert cell["fraction"] == 0.25
    assert cell[unit] == 10 * (0.25 if n_dims == 2 else 0.5)
    assert set(class_areas({0: 1, 3: 1}, card, None, n_dims=2)[0]) == set(cell) - {unit}
