"""From an image to a mask: superpixels, graph, network, and back to pixels."""

import logging
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spixgraph.arrays import Float32, Int64, LabelsZYX, MaskZYX, UInt8
from spixgraph.config.recipe import GraphRecipe
from spixgraph.errors import InputError, StoredDataError
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.scaling import Scaling
from spixgraph.io.images import ImageInfo, ImageSource
from spixgraph.predict.bundle import Bundle
from spixgraph.predict.card import Card, Column
from spixgraph.predict.image_graph import graph_of_image
from spixgraph.predict.onnx_predictor import Device, OnnxPredictor
from spixgraph.predict.steps import Steps

log = logging.getLogger(__name__)

_FAR = 2.0  # a pixel size beyond this factor of the training range is worth a warning


class NodePredictor(Protocol):
    """numpy in, numpy out; the torch and the ONNX side both satisfy it."""

    def __call__(self, x: Float32, edge_index: Int64, edge_attr: Float32) -> Float32:
        """Map standardised (n, F), (2, E) int64 and (E, D) to (n, K) float32 logits."""


@dataclass(frozen=True, slots=True)
class NodeModel:
    """What leads from an image to a mask.

    Attributes
    ----------
    recipe : GraphRecipe
    node_scaling, edge_scaling : Scaling
        How raw features are standardised; their names must be those of the graph.
    predictor : NodePredictor
    class_ids : (K,) uint8
        Id in the mask of each column of the logits.
    card : Card, optional
        Where given, images that do not suit it are refused.
    """

    recipe: GraphRecipe
    node_scaling: Scaling
    edge_scaling: Scaling
    predictor: NodePredictor
    class_ids: UInt8
    card: Card | None = None


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
    seconds : dict
        Per step: read, superpixels, graph, network, mask.
    """

    mask: MaskZYX
    labels: LabelsZYX
    logits: Float32
    seconds: dict[str, float]


def open_model(bundle: Bundle, *, device: Device = "auto", threads: int | None = None) -> NodeModel:
    """Open the network of a bundle; errors as of `OnnxPredictor`."""
    card = bundle.card
    return NodeModel(
        recipe=bundle.recipe,
        node_scaling=_scaling(card.node_features),
        edge_scaling=_scaling(card.edge_features),
        predictor=OnnxPredictor(bundle.model_path, device=device, threads=threads),
        class_ids=np.array([c.id for c in card.classes], np.uint8),
        card=card,
    )


def segment_source(
    source: ImageSource, model: NodeModel | Bundle, *, steps: Steps | None = None
) -> Segmentation:
    """Segment one image.

    Parameters
    ----------
    source : ImageSource
    model : NodeModel or Bundle
        A bundle is opened on the device "auto".
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
        _warn_of_pixel_size(source.info, model.card)
    steps = steps or Steps()
    labels, graph = graph_of_image(source, model.recipe, steps=steps)
    with steps("network"):
        logits = node_logits(graph, model)
    with steps("mask"):
        mask = paint(labels, logits, model.class_ids)
    return Segmentation(mask, labels, logits, steps.seconds)


def node_logits(graph: RegionGraph, model: NodeModel) -> Float32:
    """Standardise the features of a graph and run the network: (n, K) float32."""
    _require_names("node", graph.feature_names, model.node_scaling)
    _require_names("edge", graph.edge_feature_names, model.edge_scaling)
    x = model.node_scaling.apply(graph.x)
    edge_attr = model.edge_scaling.apply(graph.edge_attr)
    logits = model.predictor(x, graph.edge_index, edge_attr)
    wanted = (graph.n_regions, len(model.class_ids))
    if logits.shape != wanted:
        raise StoredDataError(f"the network gave logits {logits.shape}, the card wants {wanted}")
    if not np.isfinite(logits).all():
        raise StoredDataError("the network gave NaN or inf; its weights are broken, train it again")
    return logits


def paint(labels: LabelsZYX, logits: Float32, class_ids: UInt8) -> MaskZYX:
    """Give each pixel the class of its superpixel: the largest logit, the first of equals."""
    mask: MaskZYX = class_ids[logits.argmax(axis=1)][labels]
    return mask


def class_probabilities(logits: Float32) -> Float32:
    """Softmax of the logits: (n, K) float32, rows sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def require_fit(info: ImageInfo, card: Card) -> None:
    """Refuse an image that the model was not made for.

    Raises
    ------
    InputError
        If the number of channels or of dimensions differs.
    """
    if info.n_channels != card.n_channels:
        raise InputError(
            f"the image has {info.n_channels} channel(s), model {card.name} was trained on "
            f"{card.n_channels}; convert the image, or say by --axes what its axes are"
        )
    if info.n_dims != card.n_dims:
        raise InputError(
            f"the image is {info.n_dims}D (Z = {info.shape_zyxc[0]}), model {card.name} was "
            f"trained on {card.n_dims}D images; use a model for these, or say by --axes what the "
            "axes are"
        )


def _warn_of_pixel_size(info: ImageInfo, card: Card) -> None:
    if info.pixel_size_um is None or card.pixel_size_um_range is None:
        return
    smallest, largest = card.pixel_size_um_range
    size = info.pixel_size_um[1]
    if not smallest / _FAR <= size <= largest * _FAR:
        log.warning(
            "the pixel size of %g um is far outside of the training data of model %s (%g to %g um);"
            " expect a poor mask, or resample the image",
            size,
            card.name,
            smallest,
            largest,
        )


def _scaling(columns: tuple[Column, ...]) -> Scaling:
    return Scaling(
        names=tuple(c.name for c in columns),
        mean=np.array([c.mean for c in columns], np.float64),
        scale=np.array([c.scale for c in columns], np.float64),
    )


def _require_names(kind: str, names: tuple[str, ...], scaling: Scaling) -> None:
    if tuple(names) != tuple(scaling.names):
        raise StoredDataError(
            f"this version computes {len(names)} {kind} features ({_brief(names)}), the model was "
            f"trained on {len(scaling.names)} ({_brief(scaling.names)}); train it again or install "
            "the version that made it"
        )


def _brief(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
