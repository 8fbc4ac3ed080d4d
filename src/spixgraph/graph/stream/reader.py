"""Strips of a lazy image as stored pixels: every pixel is read once, the halo is kept."""

import math

import numpy as np

from spixgraph.arrays import Array
from spixgraph.errors import InputError
from spixgraph.graph.stream.image_plan import ImagePlan
from spixgraph.graph.stream.region import Region
from spixgraph.io.images import BandDigests
from spixgraph.io.source import ImageSource
from spixgraph.superpixels.basins.grid import Box

KEPT_BYTES = 128 << 20
"""A volume keeps the slices that the next row of blocks along z needs again up to this size."""
_ROWS = 64
MIN_BLOCK_PX, MAX_BLOCK_PX = 16, 1 << 16


class StripReader:
    """Reads strip after strip into buffers that take turns.

    A strip overwrites the one `n_buffers` before it, which must be done with.

    Parameters
    ----------
    source : ImageSource
    plan : ImagePlan
    region : Region
    digests : BandDigests
        Gets the bands of rows of the region.
    first : int
        Strip to start with.
    n_buffers : int
        At least two.
    block_px : int, optional
        Read squares of this size; whole rows, 64 at a time, by default.
    """

    def __init__(
        self,
        source: ImageSource,
        plan: ImagePlan,
        region: Region,
        digests: BandDigests,
        first: int = 0,
        n_buffers: int = 2,
        block_px: int | None = None,
    ) -> None:
        self._source, self._plan, self._region, self._digests = source, plan, region, digests
        self._next, self._n_rows = first, block_px or _ROWS
        size = strip_bytes(plan, region)
        self._buffers = [np.empty(size, np.uint8) for _ in range(n_buffers)]
        self._before: Array | None = None
        self._rows_before = range(0)
        self._slices_before = range(0)
        self._kept = _KeptSlices(plan, region, block_px)

    def read(self) -> tuple[Array, Box]:
        """Read the next strip: (Z, Y, X, C) pixels with halo, cut at the border, and their box."""
        strip, self._next = self._next, self._next + 1
        box = strip_box(self._plan, self._region, strip)
        z, y, x = (range(s.start, s.stop) for s in box)
        n_c, dtype = self._plan.n_channels, self._plan.info.dtype
        shape = (len(z), len(y), len(x), n_c)
        buffer = self._buffers[strip % len(self._buffers)]
        pixels = buffer[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
        n_known = 0
        if self._before is not None and self._slices_before == z and y.start in self._rows_before:
            known = self._before[:, y.start - self._rows_before.start :]
            n_known = known.shape[1]
            pixels[:, :n_known] = known
        for y0 in range(y.start + n_known, y.stop, self._n_rows):
            rows = range(y0, min(y0 + self._n_rows, y.stop))
            self._kept.read(self._source, z, rows, x, pixels[:, y0 - y.start :][:, : len(rows)])
        self._before, self._rows_before, self._slices_before = pixels, y, z
        self._digest(pixels, box, strip)
        return pixels, box

    def _digest(self, pixels: Array, box: Box, strip: int) -> None:
        """Hash the strip itself, without halo, counted from the corner of the region."""
        core = core_of(self._region, box, strip)
        self._digests.add(*digest_place(self._region, strip), pixels[core])


class _KeptSlices:
    """The last slices that were read of each row, where the next ones along z want them again."""

    def __init__(self, plan: ImagePlan, region: Region, block_px: int | None) -> None:
        rows, shape = _row_span(plan, region), _kept_shape(plan, region)
        self._y0, self._block_px = rows.start, block_px
        wanted = kept_bytes(plan, region) > 0
        self._pixels = np.empty(shape, plan.info.dtype) if wanted else None
        self._z = {row: range(0) for row in rows}

    def read(self, source: ImageSource, z: range, y: range, x: range, out: Array) -> None:
        """Write pixels to (Z, Y, X, C) `out`, reading those that are not kept."""
        if self._pixels is None:
            read_pixels(source, (slice(z.start, z.stop), _span(y), _span(x)), out, self._block_px)
            return
        at = slice(y.start - self._y0, y.stop - self._y0)
        kept = self._z[y.start] if len({self._z[row] for row in y}) == 1 else range(0)
        known = min(len(z), max(0, kept.stop - z.start)) if kept and kept.start <= z.start else 0
        if known:
            at_z = z.start - kept.start
            out[:known] = self._pixels[at_z : at_z + known, at]
        if known < len(z):
            new = (slice(z.start + known, z.stop), _span(y), _span(x))
            read_pixels(source, new, out[known:], self._block_px)
        n_kept = min(len(self._pixels), len(z))
        self._pixels[:n_kept, at] = out[len(z) - n_kept :]
        for row in y:
            self._z[row] = range(z.stop - n_kept, z.stop)


def read_pixels(source: ImageSource, box: Box, out: Array, block_px: int | None) -> None:
    """Fill (Z, Y, X, C) `out` with the pixels of a box, in squares, or at once without a size."""
    z, y, x = box
    if block_px is None:
        out[...] = source.read(z, y, x)
        return
    for top in range(y.start, y.stop, block_px):
        for left in range(x.start, x.stop, block_px):
            rows = slice(top, min(top + block_px, y.stop))
            columns = slice(left, min(left + block_px, x.stop))
            place = (slice(None), _moved(rows, y.start), _moved(columns, x.start))
            out[place] = source.read(z, rows, columns)


def _moved(span: slice, start: int) -> slice:
    return slice(span.start - start, span.stop - start)


def _span(places: range) -> slice:
    return slice(places.start, places.stop)


def core_of(region: Region, box: Box, strip: int) -> Box:
    """Return where the strip itself lies, without halo, in pixels read from `box`."""
    near = region.grid.box(region.number(strip, 0))
    z, y, x = (
        _moved(s, b.start) for s, b in zip((near[0], near[1], region.box[2]), box, strict=True)
    )
    return z, y, x


def digest_place(region: Region, strip: int) -> tuple[int, int]:
    """First slice and first row of a strip, counted from the corner of the region."""
    near, whole = region.grid.box(region.number(strip, 0)), region.box
    return near[0].start - whole[0].start, near[1].start - whole[1].start


def require_block_px(block_px: int | None) -> None:
    """Raise `InputError` for a size of squares that cannot be meant."""
    if block_px is not None and not MIN_BLOCK_PX <= block_px <= MAX_BLOCK_PX:
        raise InputError(
            f"--block-px {block_px} must be {MIN_BLOCK_PX}..{MAX_BLOCK_PX}; the chunk or tile size "
            "of the image is a good one, leave it out to read whole rows"
        )


def strip_box(plan: ImagePlan, region: Region, strip: int) -> Box:
    """Return what to read for a strip, cut at the border of the image."""
    near = plan.blocks.tile_box(region.number(strip, 0))
    far = plan.blocks.tile_box(region.number(strip, len(region.x) - 1))
    return near[0], near[1], slice(near[2].start, max(near[2].stop, far[2].stop))


def strip_bytes(plan: ImagePlan, region: Region) -> int:
    """Bytes of the largest strip as stored."""
    sizes = [
        math.prod(s.stop - s.start for s in strip_box(plan, region, strip))
        for strip in range(region.n_strips)
    ]
    return max(sizes) * plan.n_channels * plan.info.dtype.itemsize


def rows_bytes(plan: ImagePlan, region: Region) -> int:
    """Bytes of the rows of the first strip that are read at once."""
    z, y, x = (s.stop - s.start for s in strip_box(plan, region, 0))
    return z * min(y, _ROWS) * x * plan.n_channels * plan.info.dtype.itemsize


def kept_bytes(plan: ImagePlan, region: Region) -> int:
    """Bytes of the slices that are kept; 0 where they are read again or not wanted again."""
    n_bytes = math.prod(_kept_shape(plan, region)) * plan.info.dtype.itemsize
    return n_bytes if n_bytes <= KEPT_BYTES else 0


def _kept_shape(plan: ImagePlan, region: Region) -> tuple[int, ...]:
    deep = 2 * plan.blocks.halo_zyx[0] if len(region.z) > 1 else 0
    rows, columns = _row_span(plan, region), _column_span(plan, region)
    return deep, len(rows), len(columns), plan.n_channels


def _row_span(plan: ImagePlan, region: Region) -> range:
    boxes = [strip_box(plan, region, s) for s in range(len(region.y))]
    return range(boxes[0][1].start, max(b[1].stop for b in boxes))


def _column_span(plan: ImagePlan, region: Region) -> range:
    box = strip_box(plan, region, 0)
    return range(box[2].start, box[2].stop)
