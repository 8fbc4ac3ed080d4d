"""A few pixels of each superpixel, from which the pixel decoder learns.

They are taken when a graph is made, block by block, so that training needs no image: its memory
stays with the nodes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, Array, Float32, Float64, Int64, MaskZYX, ShapeZYX, UInt8
from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import atomic_path
from spixgraph.graph.stored_graph import StoredSamples
from spixgraph.graph.stored_rows import StoredRows
from spixgraph.superpixels.basins.jit import kernel

SCHEMA = 1
PER_NODE = 16
"""Default number of pixels; 8 taught as much as 24 where that was measured (decision 020)."""
PLACES = ("place_y", "place_x", "place_yy", "place_yx", "place_xx")
VOLUME_PLACES = ("place_z", "place_zz", "place_zy", "place_zx")


def place_names(*, is_volume: bool) -> tuple[str, ...]:
    """Name the columns that tell where in its superpixel a pixel lies.

    The offset from the centroid, in units of the root of `n_pixels` (the cube root in volumes), and
    its products. Where slices stand on their own, a superpixel lies in one slice, as in 2D.
    """
    return (*PLACES, *VOLUME_PLACES) if is_volume else PLACES


@dataclass(frozen=True, slots=True, eq=False)
class PixelSamples:
    """Pixels of the superpixels of a graph, in the order of its nodes.

    Attributes
    ----------
    names : tuple of str
        Columns: the pixel maps, then those of `place_names`.
    values : (n, m, P) float16
        Raw values, not standardised. Zeros where a superpixel has no annotated pixel.
    classes : (n, m) uint8
        Class ids; 255 in the rows of superpixels without annotated pixels.

    Raises
    ------
    InputError
        If shapes or dtypes do not fit together.
    """

    names: tuple[str, ...]
    values: np.ndarray[Any, np.dtype[np.float16]]
    classes: UInt8

    def __post_init__(self) -> None:
        wanted = (*self.classes.shape, len(self.names))
        if self.values.shape != wanted or self.values.dtype != np.float16:
            raise InputError(
                f"values must be {wanted} float16, got {self.values.shape} {self.values.dtype}"
            )
        if self.classes.ndim != 2 or self.classes.dtype != np.uint8:
            raise InputError(
                f"classes must be (n, m) uint8, got {self.classes.shape} {self.classes.dtype}"
            )

    @property
    def n_regions(self) -> int:
        """Number of nodes."""
        return len(self.classes)


def sample_pixels(
    labels: Array,
    maps: Float32,
    map_names: tuple[str, ...],
    centroid_px: Float64,
    n_pixels: Int64,
    mask: MaskZYX,
    *,
    is_volume: bool,
    per_node: int = PER_NODE,
    origin_zyx: ShapeZYX = (0, 0, 0),
) -> PixelSamples:
    """Take annotated pixels of each superpixel, evenly spread in the order of the scan.

    Sample j of m is the annotated pixel number ``(j + u) * count / m`` of its superpixel, where u
    in 0..1 is a hash of j and of the place of the first annotated pixel. So superpixels of less
    than m pixels repeat some, and the choice depends on nothing but the place in the image.

    Parameters
    ----------
    labels : (Z, Y, X) integer
        Ids 0..n-1 of one block, or of an image.
    maps : (M, Z, Y, X) float32
        Pixel maps of the block.
    map_names : tuple of str
        Length M.
    centroid_px : (n, 3) float64
        In the whole image.
    n_pixels : (n,) int64
    mask : (Z, Y, X) uint8
        Of the block; 255 is not annotated.
    is_volume : bool
        True where superpixels extend over slices.
    per_node : int
        m, >= 1.
    origin_zyx : tuple of int
        Place of the block in the whole image.

    Raises
    ------
    InputError
        If shapes do not fit together or an id is out of range.
    """
    _check(labels, maps, map_names, centroid_px, n_pixels, mask, per_node)
    n = len(n_pixels)
    names = (*map_names, *place_names(is_volume=is_volume))
    counts, first = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    _count(labels.reshape(-1), mask.reshape(-1), counts, first)
    values = np.zeros((n, per_node, len(names)), np.float32)
    classes = np.full((n, per_node), NOT_ANNOTATED, np.uint8)
    size = np.cbrt(n_pixels) if is_volume else np.sqrt(n_pixels)
    key = _keys(first, labels.shape, origin_zyx)
    origin = np.array(origin_zyx, np.float64)
    _take(labels, maps, mask, centroid_px - origin, size, counts, key, is_volume, values, classes)
    return PixelSamples(names, values.astype(np.float16), classes)


def join_samples(parts: list[PixelSamples]) -> PixelSamples:
    """Put the samples of the blocks of an image together, in the order of their nodes.

    Raises
    ------
    InputError
        If there is none, or their columns differ.
    """
    if len({part.names for part in parts}) != 1:
        raise InputError(
            f"samples of {len({p.names for p in parts})} different sets of columns do not go "
            "together; make all with one recipe"
        )
    values = np.concatenate([part.values for part in parts])
    return PixelSamples(parts[0].names, values, np.concatenate([part.classes for part in parts]))


def save_samples(samples: PixelSamples, path: Path) -> None:
    """Write samples as a Zarr v3 group, whole or not at all; same samples, same bytes."""
    with atomic_path(path) as part:
        values, classes = create_samples(part, samples.names, samples.classes.shape)
        values[...], classes[...] = samples.values, samples.classes


def create_samples(path: Path, names: tuple[str, ...], shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Make the Zarr arrays of `values` and `classes`, empty; `shape` is (n, m)."""
    import zarr

    group = zarr.create_group(
        path, zarr_format=3, attributes={"names": list(names), "schema": SCHEMA}
    )
    forms = (("values", (*shape, len(names)), np.float16), ("classes", shape, np.uint8))
    values, classes = (
        group.create_array(
            name,
            shape=form,
            dtype=dtype,
            chunks=(min(max(1, form[0]), 4096), *form[1:]),
            compressors=None,
            filters=None,
            fill_value=0,
        )
        for name, form, dtype in forms
    )
    return values, classes


def load_samples(path: Path) -> PixelSamples:
    """Read what `save_samples` wrote.

    Raises
    ------
    InputError
        If nothing is at `path`.
    StoredDataError
        If it is of another schema, or damaged.
    """
    stored = open_samples(path)
    try:
        return PixelSamples(
            stored.names, np.asarray(stored.values[:]), np.asarray(stored.classes[:])
        )
    except (FileNotFoundError, InputError) as error:
        raise _damaged(path) from error


def open_samples(path: Path) -> StoredSamples:
    """Open samples without reading them; raises as `load_samples`."""
    import zarr

    if not path.exists():
        raise InputError(f"{path} does not exist; make it with the graphs stage")
    try:
        group: Any = zarr.open_group(path, mode="r", zarr_format=3)
        if group.attrs.get("schema") != SCHEMA:
            raise StoredDataError(
                f"{path} has schema {group.attrs.get('schema')}, this version reads {SCHEMA}; "
                "make the graph again"
            )
        values, classes = (StoredRows.of(path / name) for name in ("values", "classes"))
        return StoredSamples(tuple(group.attrs["names"]), values, classes)
    except (FileNotFoundError, KeyError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> StoredDataError:
    return StoredDataError(f"{path} holds no pixel samples; make the graph again")


def _check(
    labels: Array,
    maps: Float32,
    map_names: tuple[str, ...],
    centroid_px: Float64,
    n_pixels: Int64,
    mask: MaskZYX,
    per_node: int,
) -> None:
    shape = labels.shape
    if len(shape) != 3 or mask.shape != shape or maps.shape != (len(map_names), *shape):
        raise InputError(
            f"labels {shape}, mask {mask.shape} and maps {maps.shape} must be (Z, Y, X), the same "
            f"and ({len(map_names)}, Z, Y, X)"
        )
    if per_node < 1 or centroid_px.shape != (len(n_pixels), 3):
        raise InputError(
            f"per_node must be >= 1 and centroid_px ({len(n_pixels)}, 3), got {per_node} and "
            f"{centroid_px.shape}"
        )
    if labels.size and (labels.min() < 0 or labels.max() >= len(n_pixels)):
        raise InputError(
            f"labels must be 0..{len(n_pixels) - 1}, got {labels.min()}..{labels.max()}"
        )


def _keys(first: Int64, shape: tuple[int, ...], origin_zyx: ShapeZYX) -> Int64:
    """Make one number (n,) of the place of the first annotated pixel of each superpixel."""
    z, y, x = np.unravel_index(np.maximum(first, 0), shape)
    z, y, x = z + origin_zyx[0], y + origin_zyx[1], x + origin_zyx[2]
    key: Int64 = (z << 42) + (y << 21) + x
    return key


@kernel
def _count(labels: Array, mask: Array, counts: Array, first: Array) -> None:
    """Count the annotated pixels of each label, and note the first."""
    for p in range(labels.size):
        if mask[p] != 255:
            s = labels[p]
            if counts[s] == 0:
                first[s] = p
            counts[s] += 1


@kernel
def _fraction(key: int, j: int) -> float:
    """Hash to 0..1: the last mixing steps of MurmurHash3 in 64 bits."""
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(j) * np.uint64(
        0xC2B2AE3D27D4EB4F
    )
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    h ^= h >> np.uint64(33)
    return np.float64(h >> np.uint64(11)) / 9007199254740992.0


@kernel
def _take(
    labels: Array,
    maps: Array,
    mask: Array,
    centroid: Array,
    size: Array,
    counts: Array,
    key: Array,
    is_volume: bool,
    values: Array,
    classes: Array,
) -> None:
    """Copy the chosen pixels; `centroid` counts from the corner of the block."""
    n, m = classes.shape
    n_maps = maps.shape[0]
    seen, taken = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                if mask[z, y, x] == 255:
                    continue
                s = labels[z, y, x]
                rank = seen[s]
                seen[s] += 1
                while taken[s] < m:
                    j = taken[s]
                    if int((j + _fraction(key[s], j)) * counts[s] / m) > rank:
                        break
                    for q in range(n_maps):
                        values[s, j, q] = maps[q, z, y, x]
                    oz = (z - centroid[s, 0]) / size[s]
                    oy = (y - centroid[s, 1]) / size[s]
                    ox = (x - centroid[s, 2]) / size[s]
                    _write_place(values[s, j], n_maps, oz, oy, ox, is_volume)
                    classes[s, j] = mask[z, y, x]
                    taken[s] += 1


@kernel
def _write_place(row: Array, at: int, z: float, y: float, x: float, is_volume: bool) -> None:
    """Write the columns of `place_names`."""
    row[at], row[at + 1] = y, x
    row[at + 2], row[at + 3], row[at + 4] = y * y, y * x, x * x
    if is_volume:
        row[at + 5], row[at + 6], row[at + 7], row[at + 8] = z, z * z, z * y, z * x
