"""Masks come back as written, in every format."""

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import sha256_file, sha256_tree
from spixgraph.io.masks import MaskBands, MaskSource, read_mask, write_mask

SIZE = (2.0, 0.5, 0.25)
NAMES = ("background", "cell", "debris")
COLOURS = ("#000000", "#ff0000", "#0080ff")


def random_mask(shape):
    mask = np.random.default_rng(0).integers(0, 3, shape, dtype=np.uint8)
    mask[0, 0, 0] = 255
    return mask


@pytest.mark.parametrize("colours", [(), COLOURS], ids=["grey", "coloured"])
@pytest.mark.parametrize(
    ("shape", "suffix"),
    [
        *product([(1, 1, 1), (1, 530, 2100)], [".png", ".tif", ".ome.tiff", ".zarr", ".ome.zarr"]),
        *product([(5, 40, 50)], [".tif", ".ome.zarr"]),
    ],
)
def test_round_trip(tmp_path, shape, suffix, colours):
    mask, path = random_mask(shape), tmp_path / f"m{suffix}"
    hashes = set()
    for _ in range(2):
        write_mask(path, mask, pixel_size_um=SIZE, class_names=NAMES, colours=colours)
        hashes.add(sha256_tree(path) if path.is_dir() else sha256_file(path))
        np.testing.assert_array_equal(read_mask(path), mask)
    assert len(hashes) == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with MaskSource(path) as source:
        size = source.info.pixel_size_um
    if suffix == ".png":
        assert size is None
    else:
        assert size is not None
        assert size[1:] == pytest.approx(SIZE[1:])
        assert shape[0] == 1 or size[0] == pytest.approx(SIZE[0])


def test_tiff_is_a_tiled_bigtiff_with_resolution(tmp_path):
    write_mask(tmp_path / "m.tif", random_mask((1, 600, 700)), pixel_size_um=SIZE)
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        page = tif.pages.first
        assert tif.is_bigtiff
        assert tif.is_ome
        assert page.is_tiled
        assert page.compression.name == "ADOBE_DEFLATE"
        x, y = (page.tags[f"{a}Resolution"].value for a in "XY")
        assert (x[0] / x[1], y[0] / y[1]) == pytest.approx((40000, 20000))


def test_zarr_carries_label_metadata_and_a_pyramid(tmp_path):
    mask = random_mask((1, 100, 2100))
    path = tmp_path / "m.ome.zarr"
    write_mask(path, mask, pixel_size_um=SIZE, class_names=NAMES, colours=COLOURS)
    ome = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    assert ome["version"] == "0.5"
    label = ome["image-label"]
    assert {"label-value": 1, "name": "cell"} in label["properties"]
    assert {"label-value": 2, "rgba": [0, 128, 255, 255]} in label["colors"]
    assert [c["label-value"] for c in label["colors"]] == [
        p["label-value"] for p in label["properties"]
    ]
    levels = ome["multiscales"][0]["datasets"]
    scales = [level["coordinateTransformations"][0]["scale"] for level in levels]
    assert scales == [[0.5, 0.25], [1.0, 0.5], [2.0, 1.0]]
    shifts = [level["coordinateTransformations"][1]["translation"] for level in levels]
    assert shifts == [[0, 0], [0.25, 0.125], [0.75, 0.375]]
    level: Any = zarr.open_group(path, mode="r")["2"]
    assert level.shape == (25, 525)


def test_zarr_is_valid_for_ome_zarr_models(tmp_path):
    models = pytest.importorskip(
        "ome_zarr_models.v05.image_label", reason="ome-zarr-models is not installed"
    )
    path = tmp_path / "m.zarr"
    write_mask(path, random_mask((3, 40, 50)), class_names=NAMES, colours=COLOURS)
    label = models.ImageLabel.from_zarr(zarr.open_group(path, mode="r"))
    assert len(label.ome_attributes.image_label.colors) == 4


def test_a_memory_map_is_written(tmp_path):
    mask = np.memmap(tmp_path / "raw", np.uint8, "w+", shape=(1, 700, 600))
    mask[:] = random_mask((1, 700, 600))
    write_mask(tmp_path / "m.tif", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), mask)


def test_palette_indices_are_class_ids(tmp_path):
    ids = random_mask((1, 20, 30))[0] % 3
    image = Image.fromarray(ids)
    image.putpalette([9, 9, 9, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "m.png")
    tifffile.imwrite(
        tmp_path / "m.tif", ids, photometric="palette", colormap=np.ones((3, 256), np.uint16)
    )
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png")[0], ids)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif")[0], ids)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint16, np.int32, np.int64])
def test_integers_that_fit_are_read(tmp_path, dtype):
    ids = (random_mask((1, 20, 30))[0] % 2).astype(dtype)
    tifffile.imwrite(tmp_path / "m.tif", ids)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif")[0], ids)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((20, 30, 3), np.uint8), "3 channels"),
        (np.zeros((20, 30), np.float32), "float32"),
        (np.full((20, 30), 256, np.uint16), "class id 256"),
        (np.full((20, 30), -1, np.int16), "values -1..-1"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, pixels, message):
    tifffile.imwrite(
        tmp_path / "m.tif", pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack"
    )
    with pytest.raises(StoredDataError, match=message):
        read_mask(tmp_path / "m.tif")


def test_write_refuses_bad_arguments(tmp_path):
    mask = random_mask((2, 4, 4))
    for path, value, options, message in (
        ("m.png", mask, {}, "2 slices"),
        ("m.jpg", mask, {}, r"m\.jpg must end in one of \.png"),
        ("m.tif", mask.astype(int), {}, "uint8"),
        ("m.tif", mask[0], {}, r"\(Z, Y, X\)"),
        ("m.tif", mask, {"pixel_size_um": (0, 1, 1)}, "> 0"),
        ("m.zarr", mask, {"colours": ["red"]}, "#rrggbb"),
        ("m.zarr", mask, {"colours": COLOURS, "class_names": ["a"]}, "1 class names but 3"),
    ):
        with pytest.raises(InputError, match=message):
            write_mask(tmp_path / path, value, **options)
    assert not list(tmp_path.iterdir())


def test_bands_of_an_open_mask_are_read_once(tmp_path, monkeypatch):
    mask = np.random.default_rng(0).integers(0, 5, (2, 70, 90), np.uint8)
    write_mask(tmp_path / "m.tif", mask)
    with MaskSource(tmp_path / "m.tif") as source:
        reads: list[Any] = []
        read = source.read

        def counted(*box):
            reads.append(box)
            return read(*box)

        monkeypatch.setattr(source, "read", counted)
        bands = MaskBands(source)
        assert bands.shape == mask.shape
        for z, y in ((0, 0), (0, 40), (1, 0)):
            for x in (0, 30, 60):
                box = (slice(z, z + 1), slice(y, y + 40), slice(x, x + 30))
                np.testing.assert_array_equal(bands[box], mask[box])
        assert len(reads) == 3
