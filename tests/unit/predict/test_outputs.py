import numpy as np
import pytest
import tifffile

from spixgraph.errors import InputError
from spixgraph.io.masks import read_mask
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.outputs import write_card_mask, write_probabilities
from tests.toy_bundle import CLASSES, write_toy_bundle

LABELS = np.array([[[0, 0, 1], [2, 2, 1]], [[1, 1, 1], [0, 2, 2]]], np.int32)
SHARES = np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]], np.float32)


@pytest.fixture
def card(tmp_path):
    classes = [CLASSES[0], {**CLASSES[1], "id": 3}]
    return load_bundle(write_toy_bundle(tmp_path / "bundle", classes=classes)).card


@pytest.mark.parametrize("suffix", [".png", ".tif", ".zarr"])
def test_mask_with_a_gap_in_the_ids_comes_back(tmp_path, card, suffix):
    mask = np.array([[[0, 3, 3], [3, 0, 0]]], np.uint8)
    write_card_mask(tmp_path / f"mask{suffix}", mask, card, (1.0, 0.5, 0.5))
    np.testing.assert_array_equal(read_mask(tmp_path / f"mask{suffix}"), mask)


def test_probabilities_per_pixel(tmp_path, card):
    path = tmp_path / "p.tif"
    write_probabilities(path, LABELS, SHARES, card)
    stored = tifffile.imread(path)
    assert stored.shape == (2, 2, 2, 3)
    for z, y, x in np.ndindex(LABELS.shape):
        np.testing.assert_array_equal(stored[z, :, y, x], SHARES[LABELS[z, y, x]])
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "ZCYX"
        assert file.shaped_metadata[0]["channels"] == ["background", "cell"]


def test_same_probabilities_same_bytes(tmp_path, card):
    for name in ("a.tif", "b.tif"):
        write_probabilities(tmp_path / name, LABELS, SHARES, card)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_other_suffix_is_refused(tmp_path, card):
    with pytest.raises(InputError, match=r"must end in one of \.tif"):
        write_probabilities(tmp_path / "p.npy", LABELS, SHARES, card)
