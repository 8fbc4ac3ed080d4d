"""Images that a service must refuse, each with the statuses that are right for it."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import tifffile
from PIL import Image

Case = tuple[bytes, set[int]]
GREY = (np.indices((40, 50)).sum(0) * 2).astype(np.uint8)


def png(pixels=GREY, mode: str | None = None) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels, mode).save(out, "PNG")
    return out.getvalue()


def tiff(pixels=GREY, **options) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **{"photometric": "minisblack", **options})
    return out.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def raw_png(width: int, height: int, data: bytes, *, bits=8, colour=0) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(n: int) -> bytes:
    """Deflate n zero bytes: a thousand times smaller."""
    packer = zlib.compressobj(9)
    step = 1 << 20
    parts = [packer.compress(bytes(min(step, n - i))) for i in range(0, n, step)]
    return b"".join(parts) + packer.flush()


def raw_tiff(tags: dict[int, tuple[int, int, int]], tail: bytes = b"", following: int = 0) -> bytes:
    """Write one page of (type, count, value); `tail` lies at offset 8 + 2 + 12 n + 4."""
    out = b"II*\0" + struct.pack("<IH", 8, len(tags))
    out += b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(tags.items()))
    return out + struct.pack("<I", following) + tail


def one_strip(data: bytes, **changes: tuple[int, int, int]) -> bytes:
    """An 8-bit grey page of 64 x 64 in one strip."""
    names = {"width": 256, "length": 257, "bits": 258, "codec": 259, "photometric": 262,
             "offset": 273, "samples": 277, "rows": 278, "size": 279, "format": 339}  # fmt: skip
    tags = {
        "width": (4, 1, 64), "length": (4, 1, 64), "bits": (3, 1, 8), "codec": (3, 1, 1),
        "photometric": (3, 1, 1), "samples": (3, 1, 1), "rows": (4, 1, 64),
        "size": (4, 1, len(data)), "offset": (4, 1, 0),
    } | changes  # fmt: skip
    if tags["offset"][2] == 0:
        tags["offset"] = (4, 1, 8 + 2 + 12 * len(tags) + 4)
    return raw_tiff({names[name]: value for name, value in tags.items()}, data)


def ome(inner: str, root: str = "") -> bytes:
    text = f'<?xml version="1.0"?>{root}<OME UUID="urn:uuid:1">{inner}</OME>'
    return tiff(description=text, metadata=None)


def alpha(kind: Callable[..., bytes], **options) -> bytes:
    pixels = np.stack([GREY, GREY, GREY, GREY], axis=-1)
    return kind(pixels, **options)


FLOAT = GREY.astype(np.float32)
NAN, INF = FLOAT.copy(), FLOAT.copy()
NAN[3, 3], INF[3, 3] = np.nan, np.inf
WHOLE_PNG, WHOLE_TIFF = png(), tiff()
BROKEN, TOO_LARGE, UNSUITABLE, UNSUPPORTED = {400}, {413}, {422}, {415}

BAD_IMAGES: dict[str, Case] = {
    "empty": (b"", BROKEN),
    "one byte": (b"x", BROKEN),
    "text": (b"this is text\n" * 50, BROKEN),
    "html": (b"<html><script>alert(1)</script></html>", BROKEN),
    "gif": (b"GIF89a" + bytes(100), BROKEN),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(100), BROKEN),
    "zip": (b"PK\3\4" + bytes(100), BROKEN),
    "pickle": (b"\x80\x04\x95" + bytes(50), BROKEN),
    "numpy": (b"\x93NUMPY" + bytes(50), BROKEN),
    "png: only the magic": (b"\x89PNG\r\n\x1a\n", BROKEN),
    "png: half a header": (WHOLE_PNG[:20], BROKEN),
    "png: no pixels": (WHOLE_PNG[:40], BROKEN),
    "png: half the pixels": (WHOLE_PNG[: len(WHOLE_PNG) // 2], BROKEN),
    "png: header checksum": (WHOLE_PNG[:30] + b"\0" + WHOLE_PNG[31:], BROKEN),
    "png: garbage pixels": (raw_png(50, 40, b"garbage" * 20), BROKEN),
    "png: too few pixels": (raw_png(50, 40, zlib.compress(bytes(100))), BROKEN),
    "png: width 0": (raw_png(0, 40, zeros(100)), BROKEN),
    "png: width 2^31": (raw_png(2**31, 1, zeros(100)), BROKEN),
    "png: width 2^31 - 1": (raw_png(2**31 - 1, 2**31 - 1, zeros(100)), TOO_LARGE),
    "png: 100,000 x 100,000": (raw_png(100_000, 100_000, zeros(1000)), TOO_LARGE),
    "png: bomb of 400 megapixels": (raw_png(20_000, 20_000, zeros(400_020_000)), TOO_LARGE),
    "png: colour type 9": (raw_png(50, 40, zeros(2040), colour=9), BROKEN),
    "png: 3 bits": (raw_png(50, 40, zeros(2040), bits=3), BROKEN),
    "png: 4 bits": (raw_png(50, 40, zeros(26 * 40), bits=4), UNSUITABLE),
    "png: palette": (png(GREY, "P"), UNSUITABLE),
    "png: rgb for a grey model": (png(np.stack([GREY] * 3, -1)), UNSUITABLE),
    "png: varying alpha": (alpha(png), UNSUITABLE),
    "tiff: only the magic": (b"II*\0", BROKEN),
    "tiff: no page": (b"II*\0" + bytes(40), BROKEN),
    "tiff: page beyond the end": (b"II*\0\xff\xff\xff\x7f" + bytes(40), BROKEN),
    "tiff: half a page": (WHOLE_TIFF[:60], BROKEN),
    "tiff: half the pixels": (WHOLE_TIFF[:-900], BROKEN),
    "tiff: deflated, cut": (tiff(compression="zlib")[:-60], BROKEN),
    "tiff: pages in a circle": (
        raw_tiff({256: (4, 1, 64), 257: (4, 1, 64)}, following=8), BROKEN,
    ),
    "tiff: 60,000 tags": (b"II*\0\x08\0\0\0\x60\xea" + bytes(900), BROKEN),
    "tiff: width 0": (one_strip(bytes(4096), width=(4, 1, 0)), BROKEN),
    "tiff: 2^31 pixels": (one_strip(bytes(10), width=(4, 1, 2**31 - 1)), TOO_LARGE),
    "tiff: 2^62 pixels": (
        one_strip(bytes(10), width=(4, 1, 2**31 - 1), length=(4, 1, 2**31 - 1)), TOO_LARGE,
    ),
    "tiff: strip beyond the end": (one_strip(bytes(4096), offset=(4, 1, 2**31)), BROKEN),
    "tiff: strip of 4 GB": (one_strip(bytes(99), size=(4, 1, 2**32 - 1)), BROKEN),
    "tiff: 65 samples": (one_strip(bytes(4096), samples=(3, 1, 65)), BROKEN),
    "tiff: 200 bits": (one_strip(bytes(4096), bits=(3, 1, 200)), BROKEN),
    "tiff: tile of 2^32 pixels": (
        raw_tiff({256: (4, 1, 64), 257: (4, 1, 64), 258: (3, 1, 8), 322: (4, 1, 65_536),
                  323: (4, 1, 65_536), 324: (4, 1, 8), 325: (4, 1, 9)}, bytes(99)), BROKEN,
    ),
    "tiff: garbage lzw": (one_strip(b"\xff" * 500, codec=(3, 1, 5)), BROKEN),
    "tiff: garbage deflate": (one_strip(b"\xff" * 500, codec=(3, 1, 8)), BROKEN),
    "tiff: garbage zstd": (one_strip(b"\xff" * 500, codec=(3, 1, 50_000)), BROKEN),
    "tiff: jpeg": (one_strip(b"\xff\xd8" * 50, codec=(3, 1, 7)), UNSUPPORTED),
    "tiff: old jpeg": (one_strip(b"\xff\xd8" * 50, codec=(3, 1, 6)), UNSUPPORTED),
    "tiff: jpeg 2000": (one_strip(bytes(99), codec=(3, 1, 33_003)), UNSUPPORTED),
    "tiff: unknown codec": (one_strip(bytes(99), codec=(3, 1, 12_345)), UNSUPPORTED),
    "tiff: nan": (tiff(NAN), BROKEN),
    "tiff: inf": (tiff(INF), BROKEN),
    "tiff: negative": (tiff(GREY.astype(np.int16) - 50), BROKEN),
    "tiff: above 16 bit": (tiff(GREY.astype(np.uint32) << 16), BROKEN),
    "tiff: complex": (tiff(GREY.astype(np.complex64)), BROKEN),
    "tiff: palette": (
        tiff(photometric="palette", colormap=np.zeros((3, 256), np.uint16)), UNSUITABLE,
    ),
    "tiff: cmyk": (
        tiff(np.stack([GREY] * 4, -1), photometric="separated"), UNSUITABLE | BROKEN,
    ),
    "tiff: rgb for a grey model": (
        tiff(np.stack([GREY] * 3, -1), photometric="rgb"), UNSUITABLE,
    ),
    "tiff: a stack for a 2D model": (
        tiff(np.stack([GREY] * 3), metadata={"axes": "ZYX"}), UNSUITABLE,
    ),
    "tiff: a series in time": (
        tiff(np.stack([GREY] * 3), metadata={"axes": "TYX"}), UNSUITABLE,
    ),
    "tiff: varying alpha": (
        alpha(tiff, photometric="rgb", extrasamples=["unassalpha"]), UNSUITABLE,
    ),
    "ome: 2^31 planes": (ome('<Pixels SizeZ="2147483647" SizeC="1" SizeT="1">'), BROKEN),
    "ome: pixels in another file": (
        ome('<UUID FileName="/etc/passwd">urn:uuid:2</UUID>'), UNSUPPORTED,
    ),
    "ome: entities": (ome("&a;", '<!DOCTYPE OME [<!ENTITY a "b">]>'), BROKEN),
}  # fmt: skip
