"""A graph on disk, opened without reading it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from spixgraph.arrays import Array, Float32, Float64, Int64, ShapeZYX
from spixgraph.errors import InputError, StoredDataError
from spixgraph.graph.region_graph import SCHEMA
from spixgraph.graph.stream.attributes import plan_of
from spixgraph.graph.stream.image_plan import ImagePlan
from spixgraph.graph.stream.region import Region, region_of


@dataclass(frozen=True, slots=True, eq=False)
class NodeRows:
    """Some consecutive nodes: x (n, F) float32, centroid_px (n, 3) float64, n_pixels (n,) int64."""

    x: Float32
    centroid_px: Float64
    n_pixels: Int64


@dataclass(frozen=True, slots=True, eq=False)
class StreamedGraph:
    """A graph that `stream_graph` wrote; rows are read when they are asked for.

    Attributes
    ----------
    path : Path
    feature_names, edge_feature_names : tuple of str
    image_sha256 : str
        Of the pixels of the region of interest.
    plan : ImagePlan
        Of the whole image. `plan.blocks.basins.grid` numbers all blocks of the image.
    region : Region
        The region of interest: its box in the image, its blocks, their strips.
    numbers : (B,) int64
        Numbers in the grid of the blocks of the region, in their order.
    first_node, first_edge : (B + 1,) int64
        The superpixels of block i of `numbers` are ``first_node[i]:first_node[i + 1]``; the edges
        that lead to them are ``first_edge[i]:first_edge[i + 1]``.
    labels : zarr.Array
        (Z, Y, X) of the region, int32, or int64 from 2**31 pixels on.
    """

    path: Path
    feature_names: tuple[str, ...]
    edge_feature_names: tuple[str, ...]
    image_sha256: str
    plan: ImagePlan
    region: Region
    numbers: Int64
    first_node: Int64
    first_edge: Int64
    labels: zarr.Array[Any]
    _arrays: dict[str, zarr.Array[Any]]

    @property
    def n_regions(self) -> int:
        """Number of superpixels."""
        return int(self.first_node[-1])

    @property
    def n_edges(self) -> int:
        """Number of edges, both directions counted."""
        return int(self.first_edge[-1])

    @property
    def shape_zyx(self) -> ShapeZYX:
        """Of the labels."""
        return self.region.shape_zyx

    @classmethod
    def open(cls, path: Path) -> "StreamedGraph":
        """Open a group.

        Raises
        ------
        InputError
            If there is none.
        StoredDataError
            If `stream_graph` did not write it.
        """
        if not path.exists():
            raise InputError(f"{path} does not exist; make it with spixgraph graph")
        try:
            group = zarr.open_group(path, mode="r", zarr_format=3)
            if group.attrs["schema"] != SCHEMA:
                raise StoredDataError(
                    f"{path} has graph schema {group.attrs['schema']}, this version reads "
                    f"{SCHEMA}; make the graph again"
                )
            return cls._of(path, group, dict(group.attrs))
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, StoredDataError):
                raise
            raise StoredDataError(
                f"{path} is not a graph that spixgraph graph wrote: {error}; make it again"
            ) from error

    @classmethod
    def _of(cls, path: Path, group: zarr.Group, attributes: dict[str, Any]) -> "StreamedGraph":
        plan = plan_of(attributes["params"])
        z, y, x = (slice(*span) for span in attributes["params"]["box_zyx"])
        region = region_of(plan.blocks.basins.grid, (z, y, x))
        names = ("x", "centroid_px", "n_pixels", "edge_index", "edge_attr")
        return cls(
            path,
            tuple(attributes["feature_names"]),
            tuple(attributes["edge_feature_names"]),
            attributes["image_sha256"],
            plan,
            region,
            region.numbers,
            _rows(_array(group, "first_node"), slice(None)),
            _rows(_array(group, "first_edge"), slice(None)),
            _array(group, "labels"),
            {name: _array(group, name) for name in names},
        )

    def nodes(self, start: int, stop: int) -> NodeRows:
        """Read nodes start..stop."""
        x, centroid_px, n_pixels = (
            _rows(self._arrays[name], slice(start, stop))
            for name in ("x", "centroid_px", "n_pixels")
        )
        return NodeRows(x, centroid_px, n_pixels)

    def edges(self, start: int, stop: int) -> tuple[Int64, Float32]:
        """Read edges start..stop: (2, e) int64 of (source, target), and (e, D) float32."""
        index = np.asarray(self._arrays["edge_index"][:, start:stop])
        return index, _rows(self._arrays["edge_attr"], slice(start, stop))

    def block_labels(self, i: int) -> Array:
        """Read the labels (Z, Y, X) of block i of `numbers`; ids of the whole graph."""
        spans = zip(
            self.plan.blocks.basins.grid.box(int(self.numbers[i])), self.region.box, strict=True
        )
        place = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in spans)
        return np.asarray(self.labels[place])


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise KeyError(name)
    return array


def _rows(array: zarr.Array[Any], rows: slice) -> Any:
    return np.asarray(array[rows])
