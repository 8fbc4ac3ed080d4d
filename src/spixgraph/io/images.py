"""Open an image as blocks, whatever its format; one hash for the same pixels in any format."""

import hashlib
from pathlib import Path

import numpy as np

from spixgraph.arrays import Array, PixelSizeUm
from spixgraph.errors import InputError
from spixgraph.io._axes import find_layout
from spixgraph.io._pixel_size import as_pixel_size
from spixgraph.io._raster import decode_jpeg, decode_png, without_alpha
from spixgraph.io._tiff import TiffSource
from spixgraph.io._zarr import ZarrSource, is_zarr
from spixgraph.io.source import (
    ImageInfo,
    ImageSource,
    as_pixels,
    pixel_dtype,
    resolve_box,
    stream_blocks,
)

__all__ = ["ArraySource", "ImageInfo", "ImageSource", "image_sha256", "is_image", "open_image"]

_TIFF = {".tif", ".tiff", ".btf", ".tf8"}
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
    path: Path, *, axes: str | None = None, pixel_size_um: PixelSizeUm | None = None
) -> ImageSource:
    """Open an image file; TIFF and Zarr are read lazily, PNG and JPEG are decoded once.

    Parameters
    ----------
    path : Path
        PNG, JPEG, TIFF, BigTIFF or OME-TIFF by suffix, or the folder of an OME-Zarr image.
    axes : str, optional
        One letter of Z, Y, X, C or T per axis of the file, where the file does not say.
    pixel_size_um : (z, y, x), optional
        In micrometres; wins over what the file says.

    Returns
    -------
    source : ImageSource
        A context manager. `info.pixel_size_um` is None where neither the file nor the caller
        states it.

    Raises
    ------
    InputError
        If the format is not read, the axes could mean several things, the alpha channel is not
        constant, or the values are colours of a palette.
    StoredDataError
        If the file is truncated, corrupt or of a dtype that is not read.
    """
    return open_stored(path, axes=axes, pixel_size_um=pixel_size_um, indexed=False)


def open_stored(
    path: Path, *, axes: str | None, pixel_size_um: PixelSizeUm | None, indexed: bool
) -> ImageSource:
    """Open an image, or a mask whose palette indices are class ids (`indexed`)."""
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    if pixel_size_um is not None:
        pixel_size_um = as_pixel_size(pixel_size_um, "pixel_size_um")
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
    """Hash the shape, the dtype and the pixels of an image, streamed by blocks; hexadecimal.

    The blocks are those of `stream_blocks`, so the hash depends neither on the file format nor on
    how the file is cut; the pixel size is not part of it.
    """
    digest = PixelDigest(source.info)
    for box in stream_blocks(source.info.shape_zyxc):
        digest.update(source.read(*box))
    return digest.hexdigest()


class PixelDigest:
    """`image_sha256` for a caller who looks at the same blocks for another reason, too."""

    def __init__(self, info: ImageInfo) -> None:
        self._dtype = info.dtype.newbyteorder("<")
        self._sha = hashlib.sha256(f"{info.shape_zyxc} {self._dtype.str}".encode())

    def update(self, block: Array) -> None:
        """Add the next block of `stream_blocks`."""
        self._sha.update(np.ascontiguousarray(block, self._dtype).data)

    def hexdigest(self) -> str:
        """Return the hash of the blocks so far."""
        return self._sha.hexdigest()
