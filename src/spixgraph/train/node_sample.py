"""A graph with targets, as a network sees it in training."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from spixgraph.arrays import Array, Int64
from spixgraph.errors import InputError
from spixgraph.graph.augment import ColumnMap
from spixgraph.graph.image_scaling import Scalings, TableSums
from spixgraph.graph.pixel_samples import PixelSamples
from spixgraph.graph.scaling import Scaling
from spixgraph.graph.stored_graph import LearnedGraph, StoredSamples
from spixgraph.nets.decoder import pixel_logits
from spixgraph.nets.node_net import NodeNet

LearnedPixels = PixelSamples | StoredSamples
_ROWS_AT_ONCE = 8192
_DECODED_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A graph as the network sees it, or a part of one, of which some nodes are the core.

    Attributes
    ----------
    x, edge_attr : (n, F), (E, D) float32
        Standardised.
    edge_index : (2, E) int64
    target : (k, K) float32
        Fractions of the classes, of the core: of all nodes where `core` is None.
    area : (k,) float32
        Annotated pixels.
    pixels : (k, m, P) float16 or None
        Standardised columns of sampled pixels; float32 on the device of the network.
    classes : (k, m) uint8
        Of the sampled pixels, 255 is not annotated.
    place : (n, 3) float32
        Centroids in pixels.
    own : ColumnMap or None
        From `x` to columns that the image itself standardises.
    core : (k,) int64 or None
        Rows of `x` that are learned from; the others are there to be seen by them.
    """

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    target: Tensor
    area: Tensor
    pixels: Tensor | None
    classes: Tensor
    place: Tensor
    own: ColumnMap | None
    core: Tensor | None = None

    @property
    def n_nodes(self) -> int:
        """Superpixels, those outside of the core too."""
        return len(self.x)

    def to(self, device: torch.device) -> "Sample":
        """Move to the device of the network, pixels as float32."""
        pixels = None if self.pixels is None else self.pixels.to(device).float()
        return replace(
            self,
            x=self.x.to(device),
            edge_index=self.edge_index.to(device),
            edge_attr=self.edge_attr.to(device),
            target=self.target.to(device),
            area=self.area.to(device),
            pixels=pixels,
            classes=self.classes.to(device),
            core=None if self.core is None else self.core.to(device),
        )


def outputs_of(net: NodeNet, sample: Sample) -> tuple[Tensor, Tensor | None]:
    """Return the logits of the core (k, K) and, with a decoder, of its pixels (k, m, K).

    Where no gradient is wanted, pixels are decoded some superpixels at a time.
    """
    outputs = net.outputs(sample.x, sample.edge_index, sample.edge_attr)
    if sample.core is not None:
        outputs = tuple(output[sample.core] for output in outputs)
    if sample.pixels is None:
        return outputs[0], None
    (logits, weights), pixels, layer = outputs, sample.pixels, net.pixel_layer
    if torch.is_grad_enabled():
        return logits, pixel_logits(logits, weights, pixels, layer)
    pieces = [slice(i, i + _DECODED_AT_ONCE) for i in range(0, len(pixels), _DECODED_AT_ONCE)]
    decoded = [pixel_logits(logits[s], weights[s], pixels[s], layer) for s in pieces]
    return logits, torch.cat(decoded)


def pixels_per_class(graph: LearnedGraph) -> Int64:
    """Recover the exact (n, K) counts of annotated pixels from the fractions of a graph."""
    target, annotated = targets_of(graph)
    area = annotated.astype(np.float64) * graph.n_pixels
    return np.rint(target.astype(np.float64) * area[:, None]).astype(np.int64)


def targets_of(graph: LearnedGraph) -> tuple[Array, Array]:
    """Return `target` and `annotated`, or raise `InputError`."""
    if graph.target is None or graph.annotated is None:
        raise InputError("a graph has no target; add it with spixgraph.graph.targets.with_targets")
    return graph.target, graph.annotated


def sample_of(
    graph: LearnedGraph, pixels: LearnedPixels | None, scalings: Scalings, *, own_share: float
) -> Sample:
    """Standardise a graph.

    Parameters
    ----------
    graph : LearnedGraph
        With targets.
    pixels : LearnedPixels or None
        Where the network decodes pixels.
    scalings : Scalings
    own_share : float
        See `Scalings.at`.
    """
    target, annotated = targets_of(graph)
    there, own = scalings_of_graph(graph, scalings, own_share=own_share)
    values, classes = None, np.zeros((graph.n_regions, 0), np.uint8)
    if pixels is not None:
        values = torch.from_numpy(standardised_pixels(pixels.values[:], there.pixels))
        classes = np.asarray(pixels.classes[:])
    return Sample(
        x=torch.from_numpy(there.nodes.apply(np.asarray(graph.x[:]))),
        edge_index=torch.from_numpy(np.asarray(graph.edge_index[:])),
        edge_attr=torch.from_numpy(there.edges.apply(np.asarray(graph.edge_attr[:]))),
        target=torch.from_numpy(target),
        area=torch.from_numpy((annotated * graph.n_pixels).astype(np.float32)),
        pixels=values,
        classes=torch.from_numpy(classes),
        place=torch.from_numpy(np.asarray(graph.centroid_px[:]).astype(np.float32)),
        own=own if pixels is not None else None,
    )


def scalings_of_graph(
    graph: LearnedGraph, scalings: Scalings, *, own_share: float
) -> tuple[Scalings, ColumnMap]:
    """Return how the raw columns of a graph are standardised, and what leads on to its own."""
    sums = TableSums.of_table(graph.x, graph.feature_names)
    there = scalings.at(sums, own_share=own_share)
    return there, _to_own(there.nodes, sums.own_scaling(there.nodes))


def _to_own(nodes: Scaling, own: Scaling) -> ColumnMap:
    """Lead from columns in one scaling to the same in the other."""
    return ColumnMap(
        np.arange(len(nodes.names)),
        (nodes.scale / own.scale).astype(np.float32),
        ((nodes.mean - own.mean) / own.scale).astype(np.float32),
    )


def standardised_pixels(values: Array, scaling: Scaling | None) -> Array:
    """Standardise (n, m, P) float16 in pieces, and keep it small."""
    if scaling is None:
        raise InputError("pixel samples need a scaling; fit it on those of the training graphs")
    n, m, n_columns = values.shape
    out = np.empty_like(values)
    for begin in range(0, n, _ROWS_AT_ONCE):
        rows = values[begin : begin + _ROWS_AT_ONCE]
        scaled = scaling.apply(rows.reshape(-1, n_columns).astype(np.float32))
        out[begin : begin + _ROWS_AT_ONCE] = scaled.reshape(-1, m, n_columns)
    return out
