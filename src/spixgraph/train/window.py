"""A part of a graph for one step of training, as patches are of images."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from spixgraph.train.node_sample import Sample


def draw_window(sample: Sample, n_nodes: int, rng: np.random.Generator) -> Sample:
    """Draw the superpixels nearest to an annotated one, by the larger distance along an axis.

    So a step costs the same for any size of image and of superpixels. At the rim of the window
    neighbours are missing, as they are at the rim of an image.

    Parameters
    ----------
    sample : Sample
    n_nodes : int
        Of the window, >= 1; a smaller graph comes back as it is.
    rng : numpy.random.Generator
    """
    n = len(sample.x)
    if n <= n_nodes:
        return sample
    nodes = nearest_nodes(sample.place, sample.area, n_nodes, rng)
    number = torch.full((n,), -1, dtype=torch.int64).index_copy(0, nodes, torch.arange(n_nodes))
    ends = number[sample.edge_index]
    edges = (ends >= 0).all(0).nonzero()[:, 0]
    return replace(
        sample,
        x=sample.x[nodes],
        edge_index=ends[:, edges],
        edge_attr=sample.edge_attr[edges],
        target=sample.target[nodes],
        area=sample.area[nodes],
        pixels=None if sample.pixels is None else sample.pixels[nodes],
        classes=sample.classes[nodes],
        place=sample.place[nodes],
    )


def nearest_nodes(place: Tensor, area: Tensor, n_nodes: int, rng: np.random.Generator) -> Tensor:
    """Draw an annotated superpixel and list the (n_nodes,) nearest to it, ascending.

    `place` is (n, 3); `area` (n,) counts annotated pixels, of at least one.
    """
    known = area.nonzero()[:, 0]
    centre = place[known[int(rng.integers(len(known)))]]
    distance = (place - centre).abs().amax(1)
    return distance.topk(n_nodes, largest=False).indices.sort().values
