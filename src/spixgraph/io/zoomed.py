"""A 2D image at another size, as if its pixels were larger or smaller."""

from dataclasses import replace

import numpy as np

from spixgraph.arrays import Array, Float32, Int64, MaskZYX
from spixgraph.errors import InputError
from spixgraph.io.source import ImageSource, resolve_box


class ZoomedSource(ImageSource):
    """The slices of an image, read `zoom` times as large, between pixels by linear interpolation.

    Pixel i of the result lies at ``(i + 0.5) / zoom - 0.5`` of the image, cut at its border.
    Nothing is smoothed before: meant for zooms of a half or more.

    Parameters
    ----------
    source : ImageSource
    zoom : float
        > 0.

    Raises
    ------
    InputError
        If `zoom` is not above 0.
    """

    def __init__(self, source: ImageSource, zoom: float) -> None:
        if not zoom > 0:
            raise InputError(f"zoom must be above 0, got {zoom:g}")
        self._source, self._zoom = source, zoom
        z, y, x, c = source.info.shape_zyxc
        size = source.info.pixel_size_um
        self.info = replace(
            source.info,
            shape_zyxc=(z, zoomed_length(y, zoom), zoomed_length(x, zoom), c),
            pixel_size_um=size and (size[0], size[1] / zoom, size[2] / zoom),
        )
        self.held_bytes = source.held_bytes

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """See `ImageSource.read`."""
        box = resolve_box(z, y, x, self.info.shape_zyxc)
        _, n_y, n_x, _ = self._source.info.shape_zyxc
        low_y, high_y, part_y = _between(*box[1], n_y, self._zoom)
        low_x, high_x, part_x = _between(*box[2], n_x, self._zoom)
        y0, x0 = int(low_y[0]), int(low_x[0])
        block = self._source.read(
            slice(*box[0]), slice(y0, int(high_y[-1]) + 1), slice(x0, int(high_x[-1]) + 1)
        )
        rows = _mixed(block[:, low_y - y0], block[:, high_y - y0], part_y[:, None, None])
        found = _mixed(rows[:, :, low_x - x0], rows[:, :, high_x - x0], part_x[:, None])
        return (np.rint(found) if self.info.dtype.kind == "u" else found).astype(self.info.dtype)


def zoomed_mask(mask: MaskZYX, zoom: float) -> MaskZYX:
    """Return the class of the nearest pixel, for the pixels of a `ZoomedSource`."""
    y, x = (
        np.minimum((np.arange(zoomed_length(n, zoom)) + 0.5) / zoom, n - 1).astype(np.int64)
        for n in mask.shape[1:]
    )
    found: MaskZYX = mask[:, y[:, None], x]
    return found


def zoomed_length(n: int, zoom: float) -> int:
    """Say how many pixels n become, at least 1."""
    return max(1, round(n * zoom))


def _between(start: int, stop: int, n: int, zoom: float) -> tuple[Int64, Int64, Float32]:
    """Find the two pixels of n that each lies between, and the part of the second one."""
    at = np.clip((np.arange(start, stop) + 0.5) / zoom - 0.5, 0, n - 1)
    low = at.astype(np.int64)
    return low, np.minimum(low + 1, n - 1), (at - low).astype(np.float32)


def _mixed(a: Array, b: Array, part: Float32) -> Array:
    """Go from a to b by `part`."""
    first = a.astype(np.float32) if a.dtype.kind == "u" else a
    mixed: Array = first + (b - first) * part
    return mixed
