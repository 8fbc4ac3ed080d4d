"""From the classes of superpixels to those of pixels, strip by strip."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import local

import numpy as np

from spixgraph.arrays import Array, Float32, Int64, MaskZYX, ShapeZYX, UInt8
from spixgraph.graph.blocks.pixel_maps import FilteredBlock
from spixgraph.graph.partitions import StoredArray
from spixgraph.graph.scaling import Scaling
from spixgraph.graph.stream import ImagePlan
from spixgraph.graph.stream.reader import StripReader
from spixgraph.graph.stream.region import Region
from spixgraph.io.images import BandDigests, ImageSource
from spixgraph.io.pyramid import STRIP_PX
from spixgraph.predict.context import ContextMap
from spixgraph.predict.decoder import BlockNodes, PixelModels, decode, decode_probabilities
from spixgraph.predict.tables import Rows
from spixgraph.superpixels.basins.block import Workspace
from spixgraph.superpixels.basins.grid import Box


@dataclass(frozen=True, slots=True, eq=False)
class PixelInputs:
    """What the pixel decoder needs besides the logits.

    Attributes
    ----------
    weights : Rows
        (n, K, P + H) float32.
    centroid_px, n_pixels : numpy or Zarr array
        As in `RegionGraph`.
    scaling : Scaling
        Of the P columns of a pixel.
    layer : (H, P + 1) float32, optional
        See `PixelModels`.
    context : ContextMap, optional
        Columns of a pixel before its maps, which `scaling` and `layer` count.
    """

    weights: Rows
    centroid_px: StoredArray
    n_pixels: StoredArray
    scaling: Scaling
    layer: Float32 | None = None
    context: ContextMap | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A region of an image whose superpixels are classified.

    Attributes
    ----------
    source : ImageSource
        Read again where there is a decoder.
    plan : ImagePlan
    region : Region
    first_node : (B + 1,) int64
        As in `StreamedGraph`.
    block_labels : callable
        Gives the labels (Z, Y, X) of block i of the region.
    logits : Rows
        (n, K) float32.
    class_ids : (K,) uint8
    decoder : PixelInputs, optional
    temperature : float
        Of the class probabilities.
    """

    source: ImageSource
    plan: ImagePlan
    region: Region
    first_node: Int64
    block_labels: Callable[[int], Array]
    logits: Rows
    class_ids: UInt8
    decoder: PixelInputs | None = None
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Band:
    """Rows of blocks that fill a strip of `io.pyramid`, in all slices of a row of blocks along z.

    Attributes
    ----------
    z, y : slice
        Place in the region, in pixels.
    strips : range
        Of the region.
    """

    z: slice
    y: slice
    strips: range

    @property
    def row(self) -> int:
        """Number of the strip in its planes."""
        return self.y.start // STRIP_PX


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """The pixels of a band.

    Attributes
    ----------
    mask : (Z, Y, X) uint8
        Class ids.
    shares : (K, Z, Y, X) uint8 or None
        Class probabilities, 255 is certain.
    outlines : (Z, Y, X) uint8 or None
        See `outlines_of`.
    """

    mask: MaskZYX
    shares: UInt8 | None = None
    outlines: UInt8 | None = None


def uncertainty_of(shares: UInt8) -> UInt8:
    """Return 0 where a pixel is sure of its class, 255 where all are as likely: (...) uint8.

    Parameters
    ----------
    shares : (K, ...) uint8
        Class probabilities, 255 is certain.
    """
    n_classes = max(2, len(shares))
    doubt = (255 - shares.max(axis=0).astype(np.float32)) * (n_classes / (n_classes - 1))
    return np.minimum(doubt + 0.5, 255).astype(np.uint8)


def outlines_of(labels: Array) -> UInt8:
    """Mark pixels whose right or lower neighbour is another superpixel: (Z, Y, X), 255 or 0."""
    marked = np.zeros(labels.shape, np.uint8)
    marked[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    marked[:, :, :-1] |= labels[:, :, :-1] != labels[:, :, 1:]
    return 255 * marked


def bands(region: Region) -> Iterator[Band]:
    """Yield the bands of a region in order; blocks are a divisor of `STRIP_PX` high."""
    n_y, (high, wide, _) = len(region.y), region.grid.block_zyx
    n_z_px, n_y_px, _ = region.shape_zyx
    step = STRIP_PX // wide
    for z in range(len(region.z)):
        for y in range(0, n_y, step):
            stop = min(y + step, n_y)
            yield Band(
                slice(z * high, min((z + 1) * high, n_z_px)),
                slice(y * wide, min(stop * wide, n_y_px)),
                range(z * n_y + y, z * n_y + stop),
            )


def paint_bands(
    scene: Scene,
    todo: list[Band],
    *,
    pool: ThreadPoolExecutor,
    shares: bool = False,
    outlines: bool = False,
) -> Iterator[tuple[Band, Painted]]:
    """Classify the pixels of some bands, which follow each other.

    Parameters
    ----------
    scene : Scene
    todo : list of Band
    pool : ThreadPoolExecutor
        Works on blocks; the result does not depend on it.
    shares : bool
        Whether class probabilities are wanted.
    outlines : bool
        Whether the outlines of superpixels are.

    Yields
    ------
    band, painted
        In the order of `todo`.
    """
    if not todo:
        return
    painter = _Painter(scene, pool, todo[0].strips.start)
    try:
        for band in todo:
            yield band, painter.paint(band, shares=shares, outlines=outlines)
    finally:
        painter.close()


@dataclass(frozen=True, slots=True, eq=False)
class _StripInputs:
    """What the decoder needs of a strip, read at once: a read of a table takes milliseconds."""

    pixels: Array
    box: Box
    first: int
    centroid_px: Array
    n_pixels: Array


class _Unhashed(BandDigests):
    """The hash of the image is known already."""

    def __init__(self) -> None:
        """Hold nothing."""

    def add(self, z0: int, y0: int, rows: Array) -> None:
        """Ignore the rows."""


class _Painter:
    """Paints bands; the pixels of the next strip are read meanwhile."""

    def __init__(self, scene: Scene, pool: ThreadPoolExecutor, first_strip: int) -> None:
        self._scene, self._pool = scene, pool
        self._thread = local()
        self._reading = ThreadPoolExecutor(1, "read")
        self._next: Future[tuple[Array, Box]] | None = None
        if scene.decoder is not None:
            self._reader = StripReader(
                scene.source, scene.plan, scene.region, _Unhashed(), first_strip, n_buffers=2
            )
            self._next = self._reading.submit(self._reader.read)

    def close(self) -> None:
        """End the thread that reads."""
        self._reading.shutdown(wait=True, cancel_futures=True)

    def paint(self, band: Band, *, shares: bool, outlines: bool) -> Painted:
        """Paint all blocks of a band."""
        region, n_classes = self._scene.region, len(self._scene.class_ids)
        shape = (band.z.stop - band.z.start, band.y.stop - band.y.start, region.shape_zyx[2])
        painted = Painted(
            np.empty(shape, np.uint8),
            np.empty((n_classes, *shape), np.uint8) if shares else None,
            np.empty(shape, np.uint8) if outlines else None,
        )
        for strip in band.strips:
            inputs = self._inputs(strip)
            n_x = len(region.x)
            jobs = [
                self._pool.submit(self._block, band, strip, k, inputs, painted) for k in range(n_x)
            ]
            for job in jobs:
                job.result()
        return painted

    def _inputs(self, strip: int) -> _StripInputs | None:
        """Take the pixels and the nodes of a strip, and let the next pixels be read."""
        decoder, n_x = self._scene.decoder, len(self._scene.region.x)
        if self._next is None or decoder is None:
            return None
        pixels, box = self._next.result()
        if strip + 1 < self._scene.region.n_strips:
            self._next = self._reading.submit(self._reader.read)
        begin, end = (int(self._scene.first_node[i * n_x]) for i in (strip, strip + 1))
        centroid_px = np.asarray(decoder.centroid_px[begin:end])
        n_pixels = np.asarray(decoder.n_pixels[begin:end])
        return _StripInputs(pixels, box, begin, centroid_px, n_pixels)

    def _block(
        self, band: Band, strip: int, k: int, inputs: _StripInputs | None, painted: Painted
    ) -> None:
        """Paint a block; in a thread."""
        scene = self._scene
        i = strip * len(scene.region.x) + k
        begin, end = (int(n) for n in scene.first_node[i : i + 2])
        labels = scene.block_labels(i)
        logits, models = np.asarray(scene.logits[begin:end]), None
        number = scene.region.number(strip, k)
        if scene.decoder is not None and inputs is not None:
            weights = np.asarray(scene.decoder.weights[begin:end])
            if scene.decoder.context is not None:
                logits, weights = scene.decoder.context.context.joined(logits, weights)
            rows = slice(begin - inputs.first, end - inputs.first)
            models = self._models(scene.decoder, inputs, number, rows, weights)
        nodes = BlockNodes(begin, logits)
        place = _place_in(band, scene.region, number)
        painted.mask[place] = decode(labels, nodes, scene.class_ids, models)
        if painted.shares is not None:
            painted.shares[(slice(None), *place)] = decode_probabilities(
                labels, nodes, models, temperature=scene.temperature
            )
        if painted.outlines is not None:
            painted.outlines[place] = _outlines_in(
                labels, scene.region.grid.box(number), scene.region
            )

    def _models(
        self,
        decoder: PixelInputs,
        inputs: _StripInputs,
        number: int,
        rows: slice,
        weights: Float32,
    ) -> PixelModels:
        """Filter the pixels of a block for the models of its superpixels, `rows` of the strip."""
        if not hasattr(self._thread, "work"):
            self._thread.work = Workspace()
        work: Workspace = self._thread.work
        plan = self._scene.plan
        place = plan.blocks.place(number)
        shape = (plan.n_channels, *plan.blocks.tile_shape(place.size_zyx))
        out = work.array("tile", shape, np.uint16)
        tile = plan.tile_of(inputs.pixels, inputs.box, number, out)
        strips = FilteredBlock(tile, place, plan.blocks, work).strips
        if decoder.context is not None:
            strips = decoder.context.beside(strips, place.origin_zyx, place.size_zyx)
        return PixelModels(
            weights=weights,
            centroid_px=inputs.centroid_px[rows],
            n_pixels=inputs.n_pixels[rows],
            origin_zyx=place.origin_zyx,
            strips=strips,
            scaling=decoder.scaling,
            is_volume=plan.blocks.is_volume,
            layer=decoder.layer,
        )


def _outlines_in(labels: Array, box: Box, region: Region) -> UInt8:
    """Outline the superpixels of a block; none goes beyond, so its last pixels are outlines too."""
    outlines = outlines_of(labels)
    if box[1].stop < region.box[1].stop:
        outlines[:, -1] = 255
    if box[2].stop < region.box[2].stop:
        outlines[:, :, -1] = 255
    return outlines


def _place_in(band: Band, region: Region, number: int) -> tuple[slice, slice, slice]:
    """Place of a block in its band."""
    corner: ShapeZYX = (
        region.box[0].start + band.z.start,
        region.box[1].start + band.y.start,
        region.box[2].start,
    )
    box = region.grid.box(number)
    z, y, x = (slice(s.start - c, s.stop - c) for s, c in zip(box, corner, strict=True))
    return z, y, x
