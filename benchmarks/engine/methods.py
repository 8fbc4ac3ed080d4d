"""The engine and its opponents, each from an image file to what it makes.

The engine writes labels, features and edges to disk. The others keep what they make in memory, and
all but the paper's pipeline make labels alone: that is to their advantage.
"""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.engine.mosaic import ALL
from spixgraph.arrays import ImageZYXC, LabelsZYX
from spixgraph.graph.paper import centroids, nearest_neighbour_edges, paper_features
from spixgraph.graph.stream import stream_graph
from spixgraph.io.images import open_image
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.superpixels.slic import slic_labels

Labels = Callable[[ImageZYXC, float, int], LabelsZYX]
"""Labels of an image 0..1, for wanted nodes per megapixel, with a number of threads."""

OURS, PAPER = "spixgraph", "paper: SLIC + features"
COMPACTNESS = (0.1, 0.3)
"""Of skimage SLIC; the ceiling is that of the better one, speed is measured with the first."""
_NEIGHBOURS = 10


def skimage_slic(
    image: ImageZYXC, nodes: float, threads: int, *, compactness: float = COMPACTNESS[0]
) -> LabelsZYX:
    """Run skimage on the whole image, five iterations; it has no threads to use."""
    wanted = max(1, int(nodes * image[..., 0].size / 1e6))
    return slic_labels(
        image, n_segments=wanted, compactness=compactness, sigma_px=1.0, max_iterations=5
    )


def opencv_slic(image: ImageZYXC, nodes: float, threads: int) -> LabelsZYX:
    """Run ximgproc's SLIC on 8 bit, ten iterations, connectivity enforced; planes only."""
    import cv2

    cv2.setNumThreads(threads)
    grey = np.rint(image[0] * 255).astype(np.uint8)
    cells = cv2.ximgproc.createSuperpixelSLIC(
        grey, cv2.ximgproc.SLIC, region_size=round(math.sqrt(1e6 / nodes)), ruler=10.0
    )
    cells.iterate(10)
    cells.enforceLabelConnectivity(25)
    labels: LabelsZYX = cells.getLabels()[None].astype(np.int32)
    return labels


def simpleitk_slic(image: ImageZYXC, nodes: float, threads: int) -> LabelsZYX:
    """Run SimpleITK's SLIC, its defaults but for the grid."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    is_plane = len(image) == 1
    pixels = sitk.GetImageFromArray((image[0] if is_plane else image) * 255.0, isVector=True)
    cells = sitk.SLICImageFilter()
    n_dims = 2 if is_plane else 3
    cells.SetSuperGridSize([max(2, round((1e6 / nodes) ** (1 / n_dims)))] * n_dims)
    labels = sitk.GetArrayFromImage(cells.Execute(pixels))
    found: LabelsZYX = np.unique(labels, return_inverse=True)[1].astype(np.int32)
    return found.reshape(image.shape[:3])


OTHERS: dict[str, tuple[Labels, str]] = {
    "skimage SLIC": (skimage_slic, "skimage"),
    "OpenCV SLIC": (opencv_slic, "cv2"),
    "SimpleITK SLIC": (simpleitk_slic, "SimpleITK"),
}
"""Name, labels, and the package that has to be there."""


def is_there(method: str) -> bool:
    """Whether the package of a method is installed."""
    return method not in OTHERS or importlib.util.find_spec(OTHERS[method][1]) is not None


def run(method: str, path: Path, out: Path, nodes: float, threads: int) -> None:
    """Go from the image file to what the method makes."""
    with open_image(path) as source:
        if method == OURS:
            stream_graph(source, out, nodes_per_megapixel=nodes, workers=threads)
            return
        image = read_scaled(source, intensity_limits(source), *ALL)
    if method == PAPER:
        labels = skimage_slic(image, nodes, threads)
        paper_features(image, labels)
        nearest_neighbour_edges(centroids(labels), _NEIGHBOURS, "pixels")
    else:
        OTHERS[method][0](image, nodes, threads)
