"""What the header of an uploaded image says, read before anything is decoded.

A decoder trusts what it reads: a header of a few bytes can ask it for terabytes, for a list of
pages without an end, or for another file. So the few fields that decide about size are read here
by plain arithmetic, each read bounded, and what is absurd is refused.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from spixgraph.errors import InputError, StoredDataError

Kind = Literal["png", "tiff"]

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_TIFF = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_PAGES = 20_000
_MAX_ENTRIES = 1_000
_MAX_DESCRIPTION = 8_000_000
_MAX_SEGMENT_PX = 1 << 26
_MAX_SAMPLES = 64
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _DESCRIPTION, _SAMPLES = 256, 257, 258, 259, 270, 277
_TILE_WIDTH, _TILE_LENGTH, _DEPTH, _TILE_DEPTH = 322, 323, 32997, 32998
_BOUNDED = {1, 5, 8, 32773, 32946, 34925, 50000}
"""None, LZW, deflate, packbits, LZMA, zstd: codecs whose output the tile size bounds. In JPEG and
its kin a second header inside of each tile asks for memory."""


class BadImageError(StoredDataError):
    """What was uploaded is not an image that can be read."""


class UnsupportedImageError(InputError):
    """The image is of a kind that is not taken over HTTP."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What decides about memory.

    Attributes
    ----------
    kind : {"png", "tiff"}
    n_pixels : int
        Of all pages together, samples not counted.
    """

    kind: Kind
    n_pixels: int


def read_header(file: BinaryIO) -> ImageHeader:
    """Read the header of a PNG or TIFF file; the position is put back to the start.

    Raises
    ------
    BadImageError
        If it is neither, or its header is broken or absurd.
    UnsupportedImageError
        If it is a TIFF that refers to other files, or is compressed by a codec whose memory cannot
        be bounded by the header.
    """
    file.seek(0)
    head = file.read(33)
    try:
        if head.startswith(_PNG):
            return ImageHeader("png", _png_pixels(head))
        if head[:4] in _TIFF:
            return ImageHeader("tiff", _tiff_pixels(file, head))
    except struct.error as error:
        raise BadImageError("the image breaks off in its header; send it again") from error
    finally:
        file.seek(0)
    raise BadImageError("the upload is neither PNG nor TIFF; save the image as one of these")


def _png_pixels(head: bytes) -> int:
    length, name, width, height, bits, colour = struct.unpack(">I4sIIBB", head[8:26])
    (checksum,) = struct.unpack(">I", head[29:33])
    if (length, name) != (13, b"IHDR") or zlib.crc32(head[12:29]) != checksum:
        raise BadImageError("the header of the PNG is corrupt; save it again")
    if bits not in _PNG_BITS.get(colour, ()):
        raise BadImageError(f"a PNG of colour type {colour} has no {bits} bits; save it again")
    _require_size(width, height)
    return int(width) * int(height)


def _tiff_pixels(file: BinaryIO, head: bytes) -> int:
    """Walk the chain of pages, each seen once."""
    order, big = _TIFF[head[:4]], head[2:4] in (b"+\0", b"\0+")
    (offset,) = struct.unpack(f"{order}Q", head[8:16]) if big else struct.unpack(
        f"{order}I", head[4:8]
    )  # fmt: skip
    seen: set[int] = set()
    total, description = 0, b""
    while offset:
        if offset in seen or len(seen) == _MAX_PAGES:
            raise BadImageError(
                f"the TIFF has a list of pages that runs in a circle or beyond {_MAX_PAGES:,}; "
                "save it as one stack"
            )
        seen.add(offset)
        page = _Page(file, offset, order, big=big)
        total += _page_pixels(page)
        description = description if len(seen) > 1 else page.text(_DESCRIPTION)
        offset = page.next_offset
    if not seen:
        raise BadImageError("the TIFF holds no page; save it again")
    _require_own_planes(description, len(seen))
    return total


class _Page:
    """The few tags of one image file directory."""

    def __init__(self, file: BinaryIO, offset: int, order: str, *, big: bool) -> None:
        self._file, self._order = file, order
        count, entry, link = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
        file.seek(offset)
        (n,) = self._unpack(count)
        if not 0 < n <= _MAX_ENTRIES:
            raise BadImageError(f"a page of the TIFF has {n} tags; it is corrupt, save it again")
        self._entries: dict[int, tuple[int, int, bytes]] = {}
        for _ in range(n):
            tag, kind, size, inline = self._unpack(entry)
            self._entries[tag] = (kind, size, inline)
        (self.next_offset,) = self._unpack(link)
        self._offset_code = link

    def values(self, tag: int, default: int) -> tuple[int, ...]:
        """Return the numbers of a tag, at most 64 of them."""
        if tag not in self._entries:
            return (default,)
        kind, n, inline = self._entries[tag]
        code = _TYPES.get(kind, "")
        if code in ("", "s") or not 0 < n <= _MAX_SAMPLES:
            raise BadImageError(f"tag {tag} of the TIFF is not readable; save it again")
        return struct.unpack(f"{self._order}{n}{code}", self._bytes(code, n, inline))

    def value(self, tag: int, default: int) -> int:
        """Return the first number of a tag."""
        return self.values(tag, default)[0]

    def text(self, tag: int) -> bytes:
        """Return the bytes of a text tag; none if it is missing."""
        kind, n, inline = self._entries.get(tag, (2, 0, b""))
        if n > _MAX_DESCRIPTION:
            raise BadImageError(
                f"the description of the TIFF has {n:,} bytes, {_MAX_DESCRIPTION:,} are allowed; "
                "save it without"
            )
        return self._bytes("s", n, inline) if kind in (1, 2, 7) else b""

    def _bytes(self, code: str, n: int, inline: bytes) -> bytes:
        """Return the bytes of a value, which lie in the entry if they fit there."""
        size = n * struct.calcsize(f"={code}")
        if size <= len(inline):
            return inline[:size]
        (offset,) = struct.unpack(f"{self._order}{self._offset_code}", inline)
        self._file.seek(offset)
        return self._file.read(size)

    def _unpack(self, codes: str) -> tuple[Any, ...]:
        wanted = f"{self._order}{codes}"
        return struct.unpack(wanted, self._file.read(struct.calcsize(wanted)))


def _page_pixels(page: _Page) -> int:
    width, height = page.value(_WIDTH, 0), page.value(_LENGTH, 0)
    _require_size(width, height)
    samples = page.value(_SAMPLES, 1)
    if not 0 < samples <= _MAX_SAMPLES:
        raise BadImageError(f"the TIFF has {samples} samples per pixel; at most {_MAX_SAMPLES}")
    if max(page.values(_BITS, 1)) > 64:
        raise BadImageError(f"the TIFF has {page.values(_BITS, 1)} bits per sample; at most 64")
    segment = page.value(_TILE_WIDTH, 1) * page.value(_TILE_LENGTH, 1) * page.value(_TILE_DEPTH, 1)
    if segment > max(_MAX_SEGMENT_PX, 4 * width * height):
        raise BadImageError(f"the TIFF has tiles of {segment:,} pixels; save it with smaller ones")
    if (codec := page.value(_COMPRESSION, 1)) not in _BOUNDED:
        raise UnsupportedImageError(
            f"the TIFF is compressed by method {codec}, which is not taken over HTTP; save it "
            "uncompressed or with deflate, LZW or zstd, or name it by its URI in a job"
        )
    return width * height * page.value(_DEPTH, 1)


def _require_size(width: int, height: int) -> None:
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise BadImageError(f"the image says it has {width} x {height} pixels; save it again")


def _require_own_planes(description: bytes, n_pages: int) -> None:
    """Refuse OME metadata that names entities, other files, or planes that are not there."""
    if b"<OME" not in description[:4096]:
        return
    if b"<!DOCTYPE" in description or b"<!ENTITY" in description:
        raise BadImageError("the OME metadata declare entities; save the image without them")
    own = re.search(rb"<OME[^>]*\bUUID=\"([^\"]*)\"", description)
    for named in re.findall(rb"<UUID\b[^>]*\bFileName=[^>]*>([^<]*)<", description):
        if own is None or named.strip() != own[1].strip():
            raise UnsupportedImageError(
                "the OME-TIFF refers to pixels in other files; save the image as one file"
            )
    for n_planes in _ome_planes(description):
        if n_planes > _MAX_SAMPLES * n_pages:
            raise BadImageError(
                f"the OME metadata tell of {n_planes:,} planes, the file has {n_pages}; save it "
                "again"
            )


def _ome_planes(description: bytes) -> Iterator[int]:
    """Yield the number of planes of each Pixels element."""
    for element in re.findall(rb"<Pixels\b[^>]*>", description):
        planes = 1
        for size in re.findall(rb"\bSize[ZCT]=\"(\d{1,18})\"", element):
            planes *= int(size)
        yield planes
