"""What the mask of an image teaches, block by block: targets of superpixels, samples of pixels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spixgraph.arrays import Float32, LabelsZYX, MaskZYX
from spixgraph.errors import InputError
from spixgraph.files import atomic_path
from spixgraph.graph.array_files import keep_graph, keep_samples
from spixgraph.graph.blocks.pixel_maps import pixel_map_names, pixel_maps
from spixgraph.graph.partitions import StoredArray
from spixgraph.graph.pixel_samples import (
    PixelSamples,
    create_samples,
    join_samples,
    sample_pixels,
)
from spixgraph.graph.region_graph import create_graph, create_table, open_tables, row_axis
from spixgraph.graph.stored_graph import StoredGraph, StoredSamples
from spixgraph.graph.stream import HeldGraph, StreamedGraph
from spixgraph.graph.targets import class_fractions
from spixgraph.io.source import ImageSource
from spixgraph.superpixels.basins.block import Workspace

SAMPLES = "pixel_samples"
"""Group of the samples inside that of a graph."""
_ROWS_AT_ONCE = 8192


def image_samples(
    source: ImageSource, graph: StreamedGraph | HeldGraph, mask: MaskZYX
) -> PixelSamples:
    """Take annotated pixels of each superpixel of an image.

    Parameters
    ----------
    source : ImageSource
        The image that `graph` was made of; read once, with halos.
    graph : StreamedGraph or HeldGraph
        Of the whole image.
    mask : (Z, Y, X) uint8
        Class ids; 255 is not annotated.

    Raises
    ------
    InputError
        If the mask has another shape than the labels of the graph.
    """
    return join_samples([samples for _, _, _, samples in _blocks(source, graph, mask)])


def keep_taught(
    source: ImageSource, held: HeldGraph, mask: StoredArray, n_classes: int, folder: Path
) -> tuple[StoredGraph, StoredSamples]:
    """Put what `save_taught` writes in files that last as long as a training.

    For small images, whose Zarr arrays take longer to make than their superpixels. Arguments,
    tables and errors are those of `save_taught`.

    Parameters
    ----------
    folder : Path
        To be made.
    """
    [piece] = _pieces(source, held, mask, n_classes, n_rows=held.graph.n_regions)
    folder.mkdir()
    graph = keep_graph(held.graph, piece.target, piece.annotated, folder)
    return graph, keep_samples(piece.samples, folder)


def save_taught(
    source: ImageSource, graph: StreamedGraph, mask: StoredArray, n_classes: int, path: Path
) -> None:
    """Write a graph with its targets, and `image_samples` inside it, block by block.

    The bytes are those of `save_graph` and `save_samples`. Arguments as for `image_samples`.

    Parameters
    ----------
    mask : (Z, Y, X) uint8 array or MaskBands
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
        for piece in _pieces(source, graph, mask, n_classes, n_rows=_ROWS_AT_ONCE):
            nodes, samples = piece.nodes, piece.samples
            target[nodes], annotated[nodes] = piece.target, piece.annotated
            shape = (graph.n_regions, samples.classes.shape[1])
            stored = stored or create_samples(part / SAMPLES, samples.names, shape)
            stored[0][nodes], stored[1][nodes] = samples.values, samples.classes


class _Piece(NamedTuple):
    """What consecutive nodes are taught; `target` and `annotated` as in `RegionGraph`."""

    nodes: slice
    target: Float32
    annotated: Float32
    samples: PixelSamples


def _pieces(
    source: ImageSource,
    graph: StreamedGraph | HeldGraph,
    mask: StoredArray,
    n_classes: int,
    *,
    n_rows: int,
) -> Iterator[_Piece]:
    """Put blocks together until they have `n_rows` superpixels: writes are slow."""
    held: list[_Piece] = []
    for nodes, labels, truth, samples in _blocks(source, graph, mask):
        fractions = class_fractions(labels, truth, samples.n_regions, n_classes)
        held.append(_Piece(nodes, *fractions, samples))
        if nodes.stop - held[0].nodes.start >= n_rows:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(pieces: list[_Piece]) -> _Piece:
    """Make one piece of consecutive ones."""
    return _Piece(
        slice(pieces[0].nodes.start, pieces[-1].nodes.stop),
        np.concatenate([piece.target for piece in pieces]),
        np.concatenate([piece.annotated for piece in pieces]),
        join_samples([piece.samples for piece in pieces]),
    )


def _blocks(
    source: ImageSource, graph: StreamedGraph | HeldGraph, mask: StoredArray
) -> Iterator[tuple[slice, LabelsZYX, MaskZYX, PixelSamples]]:
    """Yield the ids of the superpixels of each block, its labels from 0, its mask, its samples."""
    if mask.shape != graph.shape_zyx:
        raise InputError(f"mask {mask.shape} and image {graph.shape_zyx} must have one shape")
    blocks = graph.plan.blocks
    names = pixel_map_names(graph.plan.n_channels, blocks.n_octaves, is_volume=blocks.is_volume)
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
