"""A trained network with all that leads from an image to class values."""

import logging
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from spixgraph.arrays import Float32, Int64, UInt8
from spixgraph.config.recipe import GraphRecipe
from spixgraph.errors import InputError
from spixgraph.graph.image_scaling import Scalings, TableSums
from spixgraph.graph.scaling import Scaling
from spixgraph.io.images import ImageInfo
from spixgraph.predict.bundle import Bundle
from spixgraph.predict.card import Card, Column
from spixgraph.predict.context import Context
from spixgraph.predict.onnx_predictor import Device, OnnxContext, OnnxPredictor

log = logging.getLogger(__name__)

_FAR = 2.0  # a pixel size beyond this factor of the training range is worth a warning


class NodePredictor(Protocol):
    """numpy in, numpy out; the torch and the ONNX side both satisfy it."""

    def __call__(self, x: Float32, edge_index: Int64, edge_attr: Float32) -> Float32:
        """Map standardised (n, F), (2, E) int64 and (E, D) to (n, K) float32 logits."""


@runtime_checkable
class PixelPredictor(Protocol):
    """The same of a network with a pixel decoder."""

    def with_weights(
        self, x: Float32, edge_index: Int64, edge_attr: Float32
    ) -> tuple[Float32, Float32]:
        """Map a graph to logits (n, K) and pixel weights (n, K, P + H), both float32."""


@dataclass(frozen=True, slots=True)
class NodeModel:
    """What leads from an image to a mask.

    Attributes
    ----------
    recipe : GraphRecipe
    node_scaling, edge_scaling : Scaling
        How raw features are standardised; their names must be those of the graph.
    predictor : NodePredictor
        A `PixelPredictor`, too, where there is a decoder.
    class_ids : (K,) uint8
        Id in the mask of each column of the logits.
    card : Card, optional
        Where given, images that do not suit it are refused.
    n_layers : int, optional
        Message passing layers; without it a graph is never cut into parts.
    pixel_scaling : Scaling, optional
        Of the P pixel features of the decoder; None without a decoder.
    pixel_layer : (H, P + 1) float32, optional
        Weights and, in the last column, biases of the hidden values of a pixel.
    context : Context, optional
        A second opinion on each pixel; only where there is a decoder.
    scaled_per_image : bool
        Whether the scalings are those of training, from which `graph.image_scaling` makes those of
        an image.
    temperature : float
        What the values of classes are divided by to become probabilities; masks do not depend on
        it.
    """

    recipe: GraphRecipe
    node_scaling: Scaling
    edge_scaling: Scaling
    predictor: NodePredictor
    class_ids: UInt8
    card: Card | None = None
    n_layers: int | None = None
    pixel_scaling: Scaling | None = None
    pixel_layer: Float32 | None = None
    context: Context | None = None
    scaled_per_image: bool = False
    temperature: float = 1.0

    @property
    def n_pixel_weights(self) -> int:
        """Weights of a class that the network gives each superpixel for its pixels: P + H."""
        n_columns = 0 if self.pixel_scaling is None else len(self.pixel_scaling.names)
        return n_columns + (0 if self.pixel_layer is None else len(self.pixel_layer))

    def at(self, sums: TableSums) -> "NodeModel":
        """Return the model with the scalings of the raw columns of an image with these sums."""
        if not self.scaled_per_image:
            return self
        scalings = Scalings(self.node_scaling, self.edge_scaling, self.pixel_scaling).at(sums)
        return replace(
            self,
            node_scaling=scalings.nodes,
            edge_scaling=scalings.edges,
            pixel_scaling=scalings.pixels,
        )


def open_model(
    bundle: Bundle,
    *,
    device: Device = "auto",
    threads: int | None = None,
    gpu_memory_bytes: int | None = None,
) -> NodeModel:
    """Open the network of a bundle; errors as of `OnnxPredictor`."""
    card = bundle.card
    if card.context and gpu_memory_bytes is not None:
        gpu_memory_bytes //= 2  # each of two networks
    return NodeModel(
        recipe=bundle.recipe,
        node_scaling=_scaling(card.node_features),
        edge_scaling=_scaling(card.edge_features),
        predictor=OnnxPredictor(
            bundle.model_path, device=device, threads=threads, gpu_memory_bytes=gpu_memory_bytes
        ),
        class_ids=np.array([c.id for c in card.classes], np.uint8),
        card=card,
        n_layers=card.n_layers,
        pixel_scaling=None if card.decoder is None else _scaling(card.decoder.columns),
        pixel_layer=bundle.pixel_layer(),
        context=_context(bundle, device, threads, gpu_memory_bytes),
        scaled_per_image=card.scaled_per_image,
        temperature=card.temperature,
    )


def _context(
    bundle: Bundle, device: Device, threads: int | None, gpu_memory_bytes: int | None
) -> Context | None:
    """Open the network of the overview, if the bundle has one."""
    card = bundle.card.context
    if card is None:
        return None
    predictor = OnnxContext(
        bundle.context_path, device=device, threads=threads, gpu_memory_bytes=gpu_memory_bytes
    )
    return Context(card.factor, card.weight, len(bundle.card.classes), predictor)


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


def warn_of_pixel_size(info: ImageInfo, card: Card) -> None:
    """Log a warning where the pixel size is far from that of the training data."""
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
