"""The pixels that the decoder learns from, of a whole image, block by block."""

from spixgraph.arrays import MaskZYX
from spixgraph.errors import InputError
from spixgraph.graph.blocks.pixel_maps import pixel_map_names, pixel_maps
from spixgraph.graph.pixel_samples import PixelSamples, join_samples, sample_pixels
from spixgraph.graph.stream import StreamedGraph
from spixgraph.io.source import ImageSource
from spixgraph.superpixels.basins.block import Workspace


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
    if mask.shape != graph.shape_zyx:
        raise InputError(f"mask {mask.shape} and image {graph.shape_zyx} must have one shape")
    blocks = graph.plan.blocks
    names = pixel_map_names(graph.plan.n_channels, blocks.n_octaves)
    work = Workspace()
    parts = []
    for i, number in enumerate(graph.numbers.tolist()):
        place = blocks.place(number)
        begin, end = graph.first_node[i : i + 2].tolist()
        nodes = graph.nodes(begin, end)
        maps = pixel_maps(graph.plan.read_tile(source, number), place, blocks, work)
        part = sample_pixels(
            graph.block_labels(i) - begin,
            maps,
            names,
            nodes.centroid_px,
            nodes.n_pixels,
            mask[blocks.basins.grid.box(number)],
            is_volume=blocks.is_volume,
            origin_zyx=place.origin_zyx,
        )
        parts.append(part)
    return join_samples(parts)
