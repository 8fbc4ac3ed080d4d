"""Whole-slide images and pyramids: the finest level is the image."""

import io
import re
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from spixgraph.errors import StoredDataError
from spixgraph.io.images import open_image

Y, X = np.mgrid[:600, :900]
RGB = np.stack([X // 4 % 256, Y // 3 % 256, (X + Y) // 6 % 256], axis=-1).astype(np.uint8)
BLOCK = (slice(0, 1), slice(100, 301), slice(230, 500))
HEAD = "Aperio Image Library v11.2.1\r\n900x600 [0,0 900x600] (240x240) {}|AppMag = 20|MPP = 0.499"


def write_svs(path, pixels, compression):
    """Write the finest level, thumbnail, a coarser level, label and macro picture."""
    with tifffile.TiffWriter(path) as tif:

        def page(values, description, **options):
            tif.write(values, photometric="rgb", description=description, metadata=None, **options)

        tiles = {"tile": (240, 240), "compression": compression}
        head = HEAD.format("Q=90")
        page(pixels, head, **tiles)
        page(pixels[::6, ::6], f"{head} -> 150x100", rowsperstrip=16, compression="jpeg")
        page(pixels[::2, ::2], head, **tiles)
        small = {"rowsperstrip": 50, "compression": "lzw"}
        page(pixels[:50, :60], "Aperio Image Library\r\nlabel 60x50", subfiletype=1, **small)
        page(pixels[:50, :90], "Aperio Image Library\r\nmacro 90x50", subfiletype=9, **small)
    return path


def ycbcr(rgb):
    """The obvious twin of the decoder, the other way round (JFIF)."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.stack([y, 128 + (b - y) / 1.772, 128 + (r - y) / 1.402], axis=-1).round().clip(0, 255)


@pytest.mark.parametrize(("compression", "tolerance"), [("jpeg", 6), (33005, 0), (33003, 2)])
def test_svs_gives_the_finest_level(tmp_path, compression, tolerance):
    stored = ycbcr(RGB).astype(np.uint8) if compression == 33003 else RGB
    with open_image(write_svs(tmp_path / "a.svs", stored, compression)) as source:
        assert source.info.shape_zyxc == (1, 600, 900, 3)
        assert source.info.pixel_size_um == pytest.approx((0.499, 0.499, 0.499))
        block = source.read(*BLOCK)[0].astype(int)
    difference = np.abs(block - RGB[BLOCK[1:]])
    assert np.quantile(difference, 0.99) <= tolerance


def write_ndpi(path, levels, magnifications):
    """Write pages as Hamamatsu's scanners do: one JPEG strip each, its restarts listed as tiles.

    Offsets of pages have 8 bytes; behind each list of tags stand the high words of their values.
    """
    data, links = bytearray(struct.pack("<2sHQ", b"II", 42, 0)), [4]
    for pixels, magnification in zip(levels, magnifications, strict=True):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(
            stream, "JPEG", quality=95, subsampling=0, restart_marker_blocks=8
        )
        jpeg, strip = stream.getvalue(), len(data)
        scan = jpeg.index(b"\xff\xda")
        first = scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")
        starts = [first, *(m.end() for m in re.finditer(rb"\xff[\xd0-\xd7]", jpeg[first:]))]
        starts[1:] = [first + n for n in starts[1:]]
        data += jpeg + bytes(len(jpeg) % 2)
        more = len(data)
        data += struct.pack(f"<{len(starts)}I", *starts) + struct.pack("<3H", 8, 8, 8)
        data += bytes(len(data) % 2) + struct.pack("<2I", 10_000_000, 227) + b"Hamamatsu\0"
        resolution, make = len(data) - 18, len(data) - 10
        high, wide = pixels.shape[:2]
        bits = more + 4 * len(starts)
        tags = [
            (256, 4, 1, wide), (257, 4, 1, high), (258, 3, 3, bits), (259, 3, 1, 7),
            (262, 3, 1, 6), (271, 2, 10, make), (273, 4, 1, strip), (277, 3, 1, 3),
            (278, 4, 1, high), (279, 4, 1, len(jpeg)), (282, 5, 1, resolution),
            (283, 5, 1, resolution), (284, 3, 1, 1), (296, 3, 1, 3), (65420, 4, 1, 1),
            (65421, 11, 1, struct.unpack("<I", struct.pack("<f", magnification))[0]),
            (65426, 4, len(starts), more),
        ]  # fmt: skip
        struct.pack_into("<Q", data, links[-1], len(data))
        data += struct.pack("<H", len(tags))
        for tag in tags:
            data += struct.pack("<HHII", *tag)
        links.append(len(data))
        data += bytes(8 + 4 * len(tags))
    path.write_bytes(data)
    return path


def test_ndpi_gives_the_finest_level(tmp_path):
    pixels = np.ascontiguousarray(RGB[:384, :768])
    levels = [pixels, np.ascontiguousarray(pixels[::4, ::4]), np.ascontiguousarray(RGB[:64, :128])]
    path = write_ndpi(tmp_path / "a.ndpi", levels, [20.0, 5.0, -1.0])
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ndpi
        assert (tif.pages[0].tilelength, tif.pages[0].tilewidth) == (8, 64)
    with open_image(path) as source:
        assert source.info.shape_zyxc == (1, 384, 768, 3)
        assert source.info.pixel_size_um == pytest.approx((0.227,) * 3)
        block = source.read(*BLOCK)[0].astype(int)
    assert np.quantile(np.abs(block - RGB[BLOCK[1:]]), 0.99) <= 6
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(StoredDataError, match=r"a\.ndpi"):
        open_image(path)


def test_svs_without_a_pixel_size(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.HEAD", "Aperio Image Library v11.2.1\r\n900x600 {}")
    with open_image(write_svs(tmp_path / "a.svs", RGB, "jpeg")) as source:
        assert source.info.pixel_size_um is None


@pytest.mark.parametrize("compression", ["zstd", "lzw", "jpeg2000", "lerc", None])
def test_ome_tiff_with_pyramid_gives_level_0(tmp_path, compression):
    stack = np.stack([RGB[..., 0].astype(np.uint16) * 100 + k for k in range(3)])
    options = {"tile": (128, 128), "compression": compression}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", bigtiff=True, ome=True) as tif:
        tif.write(stack, subifds=2, metadata={"axes": "ZYX"}, **options)
        for step in (2, 4):
            tif.write(stack[:, ::step, ::step], subfiletype=1, **options)
    with open_image(tmp_path / "a.ome.tif") as source:
        assert source.info.shape_zyxc == (3, 600, 900, 1)
        got = source.read(slice(1, 3), *BLOCK[1:])[..., 0]
    np.testing.assert_array_equal(got, stack[1:3, BLOCK[1], BLOCK[2]])
