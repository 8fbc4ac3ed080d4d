"""From an image to a mask, in memory: superpixels, graph, network, and back to pixels.

`stream` does the same from file to file, with the same bytes.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Array, Float32, LabelsZYX, MaskZYX, UInt8
from spixgraph.graph.blocks.pixel_maps import pixel_map_names
from spixgraph.graph.pixel_samples import place_names
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.stream import ImagePlan
from spixgraph.graph.stream.attributes import plan_of
from spixgraph.graph.stream.region import Region, region_of
from spixgraph.io.images import ImageSource
from spixgraph.predict.bundle import Bundle
from spixgraph.predict.decoder import BlockNodes, class_probabilities, decode_probabilities
from spixgraph.predict.image_graph import graph_of_image, is_streamed
from spixgraph.predict.model import (
    NodeModel,
    NodePredictor,
    PixelPredictor,
    open_model,
    require_fit,
    warn_of_pixel_size,
)
from spixgraph.predict.network import model_of_image, require_names, run_network
from spixgraph.predict.painting import PixelInputs, Scene, bands, paint_bands
from spixgraph.predict.steps import Steps
from spixgraph.predict.tables import GraphTables, block_ids

__all__ = [
    "NodeModel",
    "NodePredictor",
    "PixelPredictor",
    "Segmentation",
    "class_probabilities",
    "node_logits",
    "open_model",
    "paint",
    "require_fit",
    "segment_source",
]


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """What a prediction gives.

    Attributes
    ----------
    mask : (Z, Y, X) uint8
        Class ids.
    labels : (Z, Y, X) int32
        Superpixels; row i of `logits` belongs to label i.
    logits : (n, K) float32
        Of the superpixels; with a pixel decoder the pixels of one may differ.
    shares : (K, Z, Y, X) uint8, optional
        Class probabilities of the pixels, 255 is certain.
    seconds : dict
        Per step: graph, network, mask; read and superpixels where these are apart.
    """

    mask: MaskZYX
    labels: LabelsZYX
    logits: Float32
    seconds: dict[str, float]
    shares: UInt8 | None = None


def segment_source(
    source: ImageSource,
    model: NodeModel | Bundle,
    *,
    workers: int | None = None,
    shares: bool = False,
    steps: Steps | None = None,
) -> Segmentation:
    """Segment one image in memory.

    Parameters
    ----------
    source : ImageSource
    model : NodeModel or Bundle
        A bundle is opened on the device "auto".
    workers : int, optional
        Threads; all processors by default.
    shares : bool
        Whether class probabilities of the pixels are wanted.
    steps : Steps, optional
        Gets the seconds of each step.

    Raises
    ------
    InputError
        If the image has another number of channels or dimensions than the card says.
    StoredDataError
        If this version computes other features than the model was trained on.
    """
    if isinstance(model, Bundle):
        model = open_model(model)
    if model.card is not None:
        require_fit(source.info, model.card)
        warn_of_pixel_size(source.info, model.card)
    steps = steps or Steps()
    labels, graph = graph_of_image(source, model.recipe, workers=workers, steps=steps)
    tables, found = _tables(graph, model), _Outputs(graph.n_regions, model)
    with steps("network"):
        model = model_of_image(tables, model)
        run_network(tables, model, found.logits, found.weights)
    with steps("mask"):
        if found.weights is None or model.pixel_scaling is None:
            mask = paint(labels, found.logits, model.class_ids)
            planes = decode_probabilities(labels, BlockNodes(0, found.logits)) if shares else None
        else:
            inputs = PixelInputs(
                found.weights, graph.centroid_px, graph.n_pixels, model.pixel_scaling
            )
            mask, planes = _decoded(
                source, labels, graph, found.logits, model, inputs, workers or 1, shares=shares
            )
    return Segmentation(mask, labels, found.logits, steps.seconds, planes)


class _Outputs:
    """Room for what the network says."""

    def __init__(self, n_regions: int, model: NodeModel) -> None:
        shape = (n_regions, len(model.class_ids))
        self.logits: Float32 = np.empty(shape, np.float32)
        self.weights: Float32 | None = None
        if model.pixel_scaling is not None:
            self.weights = np.empty((*shape, len(model.pixel_scaling.names)), np.float32)


def node_logits(graph: RegionGraph, model: NodeModel) -> Float32:
    """Standardise the features of a graph and run the network: (n, K) float32."""
    tables, found = _tables(graph, model), _Outputs(graph.n_regions, model)
    run_network(tables, model_of_image(tables, model), found.logits, found.weights)
    return found.logits


def paint(labels: LabelsZYX, logits: Float32, class_ids: UInt8) -> MaskZYX:
    """Give each pixel the class of its superpixel: the largest logit, the first of equals."""
    mask: MaskZYX = class_ids[logits.argmax(axis=1)][labels]
    return mask


def require_pixels(plan: ImagePlan, model: NodeModel) -> None:
    """Refuse a model whose decoder was trained on other pixel features.

    Raises
    ------
    StoredDataError
        If it was.
    """
    if model.pixel_scaling is not None:
        maps = pixel_map_names(plan.n_channels, plan.blocks.n_octaves)
        names = (*maps, *place_names(is_volume=plan.blocks.is_volume))
        require_names("pixel", names, model.pixel_scaling)


def _blocks_of(graph: RegionGraph) -> tuple[ImagePlan, Region, Array]:
    """Return the plan of a graph of `graph.stream`, its region, and the first node of each block.

    A superpixel lies in one block, and so does its centroid; blocks are numbered like nodes.
    """
    plan = plan_of(graph.source.params)
    grid = plan.blocks.basins.grid
    region = region_of(grid, None)
    cell = (graph.centroid_px // grid.block_zyx).astype(np.int64)
    number = np.ravel_multi_index(tuple(cell.T), grid.n_blocks_zyx)
    return plan, region, np.searchsorted(number, np.arange(grid.n_blocks + 1))


def _tables(graph: RegionGraph, model: NodeModel) -> GraphTables:
    if not is_streamed(model.recipe):
        return GraphTables.of_graph(graph)
    return GraphTables.of_graph(graph, block_ids(*_blocks_of(graph)))


def _decoded(
    source: ImageSource,
    labels: LabelsZYX,
    graph: RegionGraph,
    logits: Float32,
    model: NodeModel,
    inputs: PixelInputs,
    workers: int,
    *,
    shares: bool,
) -> tuple[MaskZYX, UInt8 | None]:
    """Decode every pixel: class ids, and class probabilities if wanted."""
    plan, region, first_node = _blocks_of(graph)
    require_pixels(plan, model)
    scene = Scene(
        source,
        plan,
        region,
        first_node,
        lambda i: labels[region.grid.box(i)],
        logits,
        model.class_ids,
        inputs,
    )
    mask = np.empty(labels.shape, np.uint8)
    planes = np.empty((logits.shape[1], *labels.shape), np.uint8) if shares else None
    with ThreadPoolExecutor(workers) as pool:
        for band, painted in paint_bands(scene, list(bands(region)), pool=pool, shares=shares):
            mask[band.z, band.y] = painted.mask
            if planes is not None and painted.shares is not None:
                planes[:, band.z, band.y] = painted.shares
    return mask, planes
