"""What the mask of an image teaches, block by block: targets of superpixels, samples of pixels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spixgraph.arrays import LabelsZYX, MaskZYX
from spixgraph.errors import InputError
from spixgraph.files import atomic_path
from spixgraph.graph.blocks.pixel_maps import pixel_map_names, pixel_maps
from spixgraph.graph.pixel_samples import (
    PixelSamples,
    create_samples,
    join_samples,
    sample_pixels,
)
from spixgraph.graph.region_graph import create_graph, create_table, open_tables, row_axis
from spixgraph.graph.stream import StreamedGraph
from spixgraph.graph.targets import class_fractions
from spixgraph.io.source import ImageSource
from spixgraph.superpixels.basins.block import Workspace

SAMPLES = "pixel_samples"
"""Group of the samples inside that of a graph."""


def image_samples(source: ImageSource, graph: StreamedGraph, mask: MaskZYX) -> PixelSamples:
    """Take annotated pixels of each superpixel of an image.

    Parameters
    ----------
    source : ImageSource
        The image that `graph` was made of; read once, with halos.
    graph : StreamedGraph
        Of the whole image.
    mask : (Z, Y, X) uint8
        Class ids; 255 is not annotated.

    Raises
    ------
    InputError
        If the mask has another shape than the labels of the graph.
    """
    return join_samples([samples for _, _, _, samples in _blocks(source, graph, mask)])


def save_taught(
    source: ImageSource, graph: StreamedGraph, mask: MaskZYX, n_classes: int, path: Path
) -> None:
    """Write a graph with its targets, and `image_samples` inside it, block by block.

    The bytes are those of `save_graph` and `save_samples`. Arguments as for `image_samples`.

    Parameters
    ----------
    n_classes : int
    path : Path
        The folder to make, whole or not at all.

    Raises
    ------
    InputError
        If the mask has another shape than the labels of the graph, or holds a foreign class.
    """
    tables, about = open_tables(graph.path)
    with atomic_path(path) as part:
        group = create_graph(part, **about)
        for name, table in tables.items():
            _copy(table, create_table(group, name, table.shape), row_axis(name))
        target = create_table(group, "target", (graph.n_regions, n_classes))
        annotated = create_table(group, "annotated", (graph.n_regions,))
        stored = None
        for nodes, labels, truth, samples in _blocks(source, graph, mask):
            target[nodes], annotated[nodes] = class_fractions(
                labels, truth, samples.n_regions, n_classes
            )
            shape = (graph.n_regions, samples.classes.shape[1])
            stored = stored or create_samples(part / SAMPLES, samples.names, shape)
            stored[0][nodes], stored[1][nodes] = samples.values, samples.classes


def _blocks(
    source: ImageSource, graph: StreamedGraph, mask: MaskZYX
) -> Iterator[tuple[slice, LabelsZYX, MaskZYX, PixelSamples]]:
    """Yield the ids of the superpixels of each block, its labels from 0, its mask, its samples."""
    if mask.shape != graph.shape_zyx:
        raise InputError(f"mask {mask.shape} and image {graph.shape_zyx} must have one shape")
    blocks = graph.plan.blocks
    names = pixel_map_names(graph.plan.n_channels, blocks.n_octaves)
    work = Workspace()
    for i, number in enumerate(graph.numbers.tolist()):
        place = blocks.place(number)
        begin, end = graph.first_node[i : i + 2].tolist()
        nodes = graph.nodes(begin, end)
        maps = pixel_maps(graph.plan.read_tile(source, number), place, blocks, work)
        labels = (graph.block_labels(i) - begin).astype("int32", copy=False)
        truth = mask[blocks.basins.grid.box(number)]
        samples = sample_pixels(
            labels,
            maps,
            names,
            nodes.centroid_px,
            nodes.n_pixels,
            truth,
            is_volume=blocks.is_volume,
            origin_zyx=place.origin_zyx,
        )
        yield slice(begin, end), labels, truth, samples


def _copy(table: Any, out: Any, axis: int) -> None:
    """Copy a stored array chunk by chunk."""
    step = out.chunks[axis]
    for begin in range(0, table.shape[axis], step):
        rows = (slice(None),) * axis + (slice(begin, begin + step),)
        out[rows] = table[rows]
