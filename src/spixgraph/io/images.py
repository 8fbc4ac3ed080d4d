"""Open an image as blocks, whatever its format; one hash for the same pixels in any format."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from spixgraph.arrays import Array, PixelSizeUm, ShapeZYXC
from spixgraph.errors import InputError
from spixgraph.io._axes import find_layout
from spixgraph.io._pixel_size import as_pixel_size
from spixgraph.io._raster import decode_jpeg, decode_png, without_alpha
from spixgraph.io._tiff import TiffSource
from spixgraph.io._zarr import ZarrSource, is_zarr
from spixgraph.io.source import (
    BAND_ROWS,
    ImageInfo,
    ImageSource,
    as_pixels,
    pixel_dtype,
    resolve_box,
    row_boxes,
)
from spixgraph.io.spacing import measured_spacing

__all__ = [
    "ArraySource",
    "ImageInfo",
    "ImageSource",
    "image_sha256",
    "is_address",
    "is_image",
    "open_image",
]

log = logging.getLogger(__name__)

_TIFF = {".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi"}
_PNG = {".png"}
_JPEG = {".jpg", ".jpeg"}
_RASTER_AXES = {2: "YX", 3: "YXC"}


class ArraySource(ImageSource):
    """An image in memory.

    Parameters
    ----------
    pixels : (Z, Y, X, C) array
        bool, integers that fit uint16, or floats without NaN.
    pixel_size_um : (z, y, x), optional
        Where it is None, slices stand on their own.
    name : str
        What messages call it.
    """

    def __init__(
        self, pixels: Array, pixel_size_um: PixelSizeUm | None = None, *, name: str = "the image"
    ) -> None:
        if pixels.ndim != 4 or 0 in pixels.shape:
            raise InputError(f"{name} must be (Z, Y, X, C) with pixels, got shape {pixels.shape}")
        self._pixels, self._name = pixels, name
        z, y, x, c = pixels.shape
        self.info = ImageInfo((z, y, x, c), pixel_dtype(pixels.dtype, name), pixel_size_um)

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """See `ImageSource.read`."""
        box = resolve_box(z, y, x, self.info.shape_zyxc)
        block = self._pixels[tuple(slice(*span) for span in box)].copy()
        return as_pixels(block, self.info.dtype, self._name)


def is_image(path: Path) -> bool:
    """Whether the suffix, or for a folder the content, is one that `open_image` reads."""
    return path.suffix.lower() in _TIFF | _PNG | _JPEG or is_zarr(path)


def open_image(
    path: Path | str, *, axes: str | None = None, pixel_size_um: PixelSizeUm | None = None
) -> ImageSource:
    """Open an image; TIFF and Zarr are read lazily, PNG and JPEG are decoded once and held.

    Parameters
    ----------
    path : Path or str
        PNG, JPEG, TIFF, BigTIFF, OME-TIFF, SVS or NDPI by suffix, or the folder of an OME-Zarr
        image; a string such as ``https://...`` or ``s3://...`` is the address of an OME-Zarr image.
    axes : str, optional
        One letter of Z, Y, X, C or T per axis of the file, where the file does not say.
    pixel_size_um : (z, y, x), optional
        In micrometres; wins over what the file says.

    Returns
    -------
    source : ImageSource
        A context manager. `info.pixel_size_um` is None where neither the file nor the caller
        states it; `info.spacing_zyx` is then measured, see `io.spacing`.

    Raises
    ------
    InputError
        If the format is not read, the axes could mean several things, the alpha channel is not
        constant, the values are colours of a palette, or an address needs the extra ``remote``.
    StoredDataError
        If the file is truncated, corrupt or of a dtype that is not read.
    """
    source = open_stored(path, axes=axes, pixel_size_um=pixel_size_um, indexed=False)
    if source.info.spacing_zyx is None and source.info.n_dims == 3:
        _measure_spacing(source, path)
    return source


def _measure_spacing(source: ImageSource, path: Path | str) -> None:
    """Complete the info of a stack without pixel size; close it if it cannot be read."""
    try:
        spacing = measured_spacing(source)
    except BaseException:
        source.close()
        raise
    source.info = replace(source.info, spacing_zyx=spacing)
    found = f"look {spacing[0]:g} pixels apart" if spacing else "do not hang together"
    log.info("%s states no pixel size; its slices %s", path, found)


def open_stored(
    path: Path | str, *, axes: str | None, pixel_size_um: PixelSizeUm | None, indexed: bool
) -> ImageSource:
    """Open an image, or a mask whose palette indices are class ids (`indexed`)."""
    if pixel_size_um is not None:
        pixel_size_um = as_pixel_size(pixel_size_um, "pixel_size_um")
    if is_address(path):
        return ZarrSource(str(path), axes, pixel_size_um)
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    suffix = path.suffix.lower()
    if is_zarr(path):
        return ZarrSource(path, axes, pixel_size_um)
    if path.is_file() and suffix in _TIFF:
        return TiffSource(path, axes, pixel_size_um, indexed=indexed)
    if path.is_file() and suffix in _PNG | _JPEG:
        pixels = decode_png(path, indexed=indexed) if suffix in _PNG else decode_jpeg(path)
        return _raster_source(without_alpha(pixels, path), path, axes, pixel_size_um)
    raise InputError(
        f"{path} is not an image that is read; save it as PNG, JPEG, TIFF, OME-TIFF or OME-Zarr"
    )


def is_address(path: Path | str) -> bool:
    """Whether an image is named by an address such as ``https://...`` instead of a path."""
    return isinstance(path, str) and "://" in path


def _raster_source(
    pixels: Array, path: Path, axes: str | None, pixel_size_um: PixelSizeUm | None
) -> ArraySource:
    """Wrap decoded (Y, X, S) pixels; `axes` may only say what is so."""
    if axes is not None:
        n_axes = 2 if pixels.shape[-1] == 1 else 3
        layout = find_layout("", pixels.shape[:n_axes], override=axes, name=str(path))
        if layout.axes != _RASTER_AXES[n_axes]:
            raise InputError(f"axes={axes!r} does not fit {path}: it is {_RASTER_AXES[n_axes]}")
    return ArraySource(pixels[None], pixel_size_um, name=str(path))


def image_sha256(source: ImageSource) -> str:
    """Hash the shape, the dtype and the pixels of an image, streamed; hexadecimal.

    It is the SHA-256 of shape, dtype and the SHA-256 of each band of `BAND_ROWS` rows of a slice,
    in (z, y) order. So it depends neither on the file format nor on how the file is cut, and a
    pass that meets the bands in another order can make it on the way, see `BandDigests`. The pixel
    size is not part of it.
    """
    digests = BandDigests(source.info.shape_zyxc, source.info.dtype)
    for box in row_boxes(source.info.shape_zyxc):
        digests.add(box[0].start, box[1].start, source.read(*box))
    return digests.hexdigest()


class BandDigests:
    """`image_sha256` for a caller who looks at the rows for another reason, too, in any order.

    Attributes
    ----------
    bands : (Z, B, 32) uint8
        Digests so far, to be kept and put back by a caller who stops in between.
    """

    def __init__(self, shape_zyxc: ShapeZYXC, dtype: np.dtype) -> None:
        self._shape, self._dtype = shape_zyxc, dtype.newbyteorder("<")
        self.bands = np.zeros((shape_zyxc[0], -(-shape_zyxc[1] // BAND_ROWS), 32), np.uint8)

    def add(self, z0: int, y0: int, rows: Array) -> None:
        """Add (Z', Y', X, C) whole rows that start at slice `z0` and row `y0`.

        Rows start at a multiple of `BAND_ROWS`, and end at one or at the border of the image.
        """
        self.put(z0, y0, band_digests(rows, self._dtype))

    def put(self, z0: int, y0: int, bands: Array) -> None:
        """Add the `band_digests` of such rows."""
        y0 //= BAND_ROWS
        self.bands[z0 : z0 + len(bands), y0 : y0 + bands.shape[1]] = bands

    def hexdigest(self) -> str:
        """Return the hash, once all rows were added."""
        head = hashlib.sha256(f"{self._shape} {self._dtype.str}".encode())
        head.update(self.bands.tobytes())
        return head.hexdigest()


def band_digests(rows: Array, dtype: np.dtype) -> Array:
    """Hash each band of `BAND_ROWS` of (Z, Y, X, C) rows: (Z, B, 32) uint8."""
    found = np.empty((len(rows), -(-rows.shape[1] // BAND_ROWS), 32), np.uint8)
    little = dtype.newbyteorder("<")
    for z, plane in enumerate(rows):
        for i, y in enumerate(range(0, len(plane), BAND_ROWS)):
            band = np.ascontiguousarray(plane[y : y + BAND_ROWS], little)
            found[z, i] = np.frombuffer(hashlib.sha256(band.data).digest(), np.uint8)
    return found
