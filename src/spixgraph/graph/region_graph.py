"""The region graph of one image, in memory and on disk.

Why a Zarr group and not a pickle: it can be read array by array, from other languages, and its
bytes depend on its content alone.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spixgraph.arrays import Bool, Float32, Float64, Int64, PixelSizeUm, ShapeZYX

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class GraphSource:
    """What a graph was made from; two graphs with equal sources have equal bytes."""

    image_sha256: str
    shape_zyx: ShapeZYX
    pixel_size_um: PixelSizeUm | None
    params: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class RegionGraph:
    """Superpixels as nodes, their contacts as edges.

    Attributes
    ----------
    x : (n, F) float32
        Node features, columns named by `feature_names`; raw values, not standardised.
    centroid_px : (n, 3) float64
        Mean (z, y, x) of the pixels of each superpixel.
    n_pixels : (n,) int64
    edge_index : (2, E) int64
        (source, target) in both directions, sorted by target, then source.
    edge_attr : (E, D) float32
        Edge features, columns named by `edge_feature_names`.
    target : (n, K) float32 or None
        Fraction of each class among the annotated pixels; rows of zeros where none is annotated.
    annotated : (n,) float32 or None
        Fraction of the pixels of each superpixel that are annotated, 0..1.
    """

    x: Float32
    feature_names: tuple[str, ...]
    centroid_px: Float64
    n_pixels: Int64
    edge_index: Int64
    edge_attr: Float32
    edge_feature_names: tuple[str, ...]
    source: GraphSource
    target: Float32 | None = None
    annotated: Float32 | None = field(default=None)

    @property
    def n_regions(self) -> int:
        """Number of nodes."""
        return len(self.n_pixels)


def save_graph(graph: RegionGraph, path: Path) -> None:
    """Write `graph` as a Zarr v3 group, atomically; same graph, same bytes."""
    raise NotImplementedError(path)


def load_graph(path: Path) -> RegionGraph:
    """Read a graph; raises `StoredDataError` on a missing array or a foreign schema."""
    raise NotImplementedError(path)
