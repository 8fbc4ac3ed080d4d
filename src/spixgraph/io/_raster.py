"""PNG and JPEG: decoded once, whole."""

import warnings
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from spixgraph.arrays import Array
from spixgraph.errors import InputError, StoredDataError
from spixgraph.io._faults import stored_data_errors

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3


def decode_png(path: Path, *, indexed: bool) -> Array:
    """Return (Y, X, S) as stored; `indexed` gives the class ids of a palette image."""
    data = path.read_bytes()
    with stored_data_errors(path):
        if data[:8] != _PNG_MAGIC or len(data) < 33:
            raise StoredDataError(f"{path} is not a PNG image, or truncated; save it again")
        bits, kind = data[24], data[25]
        if kind == _PALETTE:
            return _palette_indices(path, indexed=indexed)
        if kind == _GREY and bits in (2, 4):  # libpng would stretch the values to 0..255
            raise InputError(f"{path} is grey of {bits} bits; save it with 8 or 16 bits")
        pixels = _with_samples(imagecodecs.png_decode(data))
        return (pixels != 0).astype(np.uint8) if bits == 1 else pixels


def _palette_indices(path: Path, *, indexed: bool) -> Array:
    """Decode a palette image; its indices are class ids, but no intensities."""
    if not indexed:
        raise InputError(
            f"{path} is a palette image, whose values are not intensities; save it as grey or RGB"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                return _with_samples(np.asarray(image))
        except Image.DecompressionBombError as error:
            raise InputError(f"{path} is too large for a palette: {error}; save as TIFF") from error


def decode_jpeg(path: Path) -> Array:
    """Return (Y, X, S) uint8 as stored, without turning it by its EXIF orientation."""
    data = path.read_bytes()
    if b"\xff\xd9" not in data[-1024:]:  # libjpeg fills a missing rest with grey, without an error
        raise StoredDataError(f"{path} is not a JPEG image, or truncated; copy or save it again")
    with stored_data_errors(path):
        pixels = _with_samples(imagecodecs.jpeg_decode(data))
    if pixels.shape[-1] not in (1, 3):
        raise InputError(f"{path} is a CMYK JPEG; save it as grey or RGB")
    return pixels


def without_alpha(pixels: Array, path: Path) -> Array:
    """Drop the alpha channel of (Y, X, S) pixels with S of 2 or 4 where it says nothing."""
    if pixels.shape[-1] not in (2, 4):
        return pixels
    alpha = pixels[..., -1]
    if (alpha != alpha[0, 0]).any():
        raise varying_alpha(path)
    return pixels[..., :-1]


def varying_alpha(path: Path) -> InputError:
    """Return the error for an image whose alpha channel is not constant."""
    return InputError(
        f"{path} has an alpha channel that is not constant; save it without transparency"
    )


def _with_samples(pixels: Array) -> Array:
    return pixels[..., None] if pixels.ndim == 2 else pixels
