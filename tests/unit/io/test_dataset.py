"""Every fault of a data set is found, and all are named at once."""

import csv

import numpy as np
import pytest
import tifffile
from PIL import Image

from spixgraph.errors import InputError, StoredDataError
from spixgraph.io.dataset import SPLITS, check_dataset, load_dataset, read_dataset


def pixels_of(seed, shape=(24, 30)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def mask_of(seed, shape=(24, 30), n_classes=2):
    return np.random.default_rng([seed, 1]).integers(0, n_classes, shape, dtype=np.uint8)


class Folder:
    """A data set that a test builds, then spoils."""

    def __init__(self, root, n=6):
        self.root = root
        for name in ("images", "masks"):
            (root / name).mkdir(parents=True)
        self.rows = [
            {"id": f"a{k}", "image": f"images/a{k}.png", "mask": f"masks/a{k}.png",
             "group": f"g{k}", "split": (*SPLITS, "train", "train", "val")[k]}
            for k in range(n)
        ]  # fmt: skip
        for k, row in enumerate(self.rows):
            self.put(row["image"], pixels_of(k))
            self.put(row["mask"], mask_of(k))

    def put(self, name, pixels):
        if name.endswith(".png"):
            Image.fromarray(pixels).save(self.root / name)
        else:
            tifffile.imwrite(self.root / name, pixels, photometric="minisblack")

    def column(self, name, values):
        for row, value in zip(self.rows, values, strict=True):
            row[name] = value

    def write(self, rows=None):
        with (self.root / "manifest.csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows if rows is None else rows)
        return self.root

    def load(self, **options):
        return load_dataset(self.write(), **options)

    def faults(self, **options):
        with pytest.raises(InputError) as caught:
            self.load(**options)
        return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "cells")


def test_a_sound_data_set_is_reported(folder):
    folder.put("masks/a1.png", np.where(mask_of(1) == 0, 255, mask_of(1)).astype(np.uint8))
    dataset, report = folder.load(class_names=("background", "cell"))
    assert (dataset.name, report.n_dims, report.n_channels) == ("cells", 2, 1)
    assert [item.id for item in dataset.split("train")] == ["a0", "a3", "a4"]
    masks = [mask_of(k) for k in range(6)]
    zeros = [int((m == 0).sum()) for m in masks]
    ones = sum(int((m == 1).sum()) for m in masks)
    assert report.class_pixels == (sum(zeros) - zeros[1], ones)
    assert report.rows[1].n_not_annotated == zeros[1]
    assert report.megapixels == pytest.approx(6 * 24 * 30 / 1e6)
    assert report.class_names == ("background", "cell")
    assert report.warnings == ("pixel size unknown: 6 of 6 images",)
    assert report.as_json()["sha256"] == report.sha256


def test_classes_are_numbered_where_not_declared(folder):
    folder.put("masks/a0.png", mask_of(0, n_classes=4))
    assert folder.load()[1].class_names == ("class_0", "class_1", "class_2", "class_3")


def test_hash_follows_pixels_splits_and_groups(folder):
    first = folder.load()[1].sha256
    folder.rows.reverse()
    assert folder.load()[1].sha256 == first
    seen = {first}
    folder.rows[0]["group"] = "other"
    seen.add(folder.load()[1].sha256)
    folder.put("images/a0.png", pixels_of(99))
    seen.add(folder.load()[1].sha256)
    folder.put("masks/a0.png", mask_of(99))
    seen.add(folder.load()[1].sha256)
    assert len(seen) == 4


def test_pixel_size_of_the_manifest_wins(folder):
    folder.column("pixel_size_um", ["0.5", "0.5", "2 0.5 0.25", "0.5", "", "0.5"])
    dataset, report = folder.load()
    assert [item.pixel_size_um for item in dataset.items[1:5]] == [
        (0.5, 0.5, 0.5), (2.0, 0.5, 0.25), (0.5, 0.5, 0.5), None,
    ]  # fmt: skip
    assert report.rows[2].pixel_size_um == (2.0, 0.5, 0.25)
    assert report.warnings == ("pixel size unknown: 1 of 6 images",)


def test_voxel_column(folder):
    folder.column("voxel_um_zyx", ["0.3 0.1 0.1"] * 6)
    assert folder.load()[0].items[0].pixel_size_um == (0.3, 0.1, 0.1)


def unread(folder):
    (folder.root / "images/a0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")


def cut(folder):
    path = folder.root / "masks/a0.png"
    path.write_bytes(path.read_bytes()[:-100])


SPOILED = {
    "no image": (lambda f: (f.root / "images/a0.png").unlink(), "a0: .*a0.png does not exist"),
    "no mask": (lambda f: (f.root / "masks/a0.png").unlink(), "a0: .*masks/a0.png does not exist"),
    "broken image": (unread, "a0: .*images/a0.png is not a PNG"),
    "truncated mask": (cut, "a0: .*masks/a0.png cannot be read"),
    "shapes": (
        lambda f: f.put("masks/a0.png", mask_of(0, (24, 31))),
        r"a0: the image is \(1, 24, 30\) .* its mask is \(1, 24, 31\); crop",
    ),
    "colour mask": (lambda f: f.put("masks/a0.png", pixels_of(0, (24, 30, 3))), "3 channels"),
    "object ids": (
        lambda f: (
            f.put("masks/a0.tif", mask_of(0).astype(np.uint16) * 700),
            f.rows[0].update(mask="masks/a0.tif"),
        ),
        "class id 700, but 0..254 and 255",
    ),
    "float mask": (
        lambda f: (
            f.put("masks/a0.tif", mask_of(0).astype(np.float32)),
            f.rows[0].update(mask="masks/a0.tif"),
        ),
        "1 channels of float32",
    ),
    "class ids": (
        lambda f: f.put("masks/a0.png", mask_of(0, n_classes=5)),
        r"a0: its mask holds class ids \[2, 3, 4\], but 2 classes are declared: 0..1",
    ),
    "channels": (
        lambda f: f.put("images/a0.png", pixels_of(0, (24, 30, 3))),
        "mixed channel counts: 5 of 1 channel, 1 of 3 channels; make one data set of each",
    ),
    "dimensions": (
        lambda f: (
            f.put("images/a0.tif", pixels_of(0, (9, 24, 30))),
            f.put("masks/a0.tif", mask_of(0, (9, 24, 30))),
            f.rows[0].update(image="images/a0.tif", mask="masks/a0.tif"),
        ),
        "mixed 2D and 3D: 5 of 2D, 1 of 3D",
    ),
    "shared group": (
        lambda f: f.rows[1].update(group="g0"),
        "group g0 is in train and val; keep a group on one side, or .*--allow-shared-groups",
    ),
    "equal images": (
        lambda f: f.put("images/a1.png", pixels_of(0)),
        r"images a0 \(train\), a1 \(val\) have equal pixels",
    ),
    "empty split": (
        lambda f: [row.update(split="test") for row in f.rows if row["split"] == "train"],
        "split train has no image",
    ),
    "outside": (
        lambda f: f.rows[0].update(image="images/../../other/a0.png"),
        "a0: .*other/a0.png is outside the data set folder",
    ),
    "absolute": (lambda f: f.rows[0].update(mask="/tmp/a0.png"), "/tmp/a0.png is outside"),
    "same id": (lambda f: f.rows[1].update(id="a0"), "id a0 is given to 2 rows"),
    "id as path": (lambda f: f.rows[0].update(id="../a0"), "an id is used as a file name"),
    "split name": (lambda f: f.rows[0].update(split="dev"), "split is 'dev', not one of train"),
    "no group": (lambda f: f.rows[0].update(group=""), "a0: no group in the manifest"),
    "pixel size": (
        lambda f: f.column("pixel_size_um", ["x", "1", "1", "1", "1", "1"]),
        "a0: pixel_size_um is 'x', not one number",
    ),
    "negative pixel size": (
        lambda f: f.column("pixel_size_um", ["-1", "1", "1", "1", "1", "1"]),
        r"a0: pixel_size_um is \[-1.0\]",
    ),
    "one class": (
        lambda f: [f.put(row["mask"], mask_of(0) * 0) for row in f.rows],
        r"no class but \[0\]",
    ),
    "0 and 255": (
        lambda f: [f.put(row["mask"], mask_of(0) * 255) for row in f.rows],
        "a mask of 0 and 255 must be written as 0 and 1",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_fault(folder, name):
    spoil, message = SPOILED[name]
    spoil(folder)
    faults = folder.faults(class_names=("background", "cell"))
    assert "1 fault(s)" in faults
    with pytest.raises(InputError, match=message):
        raise InputError(faults)


def test_all_faults_are_in_one_error(folder):
    for name in ("broken image", "shared group", "empty split"):
        SPOILED[name][0](folder)
    folder.rows[3]["split"] = "dev"
    folder.put("masks/a4.png", mask_of(4, (20, 20)))
    faults = folder.faults()
    assert "5 fault(s)" in faults
    for part in ("not a PNG", "group g0", "split train", "'dev'", "(1, 20, 20)"):
        assert part in faults


def test_the_column_that_separates_is_named(folder):
    for k in (0, 3):
        folder.put(f"images/a{k}.png", pixels_of(k, (24, 30, 3)))
    folder.column("noise", list("aabbab"))
    folder.column("stain", ["H&E", "none", "none", "H&E", "none", "none"])
    faults = folder.faults()
    expected = "--where 'stain=H&E' (2 of 3 channels) or --where stain=none (4 of 1 channel)"
    assert expected in faults
    assert "noise" not in faults
    assert folder.load(where={"stain": "none"})[1].n_channels == 1
    assert "split val has no image" in folder.faults(where={"stain": "H&E"})


def test_shared_groups_are_accepted_on_request(folder):
    folder.rows[1]["group"] = "g0"
    _, report = folder.load(allow_shared_groups=True)
    assert report.shared_groups == ("g0",)
    assert report.warnings[0].startswith("group g0 is in train and val")
    assert check_dataset(read_dataset(folder.root), allow_shared_groups=True) == report


def test_read_and_check_refuse_apart(folder):
    folder.rows[0]["split"] = "dev"
    with pytest.raises(InputError, match="'dev'"):
        read_dataset(folder.write())
    folder.rows[0]["split"] = "train"
    folder.rows[1]["group"] = "g0"
    dataset = read_dataset(folder.write())
    with pytest.raises(InputError, match="group g0"):
        check_dataset(dataset)


def test_warnings(folder):
    folder.put("images/a0.tif", pixels_of(0).astype(np.uint16) * 100)
    folder.rows[0]["image"] = "images/a0.tif"
    folder.put("masks/a2.png", mask_of(2) * 0)
    folder.put("masks/a3.png", mask_of(2) * 0 + 255)
    folder.column("pixel_size_um", ["1"] * 6)
    assert folder.load()[1].warnings == (
        "mixed dtypes: 1 of uint16, 5 of uint8; intensities are scaled per image",
        "nothing is annotated: a3",
        "split test has no pixel of class_1",
    )


def test_where(folder):
    folder.column("stain", list("xxxyyy"))
    assert [i.id for i in read_dataset(folder.write(), where={"stain": "y"}).items] == [
        "a3", "a4", "a5",
    ]  # fmt: skip
    with pytest.raises(InputError, match="no row has stain=z; stain is one of x, y"):
        read_dataset(folder.root, where={"stain": "z"})
    with pytest.raises(InputError, match="no column 'dye'; the manifest has id, image"):
        read_dataset(folder.root, where={"dye": "x"})


def test_manifest_that_is_no_table(folder):
    path = folder.root / "manifest.csv"
    path.write_text("id;image;mask;group\n")
    with pytest.raises(InputError, match="lacks the columns id, image, mask, group"):
        read_dataset(folder.root)
    path.write_text("id,image,mask,group,split\na,b\n")
    with pytest.raises(InputError, match=r"line 2 of manifest.csv does not have 5 values"):
        read_dataset(folder.root)
    path.write_bytes(b"id,image,mask,group,split\n\xff\xfe,a,b,c,d\n")
    with pytest.raises(StoredDataError, match="UTF-8"):
        read_dataset(folder.root)
    path.write_text("id,image,mask,group,split\n")
    with pytest.raises(InputError, match="has no images"):
        read_dataset(folder.root)


def test_split_by_group(folder):
    rows = [row | {"group": f"g{k // 2}"} for k, row in enumerate(folder.rows)]
    for row in rows:
        del row["split"]
    folder.rows = rows
    folder.write()
    with pytest.raises(InputError, match="no split column; add it, or give rng"):
        read_dataset(folder.root)
    seen = set()
    for seed in range(8):
        dataset = read_dataset(folder.root, rng=np.random.default_rng(seed))
        again = read_dataset(folder.root, rng=np.random.default_rng(seed))
        assert dataset == again
        assert all(dataset.split(name) for name in SPLITS)
        seen.add(tuple(item.split for item in dataset.items))
    assert len(seen) > 1
    _, report = load_dataset(folder.root, rng=np.random.default_rng(0))
    assert report.shared_groups == ()
    with pytest.raises(InputError, match="add up to 1"):
        read_dataset(folder.root, split_fractions=(1, 1, 1), rng=np.random.default_rng(0))


def test_split_keeps_fractions(folder):
    folder.rows = [
        {"id": f"i{k}", "image": "images/a0.png", "mask": "masks/a0.png", "group": f"g{k}"}
        for k in range(20)
    ]
    dataset = read_dataset(folder.write(), rng=np.random.default_rng(0))
    assert [len(dataset.split(name)) for name in SPLITS] == [12, 4, 4]


def test_folders_are_paired_by_stem(folder):
    (folder.root / "images/a1.png").rename(folder.root / "images/a1.x.png")
    folder.put("masks/a2.tif", mask_of(2))
    (folder.root / "notes.txt").write_text("x")
    (folder.root / "images/.hidden").write_text("x")
    rng = np.random.default_rng(0)
    with pytest.raises(InputError) as caught:
        load_dataset(folder.root, rng=rng)
    for part in (
        "3 fault(s)",
        "images/a1.x.png has no mask of stem a1.x",
        "masks/a1.png has no image of stem a1",
        "masks/ has two files of stem a2: a2.png, a2.tif",
    ):
        assert part in str(caught.value)
    (folder.root / "images/a1.x.png").rename(folder.root / "images/a1.png")
    (folder.root / "masks/a2.tif").unlink()
    dataset, report = load_dataset(folder.root, rng=np.random.default_rng(0))
    assert [item.id for item in dataset.items] == [f"a{k}" for k in range(6)]
    assert "each image is its own group" in report.warnings[0]
    with pytest.raises(InputError, match=r"no manifest.csv, so there are no columns"):
        read_dataset(folder.root, where={"a": "b"}, rng=rng)


def test_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        read_dataset(tmp_path / "x")
    with pytest.raises(InputError, match=r"neither manifest.csv nor the two folders"):
        read_dataset(tmp_path)


def test_links_inside_the_folder_are_inside(folder, tmp_path):
    cache = tmp_path / "cache"
    (folder.root / "images").rename(cache)
    (folder.root / "images").symlink_to(cache)
    assert len(folder.load()[1].rows) == 6


def test_split_names_are_checked(folder):
    with pytest.raises(InputError, match="'dev' is none of train, val, test"):
        folder.load()[0].split("dev")
