"""Which superpixels touch, how long, and how strong the border between them is."""

from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Array, Float32, Float64, Int64, LabelsZYX
from spixgraph.errors import InputError
from spixgraph.graph.sums import RegionSums


@dataclass(frozen=True, slots=True, eq=False)
class Contacts:
    """Pairs of touching superpixels; ``a + b`` holds the contacts of both.

    Two pixels touch if they share a face: 4 neighbours in a slice, 6 in a volume. The gradient of
    a touch is the larger one of its two pixels.

    Attributes
    ----------
    pairs : (2, P) int64
        Ids u < v, each pair once, sorted by u, then v.
    length_px : (P,) int64
        Number of touches.
    gradient_sum : (P,) float64
        Sum of the gradients of the touches.
    gradient_max : (P,) float32
        Largest gradient of the touches.
    """

    pairs: Int64
    length_px: Int64
    gradient_sum: Float64
    gradient_max: Float32

    def __add__(self, other: "Contacts") -> "Contacts":
        return _merged(
            np.concatenate([self.pairs, other.pairs], axis=1),
            np.concatenate([self.length_px, other.length_px]),
            np.concatenate([self.gradient_sum, other.gradient_sum]),
            np.concatenate([self.gradient_max, other.gradient_max]),
        )


def region_contacts(labels: LabelsZYX, gradient: Float32) -> Contacts:
    """Find all contacts within a block or an image.

    Parameters
    ----------
    labels : (Z, Y, X) int32
    gradient : (Z, Y, X) float32
        Gradient magnitude, from `maps.boundary_gradient`.

    Returns
    -------
    Contacts
        With ``region_contacts(a) + region_contacts(b) + seam_contacts(last plane of a, first
        plane of b) == region_contacts(a and b joined)``.

    Raises
    ------
    InputError
        If shapes differ.
    """
    z, y, x = (
        seam_contacts(
            _without(labels, axis, -1),
            _without(gradient, axis, -1),
            _without(labels, axis, 0),
            _without(gradient, axis, 0),
        )
        for axis in range(3)
    )
    return z + y + x


def _without(values: Array, axis: int, end: int) -> Array:
    """Leave out the first (0) or last (-1) plane of an axis."""
    kept = slice(1, None) if end == 0 else slice(-1)
    return values[(slice(None),) * axis + (kept,)]


def seam_contacts(
    labels_a: LabelsZYX, gradient_a: Float32, labels_b: LabelsZYX, gradient_b: Float32
) -> Contacts:
    """Find the contacts between two planes that face each other, pixel by pixel.

    Parameters
    ----------
    labels_a, labels_b : int32 of one shape
        Ids of the whole image.
    gradient_a, gradient_b : float32 of the same shape

    Raises
    ------
    InputError
        If shapes differ.
    """
    shapes = {labels_a.shape, gradient_a.shape, labels_b.shape, gradient_b.shape}
    if len(shapes) > 1:
        raise InputError(f"labels and gradients must have one shape, got {sorted(shapes)}")
    touch = labels_a != labels_b
    pairs = np.stack([labels_a[touch], labels_b[touch]]).astype(np.int64)
    pairs.sort(axis=0)
    gradient = np.maximum(gradient_a[touch], gradient_b[touch])
    return _merged(pairs, np.ones(len(gradient), np.int64), gradient.astype(np.float64), gradient)


def _merged(
    pairs: Int64, length_px: Int64, gradient_sum: Float64, gradient_max: Float32
) -> Contacts:
    """Join rows of the same pair."""
    if pairs.size == 0:
        return Contacts(pairs, length_px, gradient_sum, gradient_max)
    keys = pairs[0] * (pairs[1].max() + 1) + pairs[1]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return Contacts(
        pairs[:, order[first]],
        np.add.reduceat(length_px[order], first),
        np.add.reduceat(gradient_sum[order], first),
        np.maximum.reduceat(gradient_max[order], first),
    )


def both_directions(contacts: Contacts) -> tuple[Int64, Int64]:
    """Make an edge each way of every contact.

    Returns
    -------
    edge_index : (2, E) int64
        (source, target), sorted by target, then source; E is 2 P.
    pair : (E,) int64
        Which contact each edge came from.
    """
    edges = np.concatenate([contacts.pairs, contacts.pairs[::-1]], axis=1)
    order = np.lexsort(edges)
    return edges[:, order], order % max(1, len(contacts.length_px))


def edge_features(
    contacts: Contacts, edge_index: Int64, pair: Int64, sums: RegionSums, *, z_size: float
) -> tuple[Float32, tuple[str, ...]]:
    """Describe each edge by its border and by the difference of its ends.

    Parameters
    ----------
    contacts : Contacts
    edge_index, pair : (2, E) and (E,) int64
        Of `both_directions`.
    sums : RegionSums
        Of the same labels.
    z_size : float
        Size of a voxel along z in units of its size in the plane; 0 for a 2D image.

    Returns
    -------
    edge_attr : (E, D) float32
    names : tuple of str
        ``log_contact`` (of the length in pixels), ``gradient_mean``, ``gradient_max``,
        ``offset_z``, ``offset_y``, ``offset_x`` (target minus source centroid, in units of the
        mean distance of superpixels), ``log_size_ratio`` (target to source), ``c0_contrast`` ...
        (target minus source mean intensity).
    """
    source, target = edge_index
    length = contacts.length_px[pair]
    volume = sums.n_pixels.mean() * (z_size or 1)
    unit = volume ** (1 / 3 if z_size else 1 / 2)
    centroid = sums.centroid_px() * [z_size, 1, 1] / unit
    size = np.log(np.maximum(sums.n_pixels, 1))
    intensity = sums.intensity()
    columns = {
        "log_contact": np.log(length),
        "gradient_mean": contacts.gradient_sum[pair] / length,
        "gradient_max": contacts.gradient_max[pair],
    }
    for i, axis in enumerate("zyx"):
        columns[f"offset_{axis}"] = centroid[target, i] - centroid[source, i]
    columns["log_size_ratio"] = size[target] - size[source]
    for i in range(intensity.shape[1]):
        columns[f"c{i}_contrast"] = intensity[target, i] - intensity[source, i]
    return np.stack(list(columns.values()), axis=1).astype(np.float32), tuple(columns)
