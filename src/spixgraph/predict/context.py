"""A second opinion from far: a convolutional network on the overview of an image.

A superpixel network knows its neighbours; what kind of place they are in is told better by a small
U-Net on squares of 4 x 4 pixels, say, which costs a sixteenth of one on pixels. What it says, in
logarithms of probabilities, are columns of a pixel, which the decoder adds with the same weight
everywhere. Idea: products of experts (doi:10.1162/089976602760128018).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spixgraph.arrays import Array, Float32, ShapeZYX
from spixgraph.graph.scaling import Scaling
from spixgraph.graph.stream.heap import give_back
from spixgraph.io.overview import overview_shape, standardised_cells, write_overview
from spixgraph.io.source import ImageSource
from spixgraph.predict.tables import Rows
from spixgraph.superpixels.basins.jit import kernel

MULTIPLE = 8
"""Rows and columns that the network gets are multiples of this: three halvings."""
HALO = 48
"""Cells around a tile that its answers depend on: the reach of four levels of two convolutions."""
TILE = 416
"""Cells of a tile along each axis, without what lies around it."""
_FLOOR = 1e-4
_COLUMN_SCALE = 2.0  # standardised columns are cut off at 6: the logarithm of the floor is -9.2


class ContextPredictor(Protocol):
    """numpy in, numpy out; the torch and the ONNX side both satisfy it."""

    def __call__(self, cells: Float32) -> Float32:
        """Map standardised (C, rows, columns), multiples of `MULTIPLE`, to (K, rows, columns)."""


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """The network of the overview and what its answers weigh.

    Attributes
    ----------
    factor : int
        Edge of a cell in pixels.
    weight : float
        0..1: its share of the class values of a pixel; the superpixel network has the rest.
    n_classes : int
    predictor : ContextPredictor
        Gives logits.
    """

    factor: int
    weight: float
    n_classes: int
    predictor: ContextPredictor

    def joined(self, logits: Float32, weights: Float32) -> tuple[Float32, Float32]:
        """Weigh what the superpixel network says, and put the weights of the context before it.

        Parameters
        ----------
        logits : (n, K) float32
        weights : (n, K, P + H) float32

        Returns
        -------
        logits : (n, K) float32
        weights : (n, K, K + P + H) float32
        """
        share = np.float32(1 - self.weight)
        own = np.eye(self.n_classes, dtype=np.float32) * np.float32(self.weight * _COLUMN_SCALE)
        ours = np.broadcast_to(own, (len(weights), *own.shape))
        return share * logits, np.concatenate([ours, share * weights], axis=2)

    def scaling(self, scaling: Scaling) -> Scaling:
        """Put the columns of the context before those of the decoder."""
        k = self.n_classes
        return Scaling(
            (*(f"context_{i}" for i in range(k)), *scaling.names),
            np.concatenate([np.zeros(k), scaling.mean]),
            np.concatenate([np.full(k, _COLUMN_SCALE), scaling.scale]),
        )

    def layer(self, layer: Float32 | None) -> Float32 | None:
        """Do so with the layer of hidden values, which do not see the context."""
        if layer is None:
            return None
        return np.pad(layer, ((0, 0), (self.n_classes, 0)))

    def look(
        self,
        source: ImageSource,
        box: tuple[slice, slice, slice],
        room: "Room",
        progress: Callable[[float], None] = lambda share: None,
    ) -> "ContextMap":
        """Run the network over the overview of a region, tile by tile.

        Parameters
        ----------
        source : ImageSource
            The region is read once.
        box : (z, y, x) slices
            The region; it begins at multiples of `factor`.
        room : callable
            Makes a table, in memory or on disk, of a name, a shape and a dtype.
        progress : callable
            Called with the share of the region that was done since the last call.
        """
        n_z, n_y, n_x = overview_shape(_size(box), self.factor)
        n_channels = source.info.n_channels
        cells = room("cells", (n_z * n_y, n_x, n_channels), np.float32)
        moments = write_overview(source, box, self.factor, cells)
        found = room("context", (n_z * n_y, n_x, self.n_classes), np.float16)
        for z in range(n_z):
            for y in range(0, n_y, TILE):
                rows = slice(max(0, y - HALO), min(y + TILE + HALO, n_y))
                band = np.asarray(cells[z * n_y + rows.start : z * n_y + rows.stop])
                done = self._band(standardised_cells(band, *moments))
                inside = np.arange(y, min(y + TILE, n_y))
                found[z * n_y + inside] = done[inside - rows.start]
                progress(len(inside) / (n_z * n_y))
        return ContextMap(self, found, n_y, _corner(box))

    def _band(self, band: Float32) -> Array:
        """Classify rows of cells: (rows, columns, K) float16 log-probabilities."""
        n_y, n_x, _ = band.shape
        out = np.empty((n_y, n_x, self.n_classes), np.float16)
        missing = -n_y % MULTIPLE
        for x in range(0, n_x, TILE):
            left, right = max(0, x - HALO), min(x + TILE + HALO, n_x)
            tile = band[:, left:right]
            pad = ((0, missing), (0, -tile.shape[1] % MULTIPLE), (0, 0))
            tile = np.pad(tile, pad, mode="edge").transpose(2, 0, 1)
            logits = self.predictor(np.ascontiguousarray(tile))
            stop = min(x + TILE, n_x)
            seen = logits[:, :n_y, x - left : stop - left].transpose(1, 2, 0)
            out[:, x:stop] = _log_probabilities(seen)
            give_back()  # pieces of tiles would add up to another tile
        return out


Room = Callable[[str, tuple[int, ...], type], Rows]
"""Makes a table of a name, a shape and a dtype."""


def room_in_memory(name: str, shape: tuple[int, ...], dtype: type) -> Rows:
    """Make a table in memory."""
    table: Rows = np.empty(shape, dtype)
    return table


@dataclass(frozen=True, slots=True, eq=False)
class ContextMap:
    """Log-probabilities of the cells of a region.

    Attributes
    ----------
    context : Context
        What they are of.
    values : Rows
        (Z * rows, columns, K) float16.
    n_rows : int
        Rows of cells of a slice.
    corner_zyx : three int
        First pixel of the region in the image.
    """

    context: Context
    values: Rows
    n_rows: int
    corner_zyx: ShapeZYX

    def beside(
        self,
        strips: Callable[[], Iterable[tuple[slice, Float32]]],
        origin_zyx: ShapeZYX,
        size_zyx: ShapeZYX,
    ) -> Callable[[], Iterator[tuple[slice, Float32]]]:
        """Put the columns of the context before the pixel maps of the strips of a block.

        Parameters
        ----------
        strips : callable
            See `PixelModels`.
        origin_zyx, size_zyx : three int
            Of the block in the image.
        """
        z, y, x = (o - c for o, c in zip(origin_zyx, self.corner_zyx, strict=True))
        factor, n_rows = self.context.factor, self.n_rows
        first = max(0, y // factor - 1)
        last = min(n_rows, (y + size_zyx[1] - 1) // factor + 2)
        planes = [
            np.asarray(self.values[i * n_rows + first : i * n_rows + last])
            for i in range(z, z + size_zyx[0])
        ]
        cells = np.stack(planes).astype(np.float32)
        n_classes = cells.shape[3]

        def joined() -> Iterator[tuple[slice, Float32]]:
            for rows, maps in strips():
                wide = np.empty((n_classes + len(maps), *maps.shape[1:]), np.float32)
                _between(cells, factor, y + rows.start - first * factor, x, wide[:n_classes])
                wide[n_classes:] = maps
                yield rows, wide

        return joined


@kernel
def _between(cells: Array, factor: int, y0: int, x0: int, out: Array) -> None:
    """Interpolate (Z, rows, columns, K) cells linearly at the pixels from (y0, x0) on."""
    n_k, n_z, n_y, n_x = out.shape
    last_y, last_x = cells.shape[1] - 1, cells.shape[2] - 1
    step = np.float32(1 / factor)
    for z in range(n_z):
        for y in range(n_y):
            at_y = min(max((y0 + y + np.float32(0.5)) * step - np.float32(0.5), 0), last_y)
            above = min(int(at_y), max(last_y - 1, 0))
            below = min(above + 1, last_y)
            down = np.float32(at_y - above)
            for x in range(n_x):
                at_x = min(max((x0 + x + np.float32(0.5)) * step - np.float32(0.5), 0), last_x)
                left = min(int(at_x), max(last_x - 1, 0))
                right = min(left + 1, last_x)
                across = np.float32(at_x - left)
                for k in range(n_k):
                    top = cells[z, above, left, k]
                    top += (cells[z, above, right, k] - top) * across
                    bottom = cells[z, below, left, k]
                    bottom += (cells[z, below, right, k] - bottom) * across
                    out[k, z, y, x] = top + (bottom - top) * down


def _log_probabilities(logits: Float32) -> Float32:
    """Return the logarithm of the softmax along the last axis, not below that of the floor."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    shares = np.exp(shifted)
    shares /= shares.sum(axis=-1, keepdims=True)
    found: Float32 = np.log(np.maximum(shares, np.float32(_FLOOR)))
    return found


def _size(box: tuple[slice, slice, slice]) -> ShapeZYX:
    z, y, x = (s.stop - s.start for s in box)
    return z, y, x


def _corner(box: tuple[slice, slice, slice]) -> ShapeZYX:
    z, y, x = (s.start for s in box)
    return z, y, x
