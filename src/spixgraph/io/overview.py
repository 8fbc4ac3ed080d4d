"""An image from far: the mean over squares of pixels, in bounded memory."""

from typing import Any, Protocol

import numpy as np

from spixgraph.arrays import Array, Float32, Float64, MaskZYX
from spixgraph.io.source import ImageSource

STRIP_PX = 1 << 22
"""Pixels of a strip that is read, about."""


class CellRows(Protocol):
    """A table with one row of cells per row of the overview, slice after slice."""

    def __setitem__(self, ids: Any, rows: Array) -> None:
        """Write some rows; `ids` ascend."""

    def __getitem__(self, rows: slice) -> Any:
        """Read consecutive rows."""


def overview_factor(nodes_per_megapixel: float, *, is_volume: bool) -> int:
    """Choose the edge of a cell: some eight cells per superpixel in its plane.

    Parameters
    ----------
    nodes_per_megapixel : float
    is_volume : bool
        True where superpixels extend over slices.

    Returns
    -------
    factor : int
        2, 4, 8 or 16 px; 4 at 4,000 to 16,000 superpixels per megapixel.
    """
    area = (1e6 / nodes_per_megapixel) ** (2 / 3 if is_volume else 1)
    exponent = round(float(np.log2(area / 8)) / 2)
    return int(2 ** min(max(exponent, 1), 4))


def overview_shape(shape_zyx: tuple[int, int, int], factor: int) -> tuple[int, int, int]:
    """Return the number of slices, rows and columns of cells; the last ones may be cut off."""
    z, y, x = shape_zyx
    return z, -(-y // factor), -(-x // factor)


def write_overview(
    source: ImageSource, box: tuple[slice, slice, slice], factor: int, cells: CellRows
) -> tuple[Float64, Float64]:
    """Average a region of an image over squares of `factor` x `factor` pixels, slice by slice.

    Parameters
    ----------
    source : ImageSource
        The region is read once, in strips of rows.
    box : (z, y, x) slices
        The region, in pixels.
    factor : int
    cells : CellRows
        Gets (Z * rows, columns, C) float32 in the units of the image. A square that the border cuts
        off is continued by its last pixels.

    Returns
    -------
    mean, spread : (C,) float64
        Of all cells, for `standardised_cells`.
    """
    z, y, x = box
    n_z, n_rows, _ = overview_shape((z.stop - z.start, y.stop - y.start, 1), factor)
    step = factor * max(1, STRIP_PX // (factor * (x.stop - x.start) * n_z))
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for start in range(y.start, y.stop, step):
        rows = slice(start, min(start + step, y.stop))
        strip = _means(source.read(z, rows, x), factor)
        first = (start - y.start) // factor
        within = np.arange(first, first + strip.shape[1])
        for i, plane in enumerate(strip):
            cells[i * n_rows + within] = plane
        flat = strip.reshape(-1, strip.shape[-1]).astype(np.float64)
        count += len(flat)
        total, squares = total + flat.sum(0), squares + np.square(flat).sum(0)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - np.square(mean), 0)) + 1e-6


def read_overview(source: ImageSource, factor: int) -> Float32:
    """Return the overview of a whole image, standardised: (Z, rows, columns, C) float32."""
    z, y, x, n_channels = source.info.shape_zyxc
    n_z, n_rows, n_columns = overview_shape((z, y, x), factor)
    cells = np.empty((n_z * n_rows, n_columns, n_channels), np.float32)
    moments = write_overview(source, (slice(0, z), slice(0, y), slice(0, x)), factor, cells)
    return standardised_cells(cells, *moments).reshape(n_z, n_rows, n_columns, n_channels)


def standardised_cells(cells: Float32, mean: Float64, spread: Float64) -> Float32:
    """Give each channel mean 0 and deviation 1: (..., C) float32.

    By the figures of the image itself: the next one may be darker.
    """
    scaled: Float32 = ((cells - mean.astype(np.float32)) / spread.astype(np.float32)).astype(
        np.float32
    )
    return scaled


def overview_mask(mask: ImageSource, factor: int) -> MaskZYX:
    """Take the class of the pixel in the middle of each cell: (Z, rows, columns) uint8.

    Parameters
    ----------
    mask : ImageSource
        One channel of class ids, uint8; read once, in strips of rows.
    factor : int
        Edge of a cell in pixels.
    """
    z, y, x, _ = mask.info.shape_zyxc
    middle = factor // 2
    step = factor * max(1, STRIP_PX // (factor * x * z))
    columns = np.minimum(np.arange(0, x, factor) + middle, x - 1)
    found = []
    for start in range(0, y, step):
        strip = mask.read(slice(0, z), slice(start, min(start + step, y)), slice(0, x))[..., 0]
        n = strip.shape[1]
        rows = np.minimum(np.arange(0, n, factor) + middle, n - 1)
        found.append(strip[:, rows[:, None], columns])
    return np.concatenate(found, axis=1)


def _means(pixels: Array, factor: int) -> Float32:
    """Average (Z, Y, X, C) over squares."""
    missing = [-n % factor for n in pixels.shape[1:3]]
    if any(missing):
        pixels = np.pad(pixels, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    total: Float32 = np.zeros(
        (len(pixels), pixels.shape[1] // factor, pixels.shape[2] // factor, pixels.shape[3]),
        np.float32,
    )
    for y in range(factor):
        for x in range(factor):
            total += pixels[:, y::factor, x::factor]
    total /= np.float32(factor * factor)
    return total
