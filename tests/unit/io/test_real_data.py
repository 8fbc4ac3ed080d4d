"""The shared micrographs pass, or are refused for the reason that is known."""

import csv

import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.io.dataset import load_dataset
from spixgraph.io.images import open_image
from spixgraph.io.masks import read_mask
from tests.real_data import real_data

SOUND = {  # dims, channels, images, classes, megapixels
    "axon_sem": (2, 1, 7, 3, 8.47),
    "axon_tem": (2, 1, 9, 4, 3.24),
    "nasa_meltpool_strips": (2, 1, 5, 2, 13.83),
    "pyimsegm_ovary": (2, 3, 5, 4, 3.35),
    "usiigaci_phase": (2, 1, 20, 2, 20.93),
}
SHARED = {
    "nist_hesc_colonies": (2, 1, 6, 2, 4.64),
    "flyem_medulla3d": (3, 1, 3, 2, 7.0),
    "plantseg_nuclei3d": (3, 1, 6, 2, 1.84),
}


def figures(report):
    return (
        report.n_dims, report.n_channels, len(report.rows), len(report.class_names),
        round(report.megapixels, 2),
    )  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_sound_sets_pass(name):
    assert figures(load_dataset(real_data(name))[1]) == SOUND[name]


@pytest.mark.parametrize("name", SHARED)
def test_sets_that_share_groups_need_leave(name):
    root = real_data(name)
    with pytest.raises(InputError, match=r"group .* is in train and val"):
        load_dataset(root)
    _, report = load_dataset(root, allow_shared_groups=True)
    assert figures(report) == SHARED[name]
    assert report.shared_groups


def test_mixed_modalities_are_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"mixed channel counts.*--where modality=fluorescence"):
        load_dataset(real_data("dsb2018"), allow_shared_groups=True)


@pytest.mark.parametrize(
    ("modality", "n_channels"), [("brightfield_grey", 1), ("histology_purple_on_white", 3)]
)
def test_one_modality_passes(modality, n_channels):
    root = real_data("dsb2018")
    _, report = load_dataset(root, where={"modality": modality}, allow_shared_groups=True)
    assert report.n_channels == n_channels


def test_an_image_in_train_and_test_is_found(tmp_path):
    """One image of dsb2018 fluorescence is listed twice, in train and in test."""
    root = real_data("dsb2018")
    where = {"modality": "fluorescence"}
    with pytest.raises(InputError) as caught:
        load_dataset(root, where=where, allow_shared_groups=True)
    assert "id 538b7673d507014d is given to 2 rows" in str(caught.value)
    assert "538b7673d507014d (train), 538b7673d507014d (test) have equal pixels" in str(
        caught.value
    )

    with (root / "manifest.csv").open(newline="") as handle:
        rows = {row["id"]: row for row in csv.DictReader(handle)}  # keeps one row per id
    with (tmp_path / "manifest.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(next(iter(rows.values()))))
        writer.writeheader()
        writer.writerows(rows.values())
    for folder in ("images", "masks"):
        (tmp_path / folder).symlink_to(root / folder)
    _, report = load_dataset(tmp_path, where=where, allow_shared_groups=True)
    assert (len(report.rows), report.n_channels) == (47, 1)


def test_16_bit_and_3d_files_are_read_as_they_are():
    root = real_data("usiigaci_phase")
    dtypes = set()
    for path in sorted((root / "images").glob("*.png")):
        with open_image(path) as source:
            dtypes.add(source.info.dtype.name)
    assert dtypes == {"uint8", "uint16"}
    with open_image(real_data("plantseg_nuclei3d") / "images" / "1135_minia.tif") as source:
        assert source.info.shape_zyxc == (60, 100, 100, 1)
    mask = read_mask(real_data("flyem_medulla3d") / "masks" / "z064-087.tif")
    assert mask.shape == (24, 250, 250)
    assert np.unique(mask).tolist() == [0, 1]


def test_a_duplicate_is_left_out_of_one_split():
    root, where = real_data("dsb2018"), {"modality": "fluorescence"}
    _, report = load_dataset(
        root, where=where, allow_shared_groups=True, exclude={"train": ["538b7673d507014d"]}
    )
    assert len(report.rows) == 47
    assert any("538b7673d507014d was left out of train" in w for w in report.warnings)
    with pytest.raises(InputError, match="nowhere in val, which is not there"):
        load_dataset(
            root, where=where, allow_shared_groups=True,
            exclude={"train": ["538b7673d507014d"], "val": ["nowhere"]},
        )  # fmt: skip
