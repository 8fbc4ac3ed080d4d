"""Where a split has no image, training images make up for it."""

import csv

import numpy as np
import pytest
from PIL import Image

from spixgraph.errors import InputError
from spixgraph.io.dataset import load_dataset
from spixgraph.io.images import open_image
from spixgraph.io.masks import read_mask
from spixgraph.io.parts import PartSource, open_item_image, open_item_mask


def write_set(root, rows, *, shape=(40, 200), masks=None):
    """Write images of noise; `rows` are (id, group, split), split may be None for all."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    columns = ["id", "image", "mask", "group", "split"][: 4 if rows[0][2] is None else 5]
    with (root / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        for number, (name, group, split) in enumerate(rows):
            rng = np.random.default_rng(number)
            image = rng.integers(0, 256, shape, dtype=np.uint8)
            mask = rng.integers(0, 2, shape, dtype=np.uint8) if masks is None else masks[number]
            Image.fromarray(image).save(root / f"images/{name}.png")
            Image.fromarray(mask).save(root / f"masks/{name}.png")
            row = [name, f"images/{name}.png", f"masks/{name}.png", group, split]
            writer.writerow(row[: len(columns)])
    return root


def load(root):
    return load_dataset(root, rng=np.random.default_rng(0))


def splits_of(dataset):
    return {item.id: item.split for item in dataset.items}


def test_a_whole_group_is_held_out_where_one_can_be_spared(tmp_path):
    rows = [("a", "g1", "train"), ("b", "g1", "train"), ("c", "g2", "train"), ("d", "g3", "test")]
    dataset, report = load(write_set(tmp_path, rows))
    assert splits_of(dataset) == {"a": "train", "b": "train", "c": "val", "d": "test"}
    assert "split val had no image: group g2 (1 image(s)) was taken from train" in " ".join(
        report.warnings
    )


def test_images_of_one_group_are_cut_at_the_same_place(tmp_path):
    rows = [("a", "g1", "train"), ("b", "g1", "train"), ("t", "g2", "test")]
    dataset, report = load(write_set(tmp_path, rows))
    assert splits_of(dataset) == {
        "a-train": "train", "a-val": "val", "b-train": "train", "b-val": "val", "t": "test",
    }  # fmt: skip
    parts = {item.id: item.part for item in dataset.items}
    assert parts["a-val"] == parts["b-val"]
    assert parts["t"] is None
    assert {parts["a-train"], parts["a-val"]} == {(0, 40, 0, 150), (0, 40, 150, 200)}
    assert "too good for other images" in " ".join(report.warnings)


def test_one_image_is_cut_once_into_all_splits(tmp_path):
    dataset, report = load(write_set(tmp_path, [("a", "a", None)], shape=(200, 40)))
    assert sorted(splits_of(dataset).values()) == ["test", "train", "val"]
    assert sum(row.megapixels for row in report.rows) == pytest.approx(200 * 40 / 1e6)
    hits = np.zeros((200, 40), np.int64)
    pixels = read_mask(tmp_path / "masks/a.png")
    with open_image(tmp_path / "images/a.png") as whole:
        image = whole.read(slice(None), slice(None), slice(None))
    for item in dataset.items:
        top, bottom, left, right = item.part
        hits[top:bottom, left:right] += 1
        with open_item_image(item) as source, open_item_mask(item) as mask:
            assert source.info.shape_zyxc == (1, bottom - top, right - left, 1)
            some = source.read(slice(None), slice(3, 9), slice(5, None))
            np.testing.assert_array_equal(some, image[:, top + 3 : top + 9, left + 5 : right])
            got = mask.read(slice(None), slice(None), slice(None))[..., 0]
            np.testing.assert_array_equal(got, pixels[:, top:bottom, left:right])
    assert (hits == 1).all()


def test_two_images_give_a_test_image_and_parts(tmp_path):
    dataset, _ = load(write_set(tmp_path, [("a", "a", None), ("b", "b", None)]))
    assert sorted(splits_of(dataset).values()) == ["test", "train", "val"]
    whole = [item for item in dataset.items if item.part is None]
    assert [item.split for item in whole] == ["test"]


def test_the_cut_shows_each_class_to_each_split(tmp_path):
    mask = np.zeros((200, 200), np.uint8)
    mask[150:] = 1  # cut along y, some split would have one class alone
    dataset, report = load(write_set(tmp_path, [("a", "a", None)], shape=(200, 200), masks=[mask]))
    assert all(item.part[:2] == (0, 200) for item in dataset.items)
    assert all(min(row.class_pixels) > 0 for row in report.rows)


def test_small_images_are_not_cut(tmp_path):
    with pytest.raises(InputError, match=r"split val has no image.*32 px"):
        load(write_set(tmp_path, [("a", "a", None)], shape=(60, 60)))


def test_a_part_outside_of_the_image_is_refused(tmp_path):
    write_set(tmp_path, [("a", "a", None)])
    for part in ((0, 41, 0, 10), (0, 10, 5, 5), (-1, 10, 0, 10)):
        with pytest.raises(InputError, match="not inside"):
            PartSource(open_image(tmp_path / "images/a.png"), part)
