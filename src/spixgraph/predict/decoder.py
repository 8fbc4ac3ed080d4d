"""From superpixels to pixels: each superpixel brings a tiny linear model of the pixels in it.

The network gives superpixel s, for each class k, a logit and a weight per pixel feature. A pixel
gets ``b[s, k] + sum over p of W[s, k, p] * phi[p]``: phi are the maps of `graph.blocks.pixel_maps`
and the place of the pixel in its superpixel, standardised. Idea cousins: PointRend
(arXiv:1912.08193) and CondInst (arXiv:2003.05664).
"""

from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Array, Float32, Float64, Int64, MaskZYX, ShapeZYX, UInt8
from spixgraph.graph.scaling import CLIP, Scaling
from spixgraph.superpixels.basins.jit import kernel


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
    """The linear models of the superpixels of a block.

    Attributes
    ----------
    weights : (n, K, P) float32
        Of the maps, then of `graph.pixel_samples.place_names`.
    centroid_px : (n, 3) float64
        z, y, x in the image.
    n_pixels : (n,) int64
    origin_zyx : three int
        Of the block in the image.
    maps : (M, Z, Y, X) float32
        Pixel maps of the block.
    scaling : Scaling
        Of the P columns.
    is_volume : bool
        True where superpixels extend over slices.
    """

    weights: Float32
    centroid_px: Float64
    n_pixels: Int64
    origin_zyx: ShapeZYX
    maps: Float32
    scaling: Scaling
    is_volume: bool


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
        _spread(labels, nodes.first, class_ids[nodes.logits.argmax(axis=1)][None], out[None])
    else:
        _classify(labels, nodes.first, *_arguments(nodes, models), class_ids, out)
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
        _spread(labels, nodes.first, np.ascontiguousarray(shares.T), out)
    else:
        _share(labels, nodes.first, *_arguments(nodes, models, temperature), out)
    return out


def class_probabilities(logits: Float32) -> Float32:
    """Softmax of the logits: (n, K) float32, rows sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _arguments(
    nodes: BlockNodes, models: PixelModels, temperature: float = 1.0
) -> tuple[Float32, Float32, Float32, bool, Float32, Float32, Float32]:
    """Return what the kernels want: places in the block, and models relative to class 0."""
    origin = np.array(models.origin_zyx, np.float64)
    size = models.n_pixels ** (-1 / 3 if models.is_volume else -1 / 2)
    centre = np.concatenate([models.centroid_px - origin, size[:, None]], axis=1)
    scaling = np.stack([models.scaling.mean, 1 / models.scaling.scale], axis=1)
    return (
        models.maps,
        scaling.astype(np.float32),
        centre.astype(np.float32),
        models.is_volume,
        (nodes.logits[:, 1:] - nodes.logits[:, :1]) / np.float32(temperature),
        (models.weights[:, 1:] - models.weights[:, :1]) / np.float32(temperature),
        np.empty((len(scaling), models.maps.shape[3]), np.float32),
    )


@kernel
def _spread(labels: Array, first: int, values: UInt8, out: UInt8) -> None:
    """Give each pixel the values (V, n) of its superpixel."""
    n_z, n_y, n_x = labels.shape
    for v in range(values.shape[0]):
        for z in range(n_z):
            for y in range(n_y):
                for x in range(n_x):
                    out[v, z, y, x] = values[v, labels[z, y, x] - first]


@kernel
def _standardise(line: Array, mean: float, factor: float, out: Array) -> None:
    """Standardise and clip a line, as `graph.scaling` does."""
    low, high = np.float32(-CLIP), np.float32(CLIP)
    for x in range(line.size):
        value = (line[x] - mean) * factor
        value = low if value < low else value
        out[x] = high if value > high else value


@kernel
def _write_places(
    centre: Array, s: int, z: int, y: int, begin: int, end: int, is_volume: bool, phi: Array
) -> None:
    """Write the columns of `place_names` for a run of pixels of superpixel `s`."""
    size = centre[s, 3]
    oy = (np.float32(y) - centre[s, 1]) * size
    x0 = np.float32(begin) - centre[s, 2]
    at = phi.shape[0] - (6 if is_volume else 5)
    phi[at, begin:end] = oy
    phi[at + 2, begin:end] = oy * oy
    line, cross, square = (phi[at + 1, begin:end], phi[at + 3, begin:end], phi[at + 4, begin:end])
    for i in range(line.size):
        ox = (x0 + np.float32(i)) * size
        line[i] = ox
        cross[i] = oy * ox
        square[i] = ox * ox
    if is_volume:
        phi[at + 5, begin:end] = (np.float32(z) - centre[s, 0]) * size


@kernel
def _weigh(phi: Array, begin: int, end: int, bias: float, w: Array, line: Array) -> None:
    """Write ``bias + w . phi`` of a run of pixels, four columns at a time."""
    out = line[begin:end]
    out[:] = bias
    n = w.size
    for p in range(0, n - 3, 4):
        w0, w1, w2, w3 = w[p], w[p + 1], w[p + 2], w[p + 3]
        m0, m1 = phi[p, begin:end], phi[p + 1, begin:end]
        m2, m3 = phi[p + 2, begin:end], phi[p + 3, begin:end]
        for i in range(out.size):
            out[i] += (w0 * m0[i] + w1 * m1[i]) + (w2 * m2[i] + w3 * m3[i])
    for p in range(n - n % 4, n):
        w0, m0 = w[p], phi[p, begin:end]
        for i in range(out.size):
            out[i] += w0 * m0[i]


@kernel
def _values(
    labels: Array,
    first: int,
    maps: Array,
    scaling: Array,
    centre: Array,
    is_volume: bool,
    bias: Array,
    weights: Array,
    phi: Array,
    z: int,
    y: int,
    out: Array,
) -> None:
    """Write the values (K - 1, X) of a line of pixels, run by run of one superpixel."""
    n_maps, n_x = maps.shape[0], labels.shape[2]
    line = labels[z, y]
    for p in range(n_maps):
        _standardise(maps[p, z, y], scaling[p, 0], scaling[p, 1], phi[p])
    begin = 0
    while begin < n_x:
        end = begin + 1
        while end < n_x and line[end] == line[begin]:
            end += 1
        _write_places(centre, line[begin] - first, z, y, begin, end, is_volume, phi)
        begin = end
    for p in range(n_maps, phi.shape[0]):
        _standardise(phi[p], scaling[p, 0], scaling[p, 1], phi[p])
    begin = 0
    while begin < n_x:
        end = begin + 1
        while end < n_x and line[end] == line[begin]:
            end += 1
        s = line[begin] - first
        for k in range(out.shape[0]):
            _weigh(phi, begin, end, bias[s, k], weights[s, k], out[k])
        begin = end


@kernel
def _classify(
    labels: Array,
    first: int,
    maps: Array,
    scaling: Array,
    centre: Array,
    is_volume: bool,
    bias: Array,
    weights: Array,
    phi: Array,
    class_ids: Array,
    out: Array,
) -> None:
    """Write the class of the largest value."""
    n_z, n_y, n_x = labels.shape
    line = np.empty((bias.shape[1], n_x), np.float32)
    for z in range(n_z):
        for y in range(n_y):
            _values(labels, first, maps, scaling, centre, is_volume, bias, weights, phi, z, y, line)
            for x in range(n_x):
                best, most = 0, np.float32(0)
                for k in range(line.shape[0]):
                    if line[k, x] > most:
                        best, most = k + 1, line[k, x]
                out[z, y, x] = class_ids[best]


@kernel
def _share(
    labels: Array,
    first: int,
    maps: Array,
    scaling: Array,
    centre: Array,
    is_volume: bool,
    bias: Array,
    weights: Array,
    phi: Array,
    out: Array,
) -> None:
    """Write the softmax of the values, times 255, rounded."""
    n_z, n_y, n_x = labels.shape
    line = np.empty((bias.shape[1], n_x), np.float32)
    for z in range(n_z):
        for y in range(n_y):
            _values(labels, first, maps, scaling, centre, is_volume, bias, weights, phi, z, y, line)
            for x in range(n_x):
                most = np.float32(0)
                for k in range(line.shape[0]):
                    most = max(most, line[k, x])
                total = np.exp(-most)
                share = total
                for k in range(line.shape[0]):
                    line[k, x] = np.exp(line[k, x] - most)
                    total += line[k, x]
                factor = np.float32(255) / total
                out[0, z, y, x] = np.uint8(share * factor + np.float32(0.5))
                for k in range(line.shape[0]):
                    out[k + 1, z, y, x] = np.uint8(line[k, x] * factor + np.float32(0.5))
