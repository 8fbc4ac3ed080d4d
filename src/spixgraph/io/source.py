"""What an opened image is: its shape, and blocks of its pixels on demand."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from spixgraph.arrays import Array, PixelSizeUm, ShapeZYX, ShapeZYXC
from spixgraph.errors import InputError, StoredDataError

STREAM_BLOCK_ZYX: ShapeZYX = (32, 512, 512)
"""The block in which pixels are read and written where nothing else asks for another one."""
BAND_ROWS = 16
"""Rows that are hashed together; part of the definition of `image_sha256`."""
_ROW_BOX_PX = 1 << 23


@dataclass(frozen=True)
class ImageInfo:
    """Shape, dtype and pixel size of an image.

    Attributes
    ----------
    shape_zyxc : tuple of four int
        A 2D image has Z = 1, a grey image C = 1.
    dtype : numpy dtype
        What `ImageSource.read` returns: uint8, uint16, float32 or float64.
    pixel_size_um : (z, y, x) or None
        In micrometres; None is unknown.
    spacing_zyx : (z, y, x) or None
        What tells volumes from slices that stand on their own (None): the pixel size, or where that
        is unknown, what `io.spacing.measured_spacing` found.
    """

    shape_zyxc: ShapeZYXC
    dtype: np.dtype
    pixel_size_um: PixelSizeUm | None = None
    spacing_zyx: PixelSizeUm | None = None

    def __post_init__(self) -> None:
        if self.spacing_zyx is None:
            object.__setattr__(self, "spacing_zyx", self.pixel_size_um)

    @property
    def n_dims(self) -> int:
        """2 where Z is 1, else 3."""
        return 2 if self.shape_zyxc[0] == 1 else 3

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.shape_zyxc[3]


class ImageSource(Protocol):
    """An image that gives any block of its pixels; a context manager."""

    info: ImageInfo
    held_bytes: int = 0
    """Most that a source keeps of a file for later reads."""

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """Return the block as a new (Z, Y, X, C) array of `info.dtype`.

        Slices are cut at the border of the image; steps other than 1 and empty blocks are an
        `InputError`.
        """
        ...

    def close(self) -> None:
        """Give the file back."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def resolve_box(z: slice, y: slice, x: slice, shape_zyxc: ShapeZYXC) -> Box:
    """Return (start, stop) along z, y and x, cut at the border of the image."""
    spans = [s.indices(n) for s, n in zip((z, y, x), shape_zyxc[:3], strict=True)]
    if any(step != 1 for _, _, step in spans) or any(stop <= start for start, stop, _ in spans):
        raise InputError(
            f"block z={z}, y={y}, x={x} of an image of {shape_zyxc[:3]} (z, y, x) is empty or has "
            "a step; ask for start < stop inside the image"
        )
    return (spans[0][:2], spans[1][:2], spans[2][:2])


def stream_blocks(
    shape_zyxc: ShapeZYXC, block_zyx: ShapeZYX = STREAM_BLOCK_ZYX
) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the slices of blocks that cover an image once, in (z, y, x) order."""
    n_z, n_y, n_x = shape_zyxc[:3]
    b_z, b_y, b_x = block_zyx
    for z in range(0, n_z, b_z):
        for y in range(0, n_y, b_y):
            for x in range(0, n_x, b_x):
                yield (
                    slice(z, min(z + b_z, n_z)),
                    slice(y, min(y + b_y, n_y)),
                    slice(x, min(x + b_x, n_x)),
                )


def row_boxes(shape_zyxc: ShapeZYXC) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the slices of boxes of whole rows that cover an image once; for `image_sha256`.

    Up to 32 slices and 512 rows, less in wide images, so that a box holds some 8 megapixels.
    """
    n_z, _, n_x = shape_zyxc[:3]
    deep = min(n_z, STREAM_BLOCK_ZYX[0], max(1, _ROW_BOX_PX // (BAND_ROWS * n_x)))
    bands = max(1, _ROW_BOX_PX // (BAND_ROWS * n_x * deep))
    high = min(BAND_ROWS * bands, STREAM_BLOCK_ZYX[1])
    return stream_blocks(shape_zyxc, (deep, high, n_x))


def pixel_dtype(stored: np.dtype, name: str) -> np.dtype:
    """Return the dtype that pixels stored as `stored` are read as, or refuse it."""
    if stored.kind == "b" or stored == np.uint8:
        return np.dtype(np.uint8)
    if stored.kind in "iu":
        return np.dtype(np.uint16)
    if stored.kind == "f" and stored.itemsize <= 8:
        return np.dtype(np.float64 if stored.itemsize == 8 else np.float32)
    raise StoredDataError(
        f"{name} has pixels of {stored}; save it as uint8, uint16, float32 or float64"
    )


def as_pixels(block: Array, dtype: np.dtype, name: str) -> Array:
    """Return `block` as `dtype`; values that do not fit, NaN and inf are an error."""
    if dtype.kind == "f":
        if not np.isfinite(block).all():
            raise StoredDataError(f"{name} holds NaN or inf; fill or mask them and save it again")
    elif block.dtype.kind in "iu" and not np.can_cast(block.dtype, dtype):
        low, high = int(block.min()), int(block.max())
        limit = int(np.iinfo(dtype).max)
        if low < 0 or high > limit:
            raise StoredDataError(
                f"{name} holds {block.dtype} values {low}..{high}, but 0..{limit} is the limit; "
                "scale them or save as float32"
            )
    return np.ascontiguousarray(block, dtype=dtype)
