"""From an image and its superpixels to a region graph."""

import dataclasses
from typing import Literal

import numpy as np

from spixgraph.arrays import ImageZYXC, LabelsZYX, MaskZYX, require_image, require_labels
from spixgraph.errors import InputError
from spixgraph.graph.adjacency import both_directions, edge_features, region_contacts
from spixgraph.graph.features import neighbour_contrast, node_features
from spixgraph.graph.filters import slice_step
from spixgraph.graph.maps import boundary_gradient, feature_maps
from spixgraph.graph.paper import EDGE_FEATURE_NAMES, nearest_neighbour_edges, paper_features
from spixgraph.graph.region_graph import GraphSource, RegionGraph
from spixgraph.graph.sums import region_sums
from spixgraph.graph.targets import class_fractions


def rag_graph(
    image: ImageZYXC, labels: LabelsZYX, *, n_scales: int, source: GraphSource
) -> RegionGraph:
    """Connect touching superpixels and describe them by intensity, texture and shape.

    Parameters
    ----------
    image : (Z, Y, X, C) float32
        Scaled to 0..1 with image-wide limits.
    labels : (Z, Y, X) int32
        Dense ids 0..n-1.
    n_scales : int
        Octaves of texture features, >= 1; the widest looks over ``0.8 * 2**(n_scales - 1)`` pixels.
    source : GraphSource
        Its pixel size tells how far slices are apart; with None every slice is filtered on its own
        and a step in z counts like one in the plane.

    Returns
    -------
    RegionGraph
        Columns as in `features.node_features`, then ``c0_contrast`` ... (mean intensity against
        that of the neighbours); edges as in `adjacency.edge_features`. No target.

    Raises
    ------
    InputError
        If an array or setting does not have the form above, or ids are not dense.
    """
    n_regions = _check(image, labels, source)
    if n_scales < 1:
        raise InputError(f"n_scales must be >= 1, got {n_scales}")
    is_2d = image.shape[0] == 1
    z_step = slice_step(image.shape[0], source.pixel_size_um)
    maps = feature_maps(image, n_scales=n_scales, z_step=z_step)
    sums = region_sums(labels, image, maps, n_regions)
    contacts = region_contacts(labels, boundary_gradient(image, z_step))
    edge_index, pair = both_directions(contacts)
    edge_attr, edge_names = edge_features(
        contacts, edge_index, pair, sums, z_size=_z_size(image.shape[0], source)
    )
    x, names = node_features(sums, is_2d=is_2d)
    contrast, contrast_names = neighbour_contrast(
        sums.intensity(), edge_index, contacts.length_px[pair]
    )
    return RegionGraph(
        x=np.concatenate([x, contrast], axis=1),
        feature_names=names + contrast_names,
        centroid_px=sums.centroid_px(),
        n_pixels=sums.n_pixels,
        edge_index=edge_index,
        edge_attr=edge_attr,
        edge_feature_names=edge_names,
        source=source,
    )


def paper_graph(
    image: ImageZYXC,
    labels: LabelsZYX,
    *,
    n_neighbours: int,
    edge_weight: Literal["pixels", "spacing"],
    source: GraphSource,
) -> RegionGraph:
    """Connect each superpixel to its nearest ones, as Jain et al. 2024; see `paper`.

    Parameters
    ----------
    image : (Z, Y, X, C) float32
    labels : (Z, Y, X) int32
        Dense ids 0..n-1.
    n_neighbours : int
        Edges that lead to each node.
    edge_weight : {"pixels", "spacing"}
    source : GraphSource

    Raises
    ------
    InputError
        If an array or setting does not have the form above, or ids are not dense.
    """
    n_regions = _check(image, labels, source)
    sums = region_sums(labels, image, (), n_regions)
    x, names = paper_features(image, labels)
    edge_index, weight = nearest_neighbour_edges(sums.centroid_px(), n_neighbours, edge_weight)
    return RegionGraph(
        x=x,
        feature_names=names,
        centroid_px=sums.centroid_px(),
        n_pixels=sums.n_pixels,
        edge_index=edge_index,
        edge_attr=weight,
        edge_feature_names=EDGE_FEATURE_NAMES,
        source=source,
    )


def with_targets(
    graph: RegionGraph, labels: LabelsZYX, mask: MaskZYX, n_classes: int
) -> RegionGraph:
    """Add what each node should learn; see `targets.class_fractions`."""
    target, annotated = class_fractions(labels, mask, graph.n_regions, n_classes)
    return dataclasses.replace(graph, target=target, annotated=annotated)


def _check(image: ImageZYXC, labels: LabelsZYX, source: GraphSource) -> int:
    """Count the superpixels of arrays that fit together."""
    require_image(image)
    require_labels(labels)
    if not image.shape[:3] == labels.shape == tuple(source.shape_zyx):
        raise InputError(
            f"image {image.shape[:3]}, labels {labels.shape} and source {source.shape_zyx} "
            "must have one shape"
        )
    n_pixels = np.bincount(labels.reshape(-1))
    if not n_pixels.all():
        raise InputError(
            f"labels must be dense, id {np.argmin(n_pixels)} of 0..{len(n_pixels) - 1} has no pixel"
        )
    return len(n_pixels)


def _z_size(n_slices: int, source: GraphSource) -> float:
    """Size of a voxel along z in units of its size in the plane; 1 if unknown, 0 in 2D."""
    if n_slices == 1:
        return 0.0
    if source.pixel_size_um is None:
        return 1.0
    z, y, x = source.pixel_size_um
    return z / (y * x) ** 0.5
