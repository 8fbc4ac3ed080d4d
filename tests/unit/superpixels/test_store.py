"""Label images on disk against numpy."""

import numpy as np
import pytest
import zarr

from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import sha256_tree
from spixgraph.superpixels.store import LabelWriter, load_labels, save_labels


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 600, 515), (33, 20, 30)])
def test_labels_come_back_and_have_one_form(tmp_path, shape):
    labels = np.random.default_rng(0).integers(0, 2**31 - 1, shape, dtype=np.int32)
    save_labels(labels, tmp_path / "a.zarr")
    save_labels(labels, tmp_path / "b.zarr")
    np.testing.assert_array_equal(load_labels(tmp_path / "a.zarr"), labels)
    assert sha256_tree(tmp_path / "a.zarr") == sha256_tree(tmp_path / "b.zarr")


def test_bad_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match="int32"):
        save_labels(np.zeros((2, 2), np.int32), tmp_path / "a.zarr")
    with pytest.raises(StoredDataError, match="no label image"):
        load_labels(tmp_path / "a.zarr")


@pytest.mark.parametrize(("shape", "first"), [((40, 50), 70_000), ((100_000, 100_000), 2**40)])
def test_ids_of_large_images_fit(tmp_path, shape, first):
    writer = LabelWriter(tmp_path / "labels", (1, *shape), (1, 32, 32))
    writer.write((0, 0, 0), np.full((1, 32, 32), 7, np.uint16))
    local = np.arange(8 * 18, dtype=np.uint16).reshape(1, 8, 18)
    writer.write((0, 1, 1), local, first)
    stored = zarr.open_array(tmp_path / "labels", mode="r")
    np.testing.assert_array_equal(stored[:, 32:40, 32:50], local.astype(np.int64) + first)
    assert stored.dtype == (np.int64 if first > 2**31 else np.int32)
