"""Masks and probabilities that are written strip by strip."""

import json
import tracemalloc
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from spixgraph.errors import InputError
from spixgraph.files import sha256_file, sha256_tree
from spixgraph.io import pyramid
from spixgraph.io._tiles import mean_of_four, mode_of_four
from spixgraph.io.masks import read_mask, write_mask
from spixgraph.io.pyramid import STRIP_PX, channel_writer, mask_writer

even = st.integers(1, 4).map(lambda n: 2 * n)
images = st.tuples(even, even).flatmap(lambda s: arrays(np.uint8, s, elements=st.integers(0, 3)))


def random_mask(shape):
    """Discs of a few classes, so that tiles differ and compress."""
    rng = np.random.default_rng(1)
    mask = np.zeros(shape, np.uint8)
    y, x = np.mgrid[: shape[1], : shape[2]]
    for k in range(30):
        z, cy, cx = (rng.integers(n) for n in shape)
        mask[z, (y - cy) ** 2 + (x - cx) ** 2 < rng.integers(9, 4000)] = 1 + k % 4
    return mask


def write_strips(writer, planes, order=None):
    """Write planes (P, Y, X) strip by strip, in any order."""
    places = list(product(range(len(planes)), range(-(-planes.shape[1] // STRIP_PX))))
    for plane, strip in order(places) if order else places:
        y = strip * STRIP_PX
        writer.write(plane, strip, planes[plane, y : y + STRIP_PX])


def slow_halved(pixels, pick):
    """Pad to even sides, then ask `pick` for each 2 x 2 pixels."""
    padded = np.pad(pixels, [(0, n % 2) for n in pixels.shape], mode="edge")
    out = np.empty((padded.shape[0] // 2, padded.shape[1] // 2), np.uint8)
    for y, x in np.ndindex(out.shape):
        out[y, x] = pick(padded[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel().tolist())
    return out


def most_frequent(values):
    counts = Counter(values)
    return max(values, key=lambda v: (counts[v], -values.index(v)))


@given(images)
def test_mode_is_that_of_the_slow_twin(pixels):
    np.testing.assert_array_equal(mode_of_four(pixels), slow_halved(pixels, most_frequent))


@given(images.map(lambda a: a * 85))
def test_mean_is_that_of_the_slow_twin(pixels):
    slow = slow_halved(pixels, lambda values: (sum(values) + 2) // 4)
    np.testing.assert_array_equal(mean_of_four(pixels), slow)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ome.zarr"])
@pytest.mark.parametrize("shape", [(1, 1300, 2600), (3, 600, 530)])
def test_any_order_and_any_threads_give_the_same_bytes(tmp_path, suffix, shape):
    if suffix == ".png" and shape[0] > 1:
        pytest.skip("a PNG has one slice")
    mask = random_mask(shape)
    hashes = set()
    for k, order in enumerate((None, lambda p: p[::-1])):
        path = tmp_path / str(k) / f"m{suffix}"
        writer = mask_writer(path, shape, folder=tmp_path / f"w{k}", workers=1 + k)
        write_strips(writer, mask, order)
        writer.finish()
        np.testing.assert_array_equal(read_mask(path), mask)
        hashes.add(sha256_tree(path) if path.is_dir() else sha256_file(path))
    write_mask(tmp_path / f"m{suffix}", mask)
    whole = tmp_path / f"m{suffix}"
    hashes.add(sha256_tree(whole) if whole.is_dir() else sha256_file(whole))
    assert len(hashes) == 1


@pytest.mark.parametrize("shape", [(1, 1301, 2603), (2, 600, 1100)])
def test_levels_are_modes_of_the_level_above(tmp_path, shape):
    mask = random_mask(shape)
    for suffix in (".tif", ".zarr"):
        write_mask(tmp_path / f"m{suffix}", mask, pixel_size_um=(1, 0.5, 0.5))
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        levels = [level.asarray().reshape(len(mask), *level.shape[-2:]) for level in
                  tif.series[0].levels]  # fmt: skip
        assert all(page.is_tiled and page.is_reduced for page in tif.pages.first.pages)
        widths = [page.tags["XResolution"].value for page in tif.pages.first.pages]
    assert widths[0][0] / widths[0][1] == pytest.approx(10000)  # pixels per cm of level 1
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    assert len(levels) == len(list(group.arrays())) == 1 + (max(shape) > 1024) + (max(shape) > 2048)
    for k, level in enumerate(levels):
        stored = np.asarray(group[str(k)]).reshape(level.shape)
        np.testing.assert_array_equal(stored, level)
        if k:
            slow = [mode_of_four(np.pad(p, [(0, n % 2) for n in p.shape], mode="edge"))
                    for p in levels[k - 1]]  # fmt: skip
            np.testing.assert_array_equal(level, slow)


def test_complete_strips_are_kept(tmp_path):
    mask = random_mask((1, 1100, 700))
    path, folder = tmp_path / "m.tif", tmp_path / "w"
    writer = mask_writer(path, mask.shape, folder=folder)
    writer.write(0, 1, mask[0, 512:1024])
    again = mask_writer(path, mask.shape, folder=folder)
    assert [again.holds(0, k) for k in range(3)] == [False, True, False]
    with pytest.raises(InputError, match=r"2 strips of .*m\.tif lack, \(0, 0\) first"):
        again.finish()
    assert not path.exists()
    for k in (0, 2):
        again.write(0, k, mask[0, 512 * k : 512 * k + 512])
    again.finish()
    np.testing.assert_array_equal(read_mask(path), mask)


@pytest.mark.parametrize(
    ("plane", "strip", "pixels", "message"),
    [
        (0, 0, np.zeros((512, 9), np.uint8), r"must be \(512, 10\) uint8, got \(512, 9\)"),
        (0, 1, np.zeros((512, 10), np.uint8), r"must be \(88, 10\)"),
        (0, 0, np.zeros((512, 10), np.int64), "uint8, got .* int64"),
        (0, 2, np.zeros((512, 10), np.uint8), "no plane 0, strip 2"),
        (1, 0, np.zeros((512, 10), np.uint8), "no plane 1"),
    ],
)
def test_other_strips_are_refused(tmp_path, plane, strip, pixels, message):
    writer = mask_writer(tmp_path / "m.tif", (1, 600, 10), folder=tmp_path / "w")
    with pytest.raises(InputError, match=message):
        writer.write(plane, strip, pixels)


def test_a_png_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr(pyramid, "LARGEST_PNG_PX", 1000)
    with pytest.raises(InputError, match=r"0 megapixels, 0 are the limit.*write \.tif"):
        mask_writer(tmp_path / "m.png", (1, 100, 11), folder=tmp_path / "w")


def test_a_png_is_that_of_another_reader(tmp_path):
    mask = random_mask((1, 700, 613))
    write_mask(tmp_path / "g.png", mask)
    write_mask(tmp_path / "p.png", mask, colours=["#000000", "#ff0000", "#00ff00", "#0000ff"])
    with Image.open(tmp_path / "g.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(image, mask[0])
    with Image.open(tmp_path / "p.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(image, mask[0])
        colours = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(colours[mask[0] == 2], [[0, 255, 0]] * (mask == 2).sum())


@pytest.mark.parametrize("shape", [(1, 600, 1100), (2, 40, 50)])
def test_probabilities(tmp_path, shape):
    planes = np.random.default_rng(0).integers(0, 256, (2 * shape[0], *shape[1:]), np.uint8)
    stored = planes.reshape((2, *shape) if shape[0] > 1 else planes.shape)
    axes = "CZYX" if shape[0] > 1 else "CYX"
    for suffix in (".tif", ".ome.zarr"):
        path = tmp_path / f"p{suffix}"
        options = {"folder": tmp_path / f"w{suffix}", "pixel_size_um": (3.0, 0.5, 0.5)}
        writer = channel_writer(path, shape, ["ground", "cell"], **options)
        write_strips(writer, planes)
        writer.finish()
    with tifffile.TiffFile(tmp_path / "p.tif") as tif:
        assert tif.series[0].axes == axes
        np.testing.assert_array_equal(tif.asarray(), stored)
        assert all(f'Name="{name}"' in (tif.ome_metadata or "") for name in ("ground", "cell"))
    group = zarr.open_group(tmp_path / "p.ome.zarr", mode="r")
    np.testing.assert_array_equal(np.asarray(group["0"]), stored)
    ome = json.loads((tmp_path / "p.ome.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    assert "".join(a["name"] for a in ome["multiscales"][0]["axes"]) == axes.lower()
    assert [c["label"] for c in ome["omero"]["channels"]] == ["ground", "cell"]
    models = pytest.importorskip("ome_zarr_models.v05.image", reason="not installed")
    models.Image.from_zarr(group)


def test_probabilities_are_no_png(tmp_path):
    with pytest.raises(InputError, match=r"must end in one of \.tif"):
        channel_writer(tmp_path / "p.png", (1, 9, 9), ["a"], folder=tmp_path / "w")


def test_ome_zarr_readers_see_a_label_pyramid(tmp_path):
    """What napari's plugin reads with."""
    reader = pytest.importorskip("ome_zarr.reader", reason="ome-zarr is not installed")
    from ome_zarr.io import parse_url

    mask = random_mask((1, 1100, 2100))
    write_mask(tmp_path / "m.zarr", mask, class_names=["ground", "cell"])
    (node,) = list(reader.Reader(parse_url(tmp_path / "m.zarr"))())
    assert [level.shape for level in node.data] == [(1100, 2100), (550, 1050), (275, 525)]
    assert node.metadata["properties"][1] == {"name": "cell"}
    np.testing.assert_array_equal(node.data[0], mask[0])


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".png"])
def test_memory_is_that_of_strips(tmp_path, suffix):
    strip = np.zeros((STRIP_PX, 4096), np.uint8)
    writer = mask_writer(tmp_path / f"m{suffix}", (1, 8192, 4096), folder=tmp_path / "w")
    tracemalloc.start()
    for k in range(16):
        writer.write(0, k, strip)
    writer.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * strip.size  # of 16


def test_a_stopped_writer_leaves_no_broken_row(tmp_path, monkeypatch):
    writer = mask_writer(tmp_path / "m.tif", (1, 512, 512), folder=tmp_path / "w")

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        writer.write(0, 0, np.zeros((512, 512), np.uint8))
    assert not writer.holds(0, 0)
