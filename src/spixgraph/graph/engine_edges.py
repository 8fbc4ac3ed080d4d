"""Edges of a streamed graph: within blocks, across their borders, in the order of the targets."""

from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Array, Float32, Float64, Int32, Int64
from spixgraph.superpixels.basins.levels import TOP

EDGE_FEATURE_NAMES = (
    "log_contact",
    "gradient_mean",
    "offset_z",
    "offset_y",
    "offset_x",
    "log_size_ratio",
)


@dataclass(frozen=True, slots=True, eq=False)
class Touches:
    """Pairs u < v of superpixels of the image, their contact in pixels and summed gradient."""

    pairs: Int64  # (2, P)
    length_px: Int64  # (P,)
    gradient_sum: Int64  # (P,)

    @staticmethod
    def join(parts: "list[Touches]") -> "Touches":
        """Put lists one behind the other; a pair stands in one of them only."""
        if not parts:
            return Touches(np.empty((2, 0), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
        return Touches(
            np.concatenate([p.pairs for p in parts], axis=1),
            np.concatenate([p.length_px for p in parts]),
            np.concatenate([p.gradient_sum for p in parts]),
        )

    def where(self, mask: Array) -> "Touches":
        """Choose rows."""
        return Touches(self.pairs[:, mask], self.length_px[mask], self.gradient_sum[mask])


def seam(ids_a: Int64, ids_b: Int64, gradient_a: Int32, gradient_b: Int32) -> Touches:
    """Find the contacts across a barrier, between two facing lines; `ids_a` are the smaller."""
    order = np.lexsort([ids_b, ids_a])
    a, b = ids_a[order], ids_b[order]
    gradient = np.maximum(gradient_a, gradient_b)[order].astype(np.int64)
    first = np.flatnonzero(np.concatenate([[True], (a[1:] != a[:-1]) | (b[1:] != b[:-1])]))
    length = np.diff(np.append(first, len(a)))
    return Touches(np.stack([a[first], b[first]]), length, np.add.reduceat(gradient, first))


def directed_edges(
    touches: Touches,
    targets: range,
    first: int,
    centroid_px: Float64,
    n_pixels: Int64,
    intensity: Float64,
    unit_px: float,
) -> tuple[Int64, Float32]:
    """Make the edges that lead to some superpixels.

    Parameters
    ----------
    touches : Touches
        All contacts of the targets.
    targets : range
        Ids of the image.
    first : int
        Id of row 0 of the node arrays below, which hold the targets and their neighbours.
    centroid_px, n_pixels, intensity : (n, 3), (n,), (n, C)
    unit_px : float
        Wanted distance of superpixels; offsets are in this unit.

    Returns
    -------
    edge_index : (2, E) int64
        (source, target), sorted by target, then source.
    edge_attr : (E, 6 + C) float32
        `EDGE_FEATURE_NAMES`, then ``c0_contrast`` ...: target minus source.
    """
    n = touches.pairs.shape[1]
    both = np.concatenate([touches.pairs, touches.pairs[::-1]], axis=1)
    number = np.tile(np.arange(n), 2)
    kept = (both[1] >= targets.start) & (both[1] < targets.stop)
    both, number = both[:, kept], number[kept]
    order = np.lexsort(both)
    edges, number = both[:, order], number[order]
    source, target = edges - first
    length = touches.length_px[number]
    steep = touches.gradient_sum[number] / (length * (2.0 * TOP))
    offset = (centroid_px[target] - centroid_px[source]) / unit_px
    ratio = np.log(n_pixels[target] / n_pixels[source])
    contrast = intensity[target] - intensity[source]
    columns = [np.log(length), steep, *offset.T, ratio, *contrast.T]
    return edges, np.stack(columns, axis=1).astype(np.float32)
