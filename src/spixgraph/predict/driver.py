"""From an image to a mask, in memory: superpixels, graph, network, and back to pixels.

`stream` does the same from file to file, with the same bytes.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Float32, LabelsZYX, MaskZYX, UInt8
from spixgraph.graph.blocks.pixel_maps import pixel_map_names
from spixgraph.graph.partitions import StoredArray
from spixgraph.graph.pixel_samples import place_names
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.stream import ImagePlan
from spixgraph.graph.stream.block_ids import block_ids, blocks_of_graph
from spixgraph.io.images import ImageSource
from spixgraph.predict.bundle import Bundle
from spixgraph.predict.context import ContextMap, room_in_memory
from spixgraph.predict.decoder import BlockNodes, class_probabilities, decode_probabilities
from spixgraph.predict.image_graph import graph_of_image
from spixgraph.predict.model import (
    NodeModel,
    NodePredictor,
    PixelPredictor,
    open_model,
    require_fit,
    warn_of_pixel_size,
)
from spixgraph.predict.network import model_of_image, require_names, run_network
from spixgraph.predict.painting import Painted, PixelInputs, Scene, bands, paint_bands
from spixgraph.predict.steps import Steps
from spixgraph.predict.tables import GraphTables, Rows

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
        Of the superpixels, divided by the temperature of the model, so that their softmax are
        probabilities; with a pixel decoder the pixels of one may differ.
    seconds : dict
        Per step: graph, network, mask; read and superpixels where these are apart.
    shares : (K, Z, Y, X) uint8 or None
        Class probabilities of the pixels, 255 is certain, where they were asked for.
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
    steps: Steps | None = None,
    shares: bool = False,
) -> Segmentation:
    """Segment one image in memory.

    Parameters
    ----------
    source : ImageSource
    model : NodeModel or Bundle
        A bundle is opened on the device "auto".
    workers : int, optional
        Threads; all processors by default.
    steps : Steps, optional
        Gets the seconds of each step.
    shares : bool
        Whether the probabilities of all pixels are wanted.

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
    opinions = opinions_on(source, model, workers=workers, steps=steps)
    with steps("mask"):
        painted = paint_opinions(source, opinions, workers=workers or 1, shares=shares)
    logits = opinions.logits / np.float32(model.temperature)
    return Segmentation(painted.mask, opinions.labels, logits, steps.seconds, painted.shares)


@dataclass(frozen=True, slots=True, eq=False)
class Opinions:
    """What the networks of a model say of an image, before it is painted.

    Attributes
    ----------
    labels : (Z, Y, X) int32
    graph : RegionGraph
    model : NodeModel
        Of the image.
    logits : (n, K) float32
        Of the superpixel network.
    weights : (n, K, P + H) float32 or None
        Of its pixel decoder.
    context : ContextMap or None
        Of the network of the overview.
    """

    labels: LabelsZYX
    graph: RegionGraph
    model: NodeModel
    logits: Float32
    weights: Float32 | None
    context: ContextMap | None


def opinions_on(
    source: ImageSource, model: NodeModel, *, workers: int | None = None, steps: Steps | None = None
) -> Opinions:
    """Ask the networks of a model; arguments and errors as of `segment_source`."""
    steps = steps or Steps()
    labels, graph = graph_of_image(source, model.recipe, workers=workers, steps=steps)
    tables = _tables(graph, model)
    shape = (graph.n_regions, len(model.class_ids))
    logits: Float32 = np.empty(shape, np.float32)
    weights: Float32 | None = None
    if model.pixel_scaling is not None:
        weights = np.empty((*shape, model.n_pixel_weights), np.float32)
    with steps("network"):
        model = model_of_image(tables, model)
        run_network(tables, model, logits, weights, workers=workers or 1)
    context = None
    if model.context is not None:
        with steps("context"):
            box = blocks_of_graph(graph)[1].box
            context = model.context.look(source, box, room_in_memory)
    return Opinions(labels, graph, model, logits, weights, context)


def node_logits(graph: RegionGraph, model: NodeModel) -> Float32:
    """Standardise the features of a graph and run the network: (n, K) float32."""
    tables = _tables(graph, model)
    logits: Float32 = np.empty((graph.n_regions, len(model.class_ids)), np.float32)
    run_network(tables, model_of_image(tables, model), logits)
    return logits


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
        maps = pixel_map_names(
            plan.n_channels, plan.blocks.n_octaves, is_volume=plan.blocks.is_volume
        )
        names = (*maps, *place_names(is_volume=plan.blocks.is_volume))
        require_names("pixel", names, model.pixel_scaling)


def pixel_inputs(
    model: NodeModel,
    weights: Rows | None,
    centroid_px: StoredArray,
    n_pixels: StoredArray,
    context: ContextMap | None,
) -> PixelInputs | None:
    """Put together what decodes the pixels of an image; None for a model without a decoder.

    Parameters
    ----------
    model : NodeModel
        Of the image.
    weights : Rows, optional
        What `run_network` wrote.
    centroid_px, n_pixels : numpy or Zarr array
    context : ContextMap, optional
        Of the image, where the model has a context.
    """
    scaling, layer = model.pixel_scaling, model.pixel_layer
    if weights is None or scaling is None:
        return None
    if context is not None:
        scaling, layer = context.context.scaling(scaling), context.context.layer(layer)
    return PixelInputs(weights, centroid_px, n_pixels, scaling, layer, context)


def paint_opinions(
    source: ImageSource, opinions: Opinions, *, workers: int = 1, shares: bool = False
) -> Painted:
    """Classify every pixel.

    Parameters
    ----------
    source : ImageSource
    opinions : Opinions
        On it.
    workers : int
    shares : bool
        Whether the probabilities of all pixels are wanted.
    """
    labels, graph, model = opinions.labels, opinions.graph, opinions.model
    logits, weights = opinions.logits, opinions.weights
    if weights is None:
        mask, nodes = paint(labels, logits, model.class_ids), BlockNodes(0, logits)
        given = None
        if shares:
            given = decode_probabilities(labels, nodes, temperature=model.temperature)
        return Painted(mask, given)
    plan, region, first_node = blocks_of_graph(graph)
    require_pixels(plan, model)
    scene = Scene(
        source,
        plan,
        region,
        first_node,
        lambda i: labels[region.grid.box(i)],
        logits,
        model.class_ids,
        pixel_inputs(model, weights, graph.centroid_px, graph.n_pixels, opinions.context),
        model.temperature,
    )
    mask = np.empty(labels.shape, np.uint8)
    given = np.empty((len(model.class_ids), *labels.shape), np.uint8) if shares else None
    with ThreadPoolExecutor(workers) as pool:
        for band, painted in paint_bands(scene, list(bands(region)), pool=pool, shares=shares):
            mask[band.z, band.y] = painted.mask
            if given is not None and painted.shares is not None:
                given[:, band.z, band.y] = painted.shares
    return Painted(mask, given)


def _tables(graph: RegionGraph, model: NodeModel) -> GraphTables:
    if not model.recipe.is_streamed:
        return GraphTables.of_graph(graph)
    return GraphTables.of_graph(graph, block_ids(*blocks_of_graph(graph)))
