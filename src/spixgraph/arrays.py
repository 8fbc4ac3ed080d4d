"""Names for the arrays that rooms hand to each other, and the checks at their doors.

A block is always (Z, Y, X, C); a 2D image has Z = 1, so that every kernel has one form.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from spixgraph.errors import InputError

Array: TypeAlias = npt.NDArray[Any]
Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]
Int32: TypeAlias = npt.NDArray[np.int32]
Int64: TypeAlias = npt.NDArray[np.int64]
UInt8: TypeAlias = npt.NDArray[np.uint8]
Bool: TypeAlias = npt.NDArray[np.bool_]

ImageZYXC: TypeAlias = npt.NDArray[np.float32]
"""(Z, Y, X, C) float32, intensities scaled with image-wide limits to 0..1."""
LabelsZYX: TypeAlias = npt.NDArray[np.int32]
"""(Z, Y, X) int32, dense superpixel ids 0..n-1, no background id."""
MaskZYX: TypeAlias = npt.NDArray[np.uint8]
"""(Z, Y, X) uint8 class ids; 255 is not annotated."""

ShapeZYX: TypeAlias = tuple[int, int, int]
ShapeZYXC: TypeAlias = tuple[int, int, int, int]
PixelSizeUm: TypeAlias = tuple[float, float, float]
"""(z, y, x) in micrometres."""

NOT_ANNOTATED = 255


def require_image(image: Array) -> None:
    """Raise `InputError` unless `image` is a finite (Z, Y, X, C) float32 array."""
    if image.ndim != 4 or image.dtype != np.float32:
        raise InputError(
            f"image must be (Z, Y, X, C) float32, got shape {image.shape} {image.dtype}; "
            "io.read_scaled returns that form"
        )
    if 0 in image.shape:
        raise InputError(f"image has no pixels: shape {image.shape}")
    if not np.isfinite(image).all():
        raise InputError("image holds NaN or inf; fill or mask them first")


def require_labels(labels: Array) -> None:
    """Raise `InputError` unless `labels` is a (Z, Y, X) int32 array of ids >= 0."""
    if labels.ndim != 3 or labels.dtype != np.int32:
        raise InputError(f"labels must be (Z, Y, X) int32, got shape {labels.shape} {labels.dtype}")
    if labels.size == 0 or labels.min() < 0:
        raise InputError("labels must hold ids >= 0 and at least one pixel")
