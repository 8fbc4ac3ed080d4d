"""TIFF, BigTIFF and OME-TIFF, read strip by strip or tile by tile.

Why not tifffile's Zarr view: wide strips would be decoded anew for every block of a row, and
reading an uncompressed page of one strip would load the page. Here segments are decoded once per
row of blocks, and uncompressed pixels are mapped.
"""

import math
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from spixgraph.arrays import Array, PixelSizeUm
from spixgraph.errors import InputError, StoredDataError
from spixgraph.io._axes import Layout, find_layout
from spixgraph.io._faults import stored_data_errors
from spixgraph.io._pixel_size import tiff_pixel_size
from spixgraph.io._raster import varying_alpha
from spixgraph.io.source import (
    STREAM_BLOCK_ZYX,
    Box,
    ImageInfo,
    ImageSource,
    as_pixels,
    pixel_dtype,
    resolve_box,
)

_CACHE_BYTES = 128 * 2**20
_PHOTOMETRIC = {0: "white is zero", 1: "grey", 2: "RGB", 3: "palette", 6: "YCbCr"}
_WHITE_IS_ZERO, _PALETTE = 0, 3
_JPEG = {6, 7, 34892, 33007}
_APERIO_YCBCR = 33003
_ALPHA = {1, 2}  # ExtraSamples: associated and unassociated


class TiffSource(ImageSource):
    """The first image of a TIFF file at full resolution."""

    def __init__(
        self, path: Path, axes: str | None, pixel_size_um: PixelSizeUm | None, *, indexed: bool
    ) -> None:
        self._path = path
        with stored_data_errors(path):
            self._tif = tifffile.TiffFile(path)
        try:
            with stored_data_errors(path):
                self._open(axes, pixel_size_um, indexed=indexed)
        except BaseException:
            self.close()
            raise

    def _open(self, axes: str | None, pixel_size_um: PixelSizeUm | None, *, indexed: bool) -> None:
        series = _only_series(self._tif, self._path)
        page = series.keyframe
        photometric = int(page.photometric)
        if photometric not in _PHOTOMETRIC or (photometric == _PALETTE and not indexed):
            raise InputError(
                f"{self._path} is a {page.photometric.name} TIFF, whose values are not "
                "intensities; save it as grey or RGB"
            )
        layout = find_layout(series.axes, series.shape, override=axes, name=str(self._path))
        inverted = photometric == _WHITE_IS_ZERO and page.dtype.kind == "u" and not indexed
        self._white = page.dtype.type(2**page.bitspersample - 1) if inverted else None
        self._reader = _reader(self._tif, series, layout, self._path)
        self.held_bytes = self._reader.held_bytes
        self._alpha = _has_alpha(page, layout)
        z, y, x, c = layout.shape_zyxc
        dtype = pixel_dtype(np.dtype(series.dtype), str(self._path))
        size = pixel_size_um or tiff_pixel_size(self._tif, n_z=z)
        self.info = ImageInfo((z, y, x, c - self._alpha), dtype, size)
        if self._alpha:
            self._opaque = self._reader.read(((0, 1), (0, 1), (0, 1)))[..., -1].item()

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """See `ImageSource.read`."""
        box = resolve_box(z, y, x, self.info.shape_zyxc)
        with stored_data_errors(self._path):
            block = self._reader.read(box)
        if self._alpha:
            if (block[..., -1] != self._opaque).any():
                raise varying_alpha(self._path)
            block = block[..., :-1]
        block = as_pixels(block, self.info.dtype, str(self._path))
        return block if self._white is None else self._white - block

    def close(self) -> None:
        """Close the file."""
        self._tif.close()


def _only_series(tif: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """Return the one image; thumbnails beside it are small."""
    tif.filehandle.seek(tif.pages.next_page_offset)
    if tif.filehandle.read(tif.tiff.offsetsize).strip(b"\0"):
        raise EOFError(f"the list of pages breaks off after {len(tif.pages)}")
    if not tif.series:
        raise StoredDataError(f"{path} holds no image; save it again")
    first = tif.series[0]
    others = [s.shape for s in tif.series[1:] if 4 * s.size > first.size]
    if others:
        raise InputError(
            f"{path} holds {1 + len(others)} images, {first.shape} and {others[0]}; save one image "
            "per file"
        )
    return first


def _has_alpha(page: Any, layout: Layout) -> bool:
    """Whether the last sample is declared as alpha."""
    extra = page.extrasamples
    last = int(extra[-1]) if extra else 0
    return last in _ALPHA and layout.size("C") == page.samplesperpixel > 1


def _reader(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, layout: Layout, path: Path
) -> "_MappedReader | _PagedReader":
    """Choose by storage: one uncompressed run of bytes, or pages of segments."""
    if any(page is None for page in series.pages):
        raise StoredDataError(f"{path} lacks some of its {len(series.pages)} planes; save it again")
    if any(page.parent is not tif for page in series.pages):
        raise InputError(f"{path} refers to pixels in other files; save the image as one file")
    if series.dataoffset is not None and series.keyframe.is_memmappable:
        dtype = np.dtype(tif.byteorder + series.dtype.char)
        return _MappedReader(path, series.dataoffset, dtype, layout)
    if series.keyframe.imagedepth > 1:
        raise InputError(f"{path} has tiles over several slices; save it with 2D tiles")
    in_page = series.keyframe.axes.replace("S", "C")
    if not layout.axes.endswith(in_page):
        raise InputError(
            f"axes {layout.axes} do not fit the pages of {path}, which are {in_page}; name them in "
            "the order of the file with axes= (--axes)"
        )
    return _PagedReader(tif, series, layout)


class _MappedReader:
    """Uncompressed pixels in one run: mapped for the time of a read, so that RSS stays small."""

    held_bytes = 0

    def __init__(self, path: Path, offset: int, dtype: np.dtype, layout: Layout) -> None:
        need = offset + math.prod(layout.shape) * dtype.itemsize
        if path.stat().st_size < need:
            raise StoredDataError(
                f"{path} is truncated: {path.stat().st_size} bytes of {need}; copy or save it again"
            )
        self._path, self._offset, self._dtype, self._layout = path, offset, dtype, layout

    def read(self, box: Box) -> Array:
        """Copy (Z, Y, X, C) out of the file."""
        index = self._layout.index(**{a: slice(*s) for a, s in zip("ZYX", box, strict=True)})
        stored = np.memmap(self._path, self._dtype, "r", self._offset, self._layout.shape)
        return self._layout.to_zyxc(np.array(stored[index]))


class _PagedReader:
    """Pages of strips or tiles; the decoded segments of the last two rows of blocks are kept."""

    def __init__(
        self, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, layout: Layout
    ) -> None:
        page = series.keyframe
        self._file, self._pages, self._key = tif.filehandle, series.pages, page
        self._samples, _, self._height, self._width, self._contiguous = page.shaped
        n_samples = self._samples * self._contiguous
        in_page = 2 + (n_samples > 1)
        self._lead = Layout(layout.axes[:-in_page], layout.shape[:-in_page])
        self._segment = _segment_yx(page)
        self._n_segments_x = math.ceil(self._width / self._segment[1])
        self._n_segments_y = math.ceil(self._height / self._segment[0])
        band = self._width * max(self._segment[0], STREAM_BLOCK_ZYX[1]) * n_samples
        depth = min(self._lead.size("Z"), STREAM_BLOCK_ZYX[0]) * self._lead.size("C")
        self.held_bytes = min(_CACHE_BYTES, 2 * band * depth * page.dtype.itemsize)
        self._cache: OrderedDict[tuple[int, int], Array] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def read(self, box: Box) -> Array:
        """Assemble (Z, Y, X, C) from segments."""
        n_c = self._lead.size("C")
        planes = [
            np.concatenate([self._plane(z, c, box) for c in range(n_c)], axis=-1)
            for z in range(*box[0])
        ]
        return np.stack(planes)

    def _plane(self, z: int, c: int, box: Box) -> Array:
        """Read (Y, X, S) of one page."""
        place = tuple({"Z": z, "C": c}.get(a, 0) for a in self._lead.axes)
        page = int(np.ravel_multi_index(place, self._lead.shape)) if place else 0
        (y0, y1), (x0, x1) = box[1:]
        h, w = self._segment
        n_s = self._contiguous
        out = np.empty((y1 - y0, x1 - x0, self._samples * n_s), self._key.dtype)
        for s in range(self._samples):
            for r in range(y0 // h, math.ceil(y1 / h)):
                for k in range(x0 // w, math.ceil(x1 / w)):
                    number = (s * self._n_segments_y + r) * self._n_segments_x + k
                    pixels = self._decoded(page, number)
                    top, left = max(y0, r * h), max(x0, k * w)
                    below, right = min(y1, (r + 1) * h), min(x1, (k + 1) * w)
                    out[top - y0 : below - y0, left - x0 : right - x0, s * n_s : (s + 1) * n_s] = (
                        pixels[top - r * h : below - r * h, left - k * w : right - k * w]
                    )
        return out

    def _decoded(self, page: int, number: int) -> Array:
        """Return one decoded segment (h, w, s), from the cache where it is there."""
        key = (page, number)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            data, tables = self._encoded(page, number)
        pixels = self._decode(data, number, tables)
        with self._lock:
            if key not in self._cache:
                self._cache[key] = pixels
                self._cached_bytes += pixels.nbytes
            while self._cached_bytes > self.held_bytes and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return pixels

    def _encoded(self, page: int, number: int) -> tuple[bytes | None, bytes | None]:
        """Read the bytes of one segment; None is an empty segment of a sparse file."""
        frame: Any = self._pages[page]
        length = frame.databytecounts[number]
        if length == 0:
            return None, None
        self._file.seek(frame.dataoffsets[number])
        data = self._file.read(length)
        if len(data) != length:
            raise EOFError(f"segment {number} of page {page} is cut off")
        return data, frame.jpegtables

    def _decode(self, data: bytes | None, number: int, tables: bytes | None) -> Array:
        jpeg = {"jpegtables": tables, "jpegheader": self._key.jpegheader}
        arguments = jpeg if self._key.compression in _JPEG else {}
        decoded, _, shape = self._key.decode(data, number, **arguments)
        if decoded is None:
            return np.full(shape[1:], self._key.nodata, self._key.dtype)
        pixels = np.asarray(decoded)[0]
        return _rgb(pixels) if self._key.compression == _APERIO_YCBCR else pixels


def _rgb(ycbcr: Array) -> Array:
    """Turn (h, w, 3) uint8 of JFIF's YCbCr into RGB; Aperio's JPEG 2000 does not say that it is."""
    y, cb, cr = np.moveaxis(ycbcr.astype(np.float32), -1, 0)
    cb, cr = cb - 128, cr - 128
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    return np.rint(rgb).clip(0, 255).astype(np.uint8)


def _segment_yx(page: Any) -> tuple[int, int]:
    """Return the height and width of a tile or strip."""
    if page.is_tiled:
        return (page.tilelength, page.tilewidth)
    return (min(page.rowsperstrip, page.imagelength), page.imagewidth)
