"""Pictures of a segmentation: tiles that stand side by side, in plain numpy and Pillow.

Every tile function shows the middle slice, scaled to about the area of a square of `TILE_PX`
(enlarged by whole factors only), so that tiles of one image have one shape and can be joined in any
order. The area is bounded and not the longer side alone, because a strip would become a hair.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from spixgraph.arrays import (
    NOT_ANNOTATED,
    Array,
    Bool,
    Float32,
    Float64,
    ImageZYXC,
    Int64,
    LabelsZYX,
    MaskZYX,
    ShapeZYX,
    UInt8,
    require_image,
    require_labels,
)
from spixgraph.errors import InputError
from spixgraph.evaluate.colours import rgb_table
from spixgraph.files import atomic_path

TILE_PX = 512

_OUTLINE = (255, 214, 0)
_EDGE = (86, 180, 233)
_NODE = (255, 214, 0)
_ERROR = (255, 96, 0)
_HATCH = np.array([[96, 96, 104], [152, 152, 160]], np.uint8)  # of what is not annotated
_LONGEST_PX = 4 * TILE_PX
_GAP_PX = 4
_FINE = 3  # lines are drawn this much larger and averaged down: smooth, and the same everywhere


def panel(
    image: ImageZYXC,
    labels: LabelsZYX | None,
    prediction: MaskZYX,
    truth: MaskZYX,
    colours: Sequence[str],
    confidence: UInt8 | None = None,
) -> UInt8:
    """Draw 'image | superpixels | prediction | truth | errors | uncertainty'.

    Parameters
    ----------
    image : (Z, Y, X, C) float32
        0..1. One channel is grey, two are green and magenta, of more the first three are RGB.
    labels : (Z, Y, X) int32 or None
        Superpixels; None, for a model without them, leaves that tile out.
    prediction, truth : (Z, Y, X) uint8
        Class ids; 255 in the truth is not annotated and hatched.
    colours : sequence of str
        ``#rrggbb`` per class.
    confidence : (Z, Y, X) uint8, optional
        See `uncertainty_tile`; without it that tile is left out.

    Returns
    -------
    picture : (h, w, 3) uint8
        Tiles from left to right; of an image wider than twice its height, from top to bottom.

    Raises
    ------
    InputError
        If an array has another form or shape, or a class has no colour.
    """
    tiles = [image_tile(image)]
    if labels is not None:
        tiles.append(superpixel_tile(image, labels))
    tiles.append(class_tile(prediction, colours))
    tiles.append(class_tile(truth, colours))
    tiles.append(error_tile(image, prediction, truth))
    if confidence is not None:
        tiles.append(uncertainty_tile(confidence, n_classes=len(colours)))
    return join_tiles(tiles)


def image_tile(image: ImageZYXC) -> UInt8:
    """Draw the middle slice of a (Z, Y, X, C) float32 image, scaled by area: (h, w, 3) uint8."""
    require_image(image)
    middle = image[len(image) // 2]
    height, width = _tile_shape(middle.shape)
    if (height, width) != middle.shape[:2]:
        middle = np.stack([_scaled(c, height, width) for c in np.moveaxis(middle, -1, 0)], axis=-1)
    return np.rint(255 * np.clip(_rgb(middle), 0, 1)).astype(np.uint8)


def superpixel_tile(image: ImageZYXC, labels: LabelsZYX) -> UInt8:
    """Draw the image with the outlines of its superpixels: (h, w, 3) uint8."""
    tile = image_tile(image)
    _require_same_shape(image, labels)
    outline = _outlines(_middle(labels))
    tile[outline] = np.rint(0.4 * tile[outline] + 0.6 * np.array(_OUTLINE))
    return tile


def class_tile(mask: MaskZYX, colours: Sequence[str]) -> UInt8:
    """Draw the classes of a (Z, Y, X) uint8 mask, 255 hatched: (h, w, 3) uint8."""
    _require_mask(mask)
    highest = int(mask[mask != NOT_ANNOTATED].max(initial=0))
    if highest >= len(colours):
        raise InputError(f"mask holds class {highest} but there are {len(colours)} colours")
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = rgb_table(colours)
    middle = _middle(mask)
    return _hatched(table[middle], middle == NOT_ANNOTATED)


def error_tile(image: ImageZYXC, prediction: MaskZYX, truth: MaskZYX) -> UInt8:
    """Draw wrong pixels in orange over the dark image, not annotated ones hatched."""
    tile = _dimmed(image_tile(image))
    for mask in (prediction, truth):
        _require_mask(mask)
        _require_same_shape(image, mask)
    true, predicted = _middle(truth), _middle(prediction)
    tile[true != predicted] = _ERROR
    return _hatched(tile, true == NOT_ANNOTATED)


def uncertainty_tile(confidence: UInt8, *, n_classes: int) -> UInt8:
    """Draw how unsure a model is: (h, w, 3) uint8, black is certain, white is a mere guess.

    Parameters
    ----------
    confidence : (Z, Y, X) uint8
        Probability of the predicted class, 255 is certain.
    n_classes : int
        A guess has a probability of 1 / n_classes.
    """
    _require_mask(confidence)
    unsure = 1 - _middle(confidence) / 255
    grey = np.clip(unsure / (1 - 1 / max(2, n_classes)), 0, 1)
    return np.repeat(np.rint(255 * grey).astype(np.uint8)[..., None], 3, axis=-1)


def graph_picture(
    image: ImageZYXC, labels: LabelsZYX, centroid_px: Float64, edge_index: Int64
) -> UInt8:
    """Draw nodes and edges of the superpixel graph over the darkened image.

    Parameters
    ----------
    image : (Z, Y, X, C) float32
        0..1.
    labels : (Z, Y, X) int32
        Superpixels 0..n-1; nodes that the middle slice does not cut are left out.
    centroid_px : (n, 3) float64
        (z, y, x) of each node.
    edge_index : (2, E) int64
        Node pairs; each is drawn once, whatever its directions.

    Returns
    -------
    picture : (h, w, 3) uint8
        Of the shape of the other tiles of this image.
    """
    require_labels(labels)
    tile = image_tile(image)
    _require_same_shape(image, labels)
    shown = np.zeros(len(centroid_px), np.bool_)
    ids = np.unique(labels[len(labels) // 2])
    if ids[-1] >= len(shown) or edge_index.max(initial=-1) >= len(shown):
        raise InputError(
            f"labels up to {ids[-1]} and edges up to {edge_index.max(initial=-1)} do not fit "
            f"{len(shown)} centroids; take all from one graph"
        )
    shown[ids] = True
    scale = np.array(tile.shape[:2]) / image.shape[1:3]
    at_xy = ((centroid_px[:, 1:] + 0.5) * scale * _FINE)[:, ::-1]
    pairs = np.unique(np.sort(edge_index, axis=0), axis=1)
    return _draw_graph(_dimmed(tile), at_xy, pairs[:, shown[pairs].all(axis=0)], shown)


def join_tiles(tiles: Sequence[UInt8]) -> UInt8:
    """Set tiles of one shape side by side, or above each other if wider than twice their height."""
    shapes = {tile.shape for tile in tiles}
    if len(shapes) != 1:
        raise InputError(f"tiles must have one shape, got {sorted(shapes)}; draw one image")
    height, width, _ = tiles[0].shape
    axis = 0 if width > 2 * height else 1
    gap = np.full((_GAP_PX, width, 3) if axis == 0 else (height, _GAP_PX, 3), 255, np.uint8)
    row: list[UInt8] = []
    for tile in tiles:
        row += [gap, tile]
    return np.concatenate(row[1:], axis=axis)


def png_bytes(rgb: UInt8) -> bytes:
    """Encode an (h, w, 3) uint8 picture; same picture, same bytes."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise InputError(f"rgb must be (h, w, 3) uint8, got shape {rgb.shape} {rgb.dtype}")
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()


def save_png(path: Path, rgb: UInt8) -> None:
    """Write an (h, w, 3) uint8 picture, atomically; same picture, same bytes."""
    with atomic_path(path) as part:
        part.write_bytes(png_bytes(rgb))


def _tile_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the tile of a (Y, X, ...) slice."""
    height, width = shape[:2]
    factor = min(TILE_PX / math.sqrt(height * width), _LONGEST_PX / max(height, width))
    factor = factor if factor < 1 else math.floor(factor)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _scaled(channel: Float32, height: int, width: int) -> Float32:
    """Average a (Y, X) channel over the area of each tile pixel."""
    scaled = Image.fromarray(channel).resize((width, height), Image.Resampling.BOX)
    return np.asarray(scaled, np.float32)


def _middle(volume: Array) -> Array:
    """Take the middle slice of a (Z, Y, X) array at the nearest pixels of its tile."""
    plane = volume[len(volume) // 2]
    height, width = _tile_shape(plane.shape)
    rows = ((np.arange(height) + 0.5) * plane.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * plane.shape[1] / width).astype(np.int64)
    return plane[np.ix_(rows, columns)]


def _rgb(image: Float32) -> Float32:
    """Turn (h, w, C) into (h, w, 3)."""
    n_channels = image.shape[-1]
    if n_channels == 1:
        return np.repeat(image, 3, axis=-1)
    if n_channels == 2:
        return image[..., [1, 0, 1]]  # the first green, the second magenta
    return image[..., :3]


def _outlines(labels: Array) -> Bool:
    """Mark pixels whose right or lower neighbour has another label."""
    outline = np.zeros(labels.shape, np.bool_)
    outline[:-1] |= labels[:-1] != labels[1:]
    outline[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return outline


def _dimmed(tile: UInt8) -> UInt8:
    """Darken a tile and take its colour, so that what is drawn over it stands out."""
    grey = tile.mean(axis=-1, keepdims=True) * 0.55
    return np.repeat(np.rint(grey).astype(np.uint8), 3, axis=-1)


def _hatched(tile: UInt8, unknown: Bool) -> UInt8:
    """Fill what is not annotated with diagonal stripes, which no class colour can look like."""
    y, x = np.nonzero(unknown)
    tile[y, x] = _HATCH[(x + y) // 4 % 2]
    return tile


def _draw_graph(tile: UInt8, at_xy: Float64, pairs: Int64, shown: Bool) -> UInt8:
    """Draw lines, then discs, on an enlarged tile and average it down."""
    height, width, _ = tile.shape
    canvas = Image.fromarray(tile).resize((width * _FINE, height * _FINE), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(canvas)
    for start, end in pairs.T.tolist():
        pen.line([*at_xy[start].tolist(), *at_xy[end].tolist()], fill=_EDGE, width=_FINE)
    radius = 1.5 * _FINE
    for x, y in at_xy[shown].tolist():
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=_NODE)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.uint8)


def _require_mask(mask: Array) -> None:
    """Raise `InputError` unless `mask` is a (Z, Y, X) uint8 array with pixels."""
    if mask.ndim != 3 or mask.dtype != np.uint8 or mask.size == 0:
        raise InputError(f"a mask must be (Z, Y, X) uint8, got shape {mask.shape} {mask.dtype}")


def _require_same_shape(image: ImageZYXC, other: Array) -> None:
    """Raise `InputError` unless `other` covers the image."""
    shape: ShapeZYX = image.shape[:3]
    if other.shape != shape:
        raise InputError(f"image has (Z, Y, X) {shape} but its labels or mask {other.shape}")
