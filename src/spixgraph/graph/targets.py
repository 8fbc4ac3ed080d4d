"""What a node should learn: the classes of the pixels under its superpixel."""

import dataclasses

import numpy as np

from spixgraph.arrays import Float32, LabelsZYX, MaskZYX
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.superpixels.quality import class_counts


def class_fractions(
    labels: LabelsZYX, mask: MaskZYX, n_regions: int, n_classes: int
) -> tuple[Float32, Float32]:
    """Measure the fraction of each class among the annotated pixels of each superpixel.

    Parameters
    ----------
    labels : (Z, Y, X) int32
        Ids 0..n_regions-1.
    mask : (Z, Y, X) uint8
        Class ids 0..n_classes-1; 255 is not annotated.
    n_regions, n_classes : int

    Returns
    -------
    target : (n_regions, n_classes) float32
        Rows add up to 1, or are zeros where no pixel is annotated.
    annotated : (n_regions,) float32
        Fraction of the pixels that are annotated, 0..1; 0 for an id without pixels.

    Raises
    ------
    InputError
        If shapes differ, or an id is out of range.
    """
    counts = class_counts(labels, mask, n_regions, n_classes)
    n_annotated = counts.sum(1)
    n_pixels = np.bincount(labels.reshape(-1), minlength=n_regions)
    target = counts / np.maximum(n_annotated, 1)[:, None]
    annotated = n_annotated / np.maximum(n_pixels, 1)
    return target.astype(np.float32), annotated.astype(np.float32)


def with_targets(
    graph: RegionGraph, labels: LabelsZYX, mask: MaskZYX, n_classes: int
) -> RegionGraph:
    """Add what each node should learn; see `class_fractions`."""
    target, annotated = class_fractions(labels, mask, graph.n_regions, n_classes)
    return dataclasses.replace(graph, target=target, annotated=annotated)
