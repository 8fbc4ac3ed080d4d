"""Random patches of annotated images, for the CNN."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import (
    NOT_ANNOTATED,
    Bool,
    Float32,
    ImageZYXC,
    Int64,
    MaskZYX,
    ShapeZYX,
    UInt8,
    require_image,
)
from spixgraph.errors import InputError
from spixgraph.nets.cnn import pad_by_reflection

CLASS_SHARE = 1 / 3
"""Part of the patches that are drawn around a class picked evenly, so that rare ones are seen."""
MAX_GAIN = 1.25
MAX_OFFSET = 0.3  # standard deviations of the image
MAX_ZOOM = 1.3
MAX_GAMMA = 1.4
MAX_NOISE = 0.15  # standard deviations of the image
SHARE = 0.3
"""Part of the patches that are zoomed; likewise with another gamma, and with noise."""
_ANCHORS = 20_000  # most pixels kept, per image and per class of it, to draw patches around


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """An image and its mask.

    Attributes
    ----------
    image : (Z, Y, X, C) float32
        Scaled with image-wide limits to 0..1, or standardised.
    mask : (Z, Y, X) uint8
        Class ids; 255 is not annotated.
    """

    image: ImageZYXC
    mask: MaskZYX

    def __post_init__(self) -> None:
        require_image(self.image)
        if self.mask.shape != self.image.shape[:3] or self.mask.dtype != np.uint8:
            raise InputError(
                f"mask must be {self.image.shape[:3]} uint8, got {self.mask.shape} "
                f"{self.mask.dtype}"
            )


class PatchSampler:
    """Draws augmented patches around annotated pixels.

    Parameters
    ----------
    images : sequence of AnnotatedImage
        Those without annotation are left out. One smaller than the patch is continued by
        reflection, not annotated there.
    patch_zyx : (int, int, int)
    """

    def __init__(self, images: Sequence[AnnotatedImage], patch_zyx: ShapeZYX) -> None:
        self.patch_zyx = patch_zyx
        self._images = [
            _at_least(item, patch_zyx) for item in images if (item.mask != NOT_ANNOTATED).any()
        ]
        self._anchors = [_positions(item.mask != NOT_ANNOTATED) for item in self._images]
        self._anchors_of_class = [_positions_per_class(item.mask) for item in self._images]

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Float32, UInt8]:
        """Draw (B, C, Z, Y, X) float32 images and (B, Z, Y, X) uint8 masks."""
        pairs = [self._patch(rng) for _ in range(size)]
        return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])

    def _patch(self, rng: np.random.Generator) -> tuple[Float32, UInt8]:
        number = rng.integers(len(self._images))
        item, anchors = self._images[number], self._anchors[number]
        if rng.random() < CLASS_SHARE:
            classes = self._anchors_of_class[number]
            anchors = classes[rng.integers(len(classes))]
        size = _zoomed_size(self.patch_zyx, item.mask.shape, rng)
        window = _window(anchors[rng.integers(len(anchors))], size, item.mask.shape, rng)
        image, mask = _resized(item.image[window], item.mask[window], self.patch_zyx)
        image, mask = _turned(image, mask, rng)
        return np.moveaxis(_noisy(_bent(_dimmed(image, rng), rng), rng), -1, 0), mask


def _zoomed_size(patch_zyx: ShapeZYX, shape: tuple[int, ...], rng: np.random.Generator) -> ShapeZYX:
    """Choose how large a part of the image becomes a patch; slices are not zoomed."""
    z, y, x = patch_zyx
    if rng.random() >= SHARE:
        return patch_zyx
    factor = MAX_ZOOM ** rng.uniform(-1, 1)
    return z, min(shape[1], max(1, round(y * factor))), min(shape[2], max(1, round(x * factor)))


def _window(
    anchor: Int64, size: ShapeZYX, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[slice, ...]:
    """Lay a patch so that the anchor is anywhere inside it, and all of it inside the image."""
    starts = anchor - rng.integers(0, size)
    starts = np.clip(starts, 0, np.subtract(shape, size))
    return tuple(slice(int(a), int(a) + n) for a, n in zip(starts, size, strict=True))


def _resized(image: Float32, mask: UInt8, shape_zyx: ShapeZYX) -> tuple[Float32, UInt8]:
    """Interpolate the image linearly to the shape of a patch; take the nearest class."""
    if mask.shape == shape_zyx:
        return image, mask
    sides = list(zip(shape_zyx[1:], mask.shape[1:], strict=True))
    at = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in sides]
    near = [np.clip(np.rint(p), 0, m - 1).astype(int) for p, (_, m) in zip(at, sides, strict=True)]
    for axis, places in enumerate(at, start=1):
        low = np.clip(np.floor(places).astype(int), 0, max(0, image.shape[axis] - 2))
        high = np.minimum(low + 1, image.shape[axis] - 1)
        part = np.clip(places - low, 0, 1).astype(np.float32)
        part = part.reshape([-1 if a == axis else 1 for a in range(4)])
        image = image.take(low, axis) * (1 - part) + image.take(high, axis) * part
    return image, mask[:, near[0][:, None], near[1]]


def _at_least(item: AnnotatedImage, shape_zyx: ShapeZYX) -> AnnotatedImage:
    image = pad_by_reflection(item.image, shape_zyx)
    mask = np.full(image.shape[:3], NOT_ANNOTATED, np.uint8)
    mask[tuple(slice(n) for n in item.mask.shape)] = item.mask
    return AnnotatedImage(image, mask)


def _positions_per_class(mask: MaskZYX) -> list[Int64]:
    classes = np.unique(mask)
    return [_positions(mask == c) for c in classes[classes != NOT_ANNOTATED]]


def _positions(where: Bool) -> Int64:
    """List (m, 3) positions of some true pixels, evenly spread over all of them."""
    flat = np.flatnonzero(where)
    step = -(-len(flat) // _ANCHORS)
    return np.stack(np.unravel_index(flat[::step], where.shape), 1)


def _turned(image: Float32, mask: UInt8, rng: np.random.Generator) -> tuple[Float32, UInt8]:
    """Flip along any axis and turn by quarters in the plane, where the patch is square there."""
    axes = tuple(np.flatnonzero(rng.random(3) < 0.5).tolist())
    quarters = int(rng.integers(4)) if mask.shape[1] == mask.shape[2] else 0
    image, mask = np.flip(image, axes), np.flip(mask, axes)
    return np.rot90(image, quarters, (1, 2)), np.rot90(mask, quarters, (1, 2))


def _dimmed(image: Float32, rng: np.random.Generator) -> Float32:
    """Change brightness and contrast, all channels alike."""
    gain = np.float32(MAX_GAIN ** rng.uniform(-1, 1))
    return image * gain + np.float32(rng.uniform(-MAX_OFFSET, MAX_OFFSET))


def _bent(image: Float32, rng: np.random.Generator) -> Float32:
    """Change the gamma between the darkest and the brightest value of some patches."""
    if rng.random() >= SHARE:
        return image
    low, high = image.min(), image.max()
    if low == high:
        return image
    gamma = np.float32(MAX_GAMMA ** rng.uniform(-1, 1))
    return ((image - low) / (high - low)) ** gamma * (high - low) + low


def _noisy(image: Float32, rng: np.random.Generator) -> Float32:
    """Add noise to some patches."""
    if rng.random() >= SHARE:
        return image
    noise = rng.standard_normal(image.shape, np.float32)
    return image + np.float32(rng.uniform(0, MAX_NOISE)) * noise
