import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spixgraph.serve.headers import (
    BadImageError,
    ImageHeader,
    UnsupportedImageError,
    read_header,
)

GREY = np.arange(60, dtype=np.uint8).reshape(6, 10)


def png_header(width, height, bits=8, colour=0) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + body + struct.pack(">I", zlib.crc32(body))


def tiff_bytes(pixels=GREY, **options) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **{"photometric": "minisblack", **options})
    return out.getvalue()


def ifd(*pages: dict[int, tuple[int, int, int]], next_of_last=0) -> bytes:
    """Write a little-endian TIFF of (type, count, value) tags, each page after the other."""
    out, offset = b"II*\0" + struct.pack("<I", 8), 8
    for number, tags in enumerate(pages):
        offset += 2 + 12 * len(tags) + 4
        link = offset if number + 1 < len(pages) else next_of_last
        out += struct.pack("<H", len(tags))
        out += b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(tags.items()))
        out += struct.pack("<I", link)
    return out


PAGE = {256: (4, 1, 10), 257: (4, 1, 6), 259: (3, 1, 1)}


def header(data: bytes) -> ImageHeader:
    return read_header(io.BytesIO(data))


def test_png():
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "PNG")
    assert header(out.getvalue()) == ImageHeader("png", 60)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    ("shape", "photometric", "n_pixels"),
    [((6, 10), "minisblack", 60), ((6, 10, 3), "rgb", 60), ((4, 6, 10), "minisblack", 240)],
)
def test_tiff(bigtiff, byteorder, shape, photometric, n_pixels):
    data = tiff_bytes(
        np.zeros(shape, np.uint8), bigtiff=bigtiff, byteorder=byteorder, photometric=photometric
    )
    assert header(data) == ImageHeader("tiff", n_pixels)


@pytest.mark.parametrize("options", [
    {"compression": "zlib"}, {"compression": "lzw"}, {"ome": True, "tile": (16, 16)},
    {"compression": "zstd"}, {"imagej": True}, {"resolution": (1e4, 1e4)},
])  # fmt: skip
def test_what_writers_write_is_taken(options):
    assert header(tiff_bytes(**options)).n_pixels == 60


@pytest.mark.parametrize("data", [
    b"", b"hello", b"GIF89a", b"\x89PNG\r\n\x1a\n", png_header(4, 4)[:20], b"II*\0", b"II*\0\0\0",
    png_header(0, 4), png_header(4, 2**31), png_header(4, 4, bits=3), png_header(4, 4, colour=9),
    png_header(4, 4)[:-1] + b"\0", b"II*\0\xff\xff\xff\xff", b"II*\0\0\0\0\0" + bytes(40),
    b"MM\0+" + bytes(4), ifd({}), ifd({256: (4, 1, 10)}), ifd(PAGE, next_of_last=8),
    ifd(PAGE | {256: (4, 1, 2**31)}), ifd(PAGE | {277: (3, 1, 65)}), ifd(PAGE | {258: (3, 1, 65)}),
    ifd(PAGE | {322: (4, 1, 2**16), 323: (4, 1, 2**16)}), ifd(PAGE | {258: (3, 2**31, 8)}),
    ifd(PAGE | {270: (2, 2**31, 8)}), ifd(PAGE | {256: (9, 1, 10)}), ifd(PAGE, PAGE)[:-20],
    b"II*\0" + struct.pack("<IH", 8, 60_000) + bytes(100),
])  # fmt: skip
def test_broken_and_absurd_headers(data):
    with pytest.raises(BadImageError):
        header(data)


def test_size_in_the_header_counts_without_pixels():
    assert header(png_header(100_000, 100_000)).n_pixels == 10**10
    assert header(ifd(PAGE | {256: (4, 1, 2**31 - 1), 257: (4, 1, 1)})).n_pixels == 2**31 - 1


def test_pages_without_end_are_refused():
    with pytest.raises(BadImageError, match="beyond 20,000"):
        header(ifd(*[PAGE] * 20_001))


@pytest.mark.parametrize("codec", [6, 7, 34712, 33003, 99999 % 65536])
def test_codecs_with_a_header_of_their_own_are_refused(codec):
    with pytest.raises(UnsupportedImageError, match=f"method {codec}"):
        header(ifd(PAGE | {259: (3, 1, codec)}))


@pytest.mark.parametrize(
    ("inner", "error"),
    [
        ('<Pixels SizeZ="2147483647" SizeC="9" SizeT="9">', BadImageError),
        ('<UUID FileName="/etc/passwd">urn:uuid:2</UUID>', UnsupportedImageError),
        ("<!DOCTYPE x><!ENTITY a 'b'>", BadImageError),
    ],
)
def test_tricks_in_ome_metadata(inner, error):
    text = f'<?xml version="1.0"?><OME UUID="urn:uuid:1">{inner}</OME>'
    with pytest.raises(error):
        header(tiff_bytes(description=text, metadata=None))


def test_ome_metadata_may_name_the_own_file():
    text = '<OME UUID="urn:uuid:1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></OME>'
    assert header(tiff_bytes(description=text, metadata=None)).n_pixels == 60


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_bytes_give_a_header_or_our_error(data):
    start = bytearray(data.draw(st.sampled_from([tiff_bytes(), ifd(PAGE, PAGE), png_header(5, 5)])))
    for _ in range(data.draw(st.integers(1, 8))):
        start[data.draw(st.integers(0, len(start) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadImageError, UnsupportedImageError):
        assert header(bytes(start)).n_pixels > 0
