"""From superpixels to pixels: each superpixel brings a tiny model of the pixels in it.

The network gives superpixel s, for each class k, a logit and a weight per pixel feature. A pixel
gets ``b[s, k] + sum over p of W[s, k, p] * phi[p]``: phi are the maps of `graph.blocks.pixel_maps`
and the place of the pixel in its superpixel, standardised, then hidden values that a layer makes of
these, the same for all superpixels. Idea cousins: PointRend (arXiv:1912.08193) and CondInst
(arXiv:2003.05664).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Array, Float32, Float64, Int64, MaskZYX, ShapeZYX, UInt8
from spixgraph.graph.scaling import Scaling
from spixgraph.predict.decoder_kernels import ROWS, STEP, classify, share_out, spread


@dataclass(frozen=True, slots=True, eq=False)
class BlockNodes:
    """The superpixels of a block and what the network says of them.

    Attributes
    ----------
    first : int
        Label of row 0.
    logits : (n, K) float32
    """

    first: int
    logits: Float32


@dataclass(frozen=True, slots=True, eq=False)
class PixelModels:
    """The models of the superpixels of a block, which are linear in P columns and H hidden values.

    Attributes
    ----------
    weights : (n, K, P + H) float32
        Of the maps, of `graph.pixel_samples.place_names`, then of the hidden values.
    centroid_px : (n, 3) float64
        z, y, x in the image.
    n_pixels : (n,) int64
    origin_zyx : three int
        Of the block in the image.
    strips : callable
        Yields strips of the block: rows, and their pixel maps (M, Z, rows, X) float32.
    scaling : Scaling
        Of the P columns.
    is_volume : bool
        True where superpixels extend over slices.
    layer : (H, P + 1) float32, optional
        A hidden value is the ReLU of a row times the standardised columns and 1.
    """

    weights: Float32
    centroid_px: Float64
    n_pixels: Int64
    origin_zyx: ShapeZYX
    strips: Callable[[], Iterable[tuple[slice, Float32]]]
    scaling: Scaling
    is_volume: bool
    layer: Float32 | None = None


def decode(
    labels: Array, nodes: BlockNodes, class_ids: UInt8, models: PixelModels | None = None
) -> MaskZYX:
    """Classify the pixels of a block.

    Parameters
    ----------
    labels : (Z, Y, X) int32 or int64
    nodes : BlockNodes
    class_ids : (K,) uint8
    models : PixelModels, optional
        Without them every pixel has the class of its superpixel.

    Returns
    -------
    mask : (Z, Y, X) uint8
        The id of the class with the largest value, the first of equals.
    """
    out = np.empty(labels.shape, np.uint8)
    if models is None:
        spread(labels, nodes.first, class_ids[nodes.logits.argmax(axis=1)][None], out[None])
    else:
        arguments = _arguments(nodes, models, labels.shape[2])
        for rows, maps in models.strips():
            y = rows.start
            classify(labels[:, rows], nodes.first, y, maps, *arguments, class_ids, out[:, rows])
    return out


def decode_probabilities(
    labels: Array,
    nodes: BlockNodes,
    models: PixelModels | None = None,
    *,
    temperature: float = 1.0,
) -> UInt8:
    """Give each pixel of a block its class probabilities: (K, Z, Y, X) uint8, 255 is certain.

    Parameters as for `decode`; the values of the classes are divided by `temperature`.
    """
    out = np.empty((nodes.logits.shape[1], *labels.shape), np.uint8)
    if models is None:
        shares = np.rint(class_probabilities(nodes.logits / np.float32(temperature)) * 255).astype(
            np.uint8
        )
        spread(labels, nodes.first, np.ascontiguousarray(shares.T), out)
    else:
        arguments = _arguments(nodes, models, labels.shape[2], temperature)
        for rows, maps in models.strips():
            y = rows.start
            share_out(labels[:, rows], nodes.first, y, maps, *arguments, out[:, :, rows])
    return out


def class_probabilities(logits: Float32) -> Float32:
    """Softmax of the logits: (n, K) float32, rows sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _arguments(
    nodes: BlockNodes, models: PixelModels, n_x: int, temperature: float = 1.0
) -> tuple[Float32, ...]:
    """Return what the kernels want: places in the block, and models relative to class 0."""
    origin = np.array(models.origin_zyx, np.float64)
    size = models.n_pixels ** (-1 / 3 if models.is_volume else -1 / 2)
    centre = np.concatenate([models.centroid_px - origin, size[:, None]], axis=1)
    scaling = np.stack([models.scaling.mean, 1 / models.scaling.scale], axis=1)
    layer = np.empty((0, len(scaling) + 1), np.float32) if models.layer is None else models.layer
    layer = np.pad(layer, ((0, -len(layer) % ROWS), (0, 0)))  # to whole steps of the kernel
    return (
        scaling.astype(np.float32),
        layer,
        centre.astype(np.float32),
        (nodes.logits[:, 1:] - nodes.logits[:, :1]) / np.float32(temperature),
        (models.weights[:, 1:] - models.weights[:, :1]) / np.float32(temperature),
        np.zeros((len(scaling) + len(layer), n_x + STEP), np.float32),
    )
