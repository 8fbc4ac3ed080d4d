"""What each file format gives back, and what is refused."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from spixgraph.errors import InputError, StoredDataError
from spixgraph.io import _tiff
from spixgraph.io.images import ArraySource, image_sha256, open_image
from spixgraph.io.source import stream_blocks

ALL = (slice(None),) * 3
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (100, 130), dtype=np.uint8)
RGB = RNG.integers(0, 256, (100, 130, 3), dtype=np.uint8)
STACK = RNG.integers(0, 60000, (7, 40, 50), dtype=np.uint16)
HYPER = RNG.integers(0, 60000, (5, 2, 40, 50), dtype=np.uint16)  # ZCYX
GREY_ZYXC, RGB_ZYXC, STACK_ZYXC = GREY[None, ..., None], RGB[None], STACK[..., None]
HYPER_ZYXC = HYPER.transpose(0, 2, 3, 1)


def write_tiff(path, pixels, **options):
    options.setdefault("photometric", "rgb" if pixels.shape[-1] == 3 else "minisblack")
    tifffile.imwrite(path, pixels, **options)
    return path


def read_all(path, **options):
    with open_image(path, **options) as source:
        pixels = source.read(*ALL)
        assert pixels.shape == source.info.shape_zyxc
        assert pixels.dtype == source.info.dtype
        return pixels


TIFFS: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "one run": (GREY, {}, GREY_ZYXC),
    "strips": (GREY, {"rowsperstrip": 7, "compression": "lzw", "predictor": 2}, GREY_ZYXC),
    "tiles": (GREY, {"tile": (32, 48), "compression": "zlib"}, GREY_ZYXC),
    "big": (GREY, {"bigtiff": True, "tile": (32, 32)}, GREY_ZYXC),
    "big endian": (STACK[0], {"byteorder": ">", "compression": "zlib"}, STACK_ZYXC[:1]),
    "rgb": (RGB, {}, RGB_ZYXC),
    "rgb tiles": (RGB, {"tile": (32, 64), "compression": "zlib"}, RGB_ZYXC),
    "rgb planes": (
        RGB.transpose(2, 0, 1),
        {"planarconfig": "separate", "photometric": "rgb", "tile": (16, 16)},
        RGB_ZYXC,
    ),
    "pages": (STACK, {}, STACK_ZYXC),
    "pages deflated": (STACK, {"compression": "zlib"}, STACK_ZYXC),
    "three slices named": (STACK[:3], {"metadata": {"axes": "ZYX"}}, STACK_ZYXC[:3]),
    "imagej": (HYPER, {"imagej": True, "metadata": {"axes": "ZCYX"}}, HYPER_ZYXC),
    "ome": (HYPER, {"ome": True, "metadata": {"axes": "ZCYX"}, "compression": "zlib"}, HYPER_ZYXC),
    "ome czyx": (
        HYPER.transpose(1, 0, 2, 3),
        {"ome": True, "metadata": {"axes": "CZYX"}, "tile": (16, 16)},
        HYPER_ZYXC,
    ),
    "bool": (GREY > 99, {}, (GREY_ZYXC > 99).astype(np.uint8)),
    "int32": (GREY.astype(np.int32) * 200, {}, GREY_ZYXC.astype(np.uint16) * 200),
    "float16": (GREY.astype(np.float16), {}, GREY_ZYXC.astype(np.float32)),
    "float64": (GREY.astype(np.float64), {}, GREY_ZYXC.astype(np.float64)),
    "white is zero": (GREY, {"photometric": "miniswhite"}, 255 - GREY_ZYXC),
    "one row": (GREY[:1], {"compression": "zlib"}, GREY_ZYXC[:, :1]),
    "one column": (GREY[:, :1], {}, GREY_ZYXC[:, :, :1]),
    "one pixel": (GREY[:1, :1], {}, GREY_ZYXC[:, :1, :1]),
}


@pytest.mark.parametrize("name", TIFFS)
def test_tiff_gives_zyxc(tmp_path, name):
    stored, options, expected = TIFFS[name]
    pixels = read_all(write_tiff(tmp_path / "a.tif", stored, **options))
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("name", ["one run", "strips", "tiles", "rgb planes", "pages", "ome czyx"])
def test_blocks_are_parts_of_the_whole(tmp_path, name):
    stored, options, expected = TIFFS[name]
    rng = np.random.default_rng(1)
    with open_image(write_tiff(tmp_path / "a.tif", stored, **options)) as source:
        for _ in range(20):
            spans = [sorted(rng.choice(n + 1, 2, replace=False)) for n in expected.shape[:3]]
            z, y, x = (slice(int(a), int(b)) for a, b in spans)
            np.testing.assert_array_equal(source.read(z, y, x), expected[z, y, x])


def test_jpeg_in_tiff_is_rgb(tmp_path):
    path = write_tiff(tmp_path / "a.tif", RGB, compression="jpeg", tile=(32, 32))
    np.testing.assert_array_equal(read_all(path)[0], tifffile.imread(path))


def test_axes_settle_what_the_file_leaves_open(tmp_path):
    path = write_tiff(tmp_path / "a.tif", STACK[:3], compression="zlib")
    with pytest.raises(InputError, match=r"3 grey pages.*--axes ZYX or --axes CYX"):
        open_image(path)
    np.testing.assert_array_equal(read_all(path, axes="ZYX"), STACK_ZYXC[:3])
    np.testing.assert_array_equal(read_all(path, axes="CYX")[0], STACK[:3].transpose(1, 2, 0))


@pytest.mark.parametrize("axes", ["ZY", "ZYXC", "QYX", "YZX", "XYZ", "ZZX"])
def test_axes_that_do_not_fit_are_refused(tmp_path, axes):
    path = write_tiff(tmp_path / "a.tif", STACK[:3], compression="zlib")
    with pytest.raises(InputError, match="axes"):
        open_image(path, axes=axes)


def test_unnamed_and_time_axes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"Q is more than one long.*--axes ZYXC"):
        open_image(write_tiff(tmp_path / "a.tif", HYPER))
    ome = {"ome": True, "metadata": {"axes": "TCYX"}}
    with pytest.raises(InputError, match="time series"):
        open_image(write_tiff(tmp_path / "b.tif", HYPER, **ome))


def test_two_images_in_a_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(GREY, metadata=None)
        tif.write(GREY[:90, :90], metadata=None)
    with pytest.raises(InputError, match="2 images"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("there", "error", "message"),
    [(True, InputError, "pixels in other files"), (False, StoredDataError, "lacks some of its 2")],
)
def test_ome_sets_of_several_files_are_refused(tmp_path, there, error, message):
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{k}" for k in range(2)]
    blocks = "".join(
        f'<TiffData FirstZ="{k}" IFD="0" PlaneCount="1"><UUID FileName="{k}.ome.tif">{uuid}</UUID>'
        "</TiffData>"
        for k, uuid in enumerate(uuids)
    )
    for k in range(1 + there):
        xml = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuids[k]}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
            'SizeX="130" SizeY="100" SizeZ="2" SizeC="1" SizeT="1">'
            f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{blocks}</Pixels></Image></OME>'
        )
        write_tiff(tmp_path / f"{k}.ome.tif", GREY, description=xml, metadata=None)
    with pytest.raises(error, match=message):
        open_image(tmp_path / "0.ome.tif")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resolution": (20000, 10000), "resolutionunit": "CENTIMETER"}, (1.0, 1.0, 0.5)),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (2, 2)}, None),
        ({"imagej": True, "resolution": (4, 5), "metadata": {"unit": "um"}}, (0.2, 0.2, 0.25)),
        ({"imagej": True, "resolution": (4, 5), "metadata": {"unit": "pixel"}}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.5, "PhysicalSizeY": 250,
                                    "PhysicalSizeYUnit": "nm"}}, (0.25, 0.25, 0.5)),
    ],
)  # fmt: skip
def test_pixel_size_of_a_tiff(tmp_path, options, expected):
    with open_image(write_tiff(tmp_path / "a.tif", GREY, **options)) as source:
        assert source.info.pixel_size_um == (expected and pytest.approx(expected))


def test_pixel_size_of_a_stack_needs_z(tmp_path):
    metadata: dict[str, Any] = {"axes": "ZYX", "unit": "micron"}
    options = {"imagej": True, "resolution": (4, 5)}
    without = write_tiff(tmp_path / "a.tif", STACK, metadata=metadata, **options)
    with open_image(without) as source:
        assert source.info.pixel_size_um is None
    with open_image(without, pixel_size_um=(2, 1, 1)) as source:
        assert source.info.pixel_size_um == (2.0, 1.0, 1.0)
    metadata["spacing"] = 3.0
    with open_image(write_tiff(tmp_path / "b.tif", STACK, metadata=metadata, **options)) as source:
        assert source.info.pixel_size_um == pytest.approx((3.0, 0.2, 0.25))


def test_pixel_size_must_be_positive(tmp_path):
    with pytest.raises(InputError, match=r"pixel_size_um is \[0\.0, 1\.0, 1\.0\]"):
        open_image(write_tiff(tmp_path / "a.tif", GREY), pixel_size_um=(0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (GREY.astype(np.int16) - 100, "int16 values -100..155"),
        (GREY.astype(np.int32) * 1000, "0..65535 is the limit"),
        (GREY.astype(np.complex64), "complex64"),
        (np.where(GREY > 9, GREY, np.nan).astype(np.float32), "NaN or inf"),
    ],
)
def test_values_that_do_not_fit_are_refused(tmp_path, pixels, message):
    with pytest.raises(StoredDataError, match=message):
        read_all(write_tiff(tmp_path / "a.tif", pixels))


def test_alpha_is_dropped_only_where_it_says_nothing(tmp_path):
    opaque = np.concatenate([RGB, np.full((100, 130, 1), 255, np.uint8)], axis=-1)
    partly = opaque.copy()
    partly[50, 60, 3] = 0
    for suffix in ("png", "tif"):
        paths = [tmp_path / f"{name}.{suffix}" for name in ("opaque", "partly")]
        for path, pixels in zip(paths, (opaque, partly), strict=True):
            if suffix == "png":
                Image.fromarray(pixels).save(path)
            else:
                write_tiff(path, pixels, photometric="rgb", compression="zlib")
        np.testing.assert_array_equal(read_all(paths[0])[0], RGB)
        with pytest.raises(InputError, match="alpha channel that is not constant"):
            read_all(paths[1])


@pytest.mark.parametrize(
    "pixels", [GREY, RGB, STACK[0], GREY > 99], ids=["grey", "rgb", "16 bit", "1 bit"]
)
def test_png_gives_stored_values(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    got = read_all(tmp_path / "a.png")[0]
    assert got.dtype == (np.uint16 if pixels.dtype == np.uint16 else np.uint8)
    np.testing.assert_array_equal(got, pixels.reshape(*pixels.shape[:2], -1))


def test_png_of_16_bit_rgb_keeps_its_bits(tmp_path):
    import imagecodecs

    pixels = RNG.integers(0, 65536, (9, 8, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(read_all(tmp_path / "a.png")[0], pixels)


def test_jpeg(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=95)
    difference = read_all(tmp_path / "a.jpg")[0].astype(int) - np.asarray(
        Image.open(tmp_path / "a.jpg")
    )
    assert abs(difference).max() <= 2  # two builds of libjpeg


def test_colours_that_are_not_intensities_are_refused(tmp_path):
    palette = Image.fromarray(GREY % 3)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "p.png")
    write_tiff(
        tmp_path / "p.tif", GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16)
    )
    Image.fromarray(np.dstack([RGB, GREY]), "CMYK").save(tmp_path / "c.jpg")
    for name, message in (("p.png", "palette"), ("p.tif", "PALETTE"), ("c.jpg", "CMYK")):
        with pytest.raises(InputError, match=message):
            read_all(tmp_path / name)


def test_png_axes_must_be_so(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert read_all(tmp_path / "a.png", axes="YXC").shape == (1, 100, 130, 3)
    with pytest.raises(InputError, match="it is YXC"):
        open_image(tmp_path / "a.png", axes="YXZ")


BROKEN = {
    "png": lambda p: Image.fromarray(GREY).save(p),
    "jpg": lambda p: Image.fromarray(GREY).save(p),
    "run.tif": lambda p: write_tiff(p, GREY),
    "tiles.tif": lambda p: write_tiff(p, GREY, tile=(32, 32), compression="zlib"),
    "pages.tif": lambda p: write_tiff(p, STACK, compression="zlib"),
    "imagej.tif": lambda p: write_tiff(p, STACK, imagej=True, metadata={"axes": "ZYX"}),
}


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("name", BROKEN)
def test_truncated_files_are_one_line(tmp_path, name, kept):
    path = tmp_path / f"a.{name}"
    BROKEN[name](path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(StoredDataError) as caught:
        read_all(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["png", "tiles.tif"])
def test_corrupt_files_are_refused(tmp_path, name):
    path = tmp_path / f"a.{name}"
    BROKEN[name](path)
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    data[at : at + 64] = bytes(64)
    path.write_bytes(data)
    with pytest.raises(StoredDataError, match="cannot be read"):
        read_all(path)


def test_files_that_are_no_images(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="save it as PNG"):
        open_image(tmp_path / "a.txt")
    for name in ("b.png", "b.jpg", "b.tif"):
        (tmp_path / name).write_text("x" * 5000)
        with pytest.raises(StoredDataError):
            open_image(tmp_path / name)


def write_ome_zarr(path, pixels, axes, version, scale):
    zarr_format: Any = 3 if version == "0.5" else 2
    multiscale = {
        "axes": axes,
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        ],
    }
    ome = {"version": version, "multiscales": [multiscale]}
    attributes = {"ome": ome} if version == "0.5" else {"multiscales": [multiscale]}
    group = zarr.create_group(path, zarr_format=zarr_format, attributes=attributes)
    chunks = tuple(min(n, 16) for n in pixels.shape)
    group.create_array("0", data=pixels, chunks=chunks)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path, version):
    axes = [
        {"name": "t", "type": "time"},
        {"name": "c", "type": "channel"},
        *({"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"),
    ]
    path = tmp_path / "a.ome.zarr"
    stored = HYPER.transpose(1, 0, 2, 3)[None]
    write_ome_zarr(path, stored, axes, version, [1, 1, 2000, 500, 250])
    np.testing.assert_array_equal(read_all(path), HYPER_ZYXC)
    with open_image(path) as source:
        assert source.info.pixel_size_um == pytest.approx((2.0, 0.5, 0.25))
        block = source.read(slice(1, 3), slice(10, 20), slice(5, 50))
    np.testing.assert_array_equal(block, HYPER_ZYXC[1:3, 10:20, 5:50])


def test_plain_zarr_needs_axes_in_3d(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=GREY, chunks=(16, 16))
    np.testing.assert_array_equal(read_all(tmp_path / "a.zarr"), GREY_ZYXC)
    zarr.create_array(tmp_path / "b.zarr", data=HYPER[:, 0], chunks=(2, 16, 16))
    np.testing.assert_array_equal(read_all(tmp_path / "b.zarr", axes="ZYX")[..., 0], HYPER[:, 0])


def test_zarr_without_an_image_says_what_it_holds(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_group("labels/cells")
    with pytest.raises(StoredDataError, match="labels/cells"):
        open_image(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "zarr.json").write_text("{")
    with pytest.raises(StoredDataError, match="cannot be read"):
        open_image(tmp_path / "b.zarr")


def test_a_block_reads_its_zarr_chunks_only(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=np.ones((64, 64), np.uint8), chunks=(16, 16))
    with open_image(path) as source:
        for chunk in path.glob("c/[!0]*/*"):
            chunk.unlink()  # a missing chunk reads as 0
        assert source.read(slice(0, 1), slice(0, 16), slice(16, 48)).all()
        assert not source.read(slice(0, 1), slice(16, 17), slice(16, 48)).any()


def count_decoded(reader, monkeypatch):
    """Note the number of each segment that is decoded from now on."""
    counted: list[int] = []
    decode = reader._decode

    def counting(data, number, tables):
        counted.append(number)
        return decode(data, number, tables)

    monkeypatch.setattr(reader, "_decode", counting)
    return counted


def open_tiff(path) -> Any:
    return open_image(path)


def test_a_block_reads_its_tiles_once(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", GREY, tile=(16, 16), compression="zlib")
    with open_tiff(path) as source:
        counted = count_decoded(source._reader, monkeypatch)
        block = (slice(0, 1), slice(20, 40), slice(33, 49))
        source.read(*block)
        assert sorted(counted) == [11, 12, 20, 21]  # 9 tiles in a row
        source.read(*block)
        assert len(counted) == 4


def test_strips_are_decoded_once_per_row_of_blocks(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", GREY, rowsperstrip=10, compression="zlib")
    with open_tiff(path) as source:
        counted = count_decoded(source._reader, monkeypatch)
        for box in stream_blocks(source.info.shape_zyxc, (1, 20, 20)):
            source.read(*box)
        assert sorted(counted) == list(range(10))


def test_the_cache_of_segments_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(_tiff, "_CACHE_BYTES", 1000)
    path = write_tiff(tmp_path / "a.tif", GREY, tile=(16, 16), compression="zlib")
    with open_tiff(path) as source:
        np.testing.assert_array_equal(source.read(*ALL), GREY_ZYXC)
        held = sum(pixels.nbytes for pixels in source._reader._cache.values())
        assert held == source._reader._cached_bytes <= 1000


def test_array_source_copies_and_checks():
    pixels = GREY_ZYXC.copy()
    source = ArraySource(pixels)
    source.read(*ALL)[:] = 0
    np.testing.assert_array_equal(pixels, GREY_ZYXC)
    for x in (slice(5, 5), slice(0, 9, 2), slice(130, 140)):
        with pytest.raises(InputError, match="empty or has a step"):
            source.read(slice(0, 1), slice(0, 9), x)
    with pytest.raises(InputError, match=r"\(Z, Y, X, C\)"):
        ArraySource(GREY)


def test_hash_is_of_pixels_not_of_files(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    write_tiff(tmp_path / "a.tif", GREY, byteorder=">", resolution=(3, 3))
    write_tiff(tmp_path / "b.tif", GREY, tile=(16, 32), compression="zlib")
    zarr.create_array(tmp_path / "a.zarr", data=GREY, chunks=(7, 9))
    hashes = set()
    for name in ("a.png", "a.tif", "b.tif", "a.zarr"):
        with open_image(tmp_path / name) as source:
            hashes.add(image_sha256(source))
    hashes.add(image_sha256(ArraySource(GREY_ZYXC)))
    assert len(hashes) == 1
    other = GREY_ZYXC.copy()
    other[0, 99, 129] ^= 1
    turned = GREY_ZYXC.reshape(1, 130, 100, 1)
    for pixels in (other, turned, GREY_ZYXC.astype(np.uint16)):
        assert image_sha256(ArraySource(pixels)) not in hashes


def test_hash_of_a_large_image_is_streamed():
    class Counting(ArraySource):
        largest = 0

        def read(self, z, y, x):
            block = super().read(z, y, x)
            self.largest = max(self.largest, block.size)
            return block

    source = Counting(np.zeros((40, 600, 700, 1), np.uint8))
    image_sha256(source)
    assert 2**22 < source.largest <= 2**23


@pytest.mark.parametrize("options", [{}, {"tile": (256, 256), "compression": "zlib"}])
def test_memory_is_that_of_the_block(tmp_path, options):
    path = write_tiff(tmp_path / "a.tif", np.zeros((6000, 8000), np.uint8), **options)
    with open_image(path) as source:
        tracemalloc.start()
        source.read(slice(0, 1), slice(3000, 3500), slice(4000, 4500))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2 * 2**20  # of 46 MiB


def test_a_corrupt_zarr_chunk_is_refused(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=GREY, chunks=(50, 50))
    chunk = path / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(StoredDataError, match="cannot be read"):
        read_all(path)
