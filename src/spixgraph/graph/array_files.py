"""Graphs and samples in plain files, for as long as a training lasts.

Where tables are small, files are made and read in a fraction of the time of Zarr arrays.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.arrays import Array, Float32
from spixgraph.graph.pixel_samples import PixelSamples
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.stored_graph import StoredGraph, StoredSamples


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """An array in a .npy file, which is open only while a part of it is read."""

    path: Path
    shape: tuple[int, ...]

    @classmethod
    def of(cls, path: Path, array: Array) -> "ArrayFile":
        """Write an array."""
        np.save(path, array)
        return cls(path, array.shape)

    def __getitem__(self, index: Any) -> Array:
        """Read a part."""
        return np.array(np.load(self.path, mmap_mode="r")[index])


def keep_graph(
    graph: RegionGraph, target: Float32, annotated: Float32, folder: Path
) -> StoredGraph:
    """Write the tables of a graph to files in `folder`; with its targets, as in `RegionGraph`."""
    tables = {
        name: ArrayFile.of(folder / f"{name}.npy", getattr(graph, name))
        for name in ("x", "centroid_px", "edge_index", "edge_attr")
    }
    return StoredGraph(
        feature_names=graph.feature_names,
        edge_feature_names=graph.edge_feature_names,
        source=graph.source,
        n_pixels=graph.n_pixels,
        target=target,
        annotated=annotated,
        **tables,
    )


def keep_samples(samples: PixelSamples, folder: Path) -> StoredSamples:
    """Write samples to files in `folder`."""
    return StoredSamples(
        samples.names,
        ArrayFile.of(folder / "values.npy", samples.values),
        ArrayFile.of(folder / "classes.npy", samples.classes),
    )
