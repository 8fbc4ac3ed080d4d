"""A graph with targets, as a network sees it in training, whole or part by part."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from spixgraph.arrays import Array, Int64
from spixgraph.errors import InputError
from spixgraph.graph.augment import ColumnMap
from spixgraph.graph.image_scaling import Scalings, TableSums
from spixgraph.graph.partitions import EdgesByTarget, Partition, partitions
from spixgraph.graph.pixel_samples import PixelSamples
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.scaling import Scaling
from spixgraph.graph.stream.block_ids import block_ids, blocks_of_graph
from spixgraph.nets.decoder import pixel_logits
from spixgraph.nets.node_net import NodeNet

MAX_NODES = 65_536
"""Most nodes that the network learns from at once. A larger graph is walked in parts, whose
activations are thrown away and made again for the gradient: a third more time, for memory that
depends on the part alone."""
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A graph as the network sees it.

    Attributes
    ----------
    x, edge_attr : (n, F), (E, D) float32
        Standardised.
    edge_index : (2, E) int64
    target : (n, K) float32
        Fractions of the classes.
    area : (n,) float32
        Annotated pixels.
    pixels : (n, m, P) float16 or None
        Standardised columns of sampled pixels; float32 on the device of the network.
    classes : (n, m) uint8
        Of the sampled pixels, 255 is not annotated.
    place : (n, 3) float32
        Centroids in pixels.
    own : ColumnMap or None
        From `x` to columns that the image itself standardises.
    parts : tuple of Part
        Of a graph that is too large to be learned from at once; empty otherwise.
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
    parts: tuple["Part", ...] = ()

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
            parts=tuple(part.to(device) for part in self.parts),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """`graph.partitions.Partition` as tensors; the halo is exact, so the core is as in the whole.

    Attributes
    ----------
    nodes, core, edge_rows : (m,), (k,), (e,) int64
    edge_index : (2, e) int64
    """

    nodes: Tensor
    core: Tensor
    edge_index: Tensor
    edge_rows: Tensor

    @classmethod
    def of(cls, part: Partition) -> "Part":
        """Take the arrays of a partition."""
        arrays = (part.nodes, part.core, part.edge_index, part.edge_rows)
        return cls(*(torch.from_numpy(array) for array in arrays))

    def to(self, device: torch.device) -> "Part":
        """Move to a device."""
        tensors = (self.nodes, self.core, self.edge_index, self.edge_rows)
        return Part(*(tensor.to(device) for tensor in tensors))


def outputs_of(net: NodeNet, sample: Sample) -> tuple[Tensor, Tensor | None]:
    """Return the logits of superpixels (n, K) and, with a decoder, of their pixels (n, m, K).

    Loss and gradients of a sample with parts are those of the whole graph, but for the order of
    sums: a part knows all that its core depends on, and `torch.utils.checkpoint` computes it again
    in the backward pass instead of holding its activations.
    """
    if not sample.parts:
        return _decoded(net, sample.x, sample.edge_index, sample.edge_attr, sample.pixels, None)
    found = [_outputs_of_part(net, sample, part) for part in sample.parts]
    order = torch.cat([part.nodes[part.core] for part in sample.parts]).argsort()
    logits = torch.cat([f[0] for f in found])[order]
    decoded = [f[1] for f in found if f[1] is not None]
    return logits, torch.cat(decoded)[order] if decoded else None


def _outputs_of_part(net: NodeNet, sample: Sample, part: Part) -> tuple[Tensor, Tensor | None]:
    """Run the network on a part; the pixels are those of its core."""

    def run() -> tuple[Tensor, Tensor | None]:
        pixels = sample.pixels
        return _decoded(
            net,
            sample.x[part.nodes],
            part.edge_index,
            sample.edge_attr[part.edge_rows],
            None if pixels is None else pixels[part.nodes[part.core]],
            part.core,
        )

    if not torch.is_grad_enabled():
        return run()
    found: tuple[Tensor, Tensor | None] = checkpoint(run, use_reentrant=False)
    return found


def _decoded(
    net: NodeNet,
    x: Tensor,
    edge_index: Tensor,
    edge_attr: Tensor,
    pixels: Tensor | None,
    core: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Run the network, keep the rows of the core, and decode their pixels."""
    outputs = net.outputs(x, edge_index, edge_attr)
    if core is not None:
        outputs = tuple(output[core] for output in outputs)
    if pixels is None:
        return outputs[0], None
    return outputs[0], pixel_logits(outputs[0], outputs[1], pixels)


def parts_of(graph: RegionGraph, *, n_layers: int, max_nodes: int) -> tuple[Part, ...]:
    """Cut a streamed graph of more than `max_nodes`; no parts for a smaller one.

    Raises
    ------
    ResourceError
        As `graph.partitions.partitions`.
    """
    if graph.n_regions <= max_nodes:
        return ()
    blocks = block_ids(*blocks_of_graph(graph))
    edges = EdgesByTarget(graph.edge_index)
    return tuple(map(Part.of, partitions(edges, blocks, n_layers=n_layers, max_nodes=max_nodes)))


def pixels_per_class(graph: RegionGraph) -> Int64:
    """Recover the exact (n, K) counts of annotated pixels from the fractions of a graph."""
    target, annotated = targets_of(graph)
    area = annotated.astype(np.float64) * graph.n_pixels
    return np.rint(target.astype(np.float64) * area[:, None]).astype(np.int64)


def targets_of(graph: RegionGraph) -> tuple[Array, Array]:
    """Return `target` and `annotated`, or raise `InputError`."""
    if graph.target is None or graph.annotated is None:
        raise InputError("a graph has no target; add it with spixgraph.graph.build.with_targets")
    return graph.target, graph.annotated


def sample_of(
    graph: RegionGraph,
    pixels: PixelSamples | None,
    scalings: Scalings,
    *,
    own_share: float,
    n_layers: int | None = None,
) -> Sample:
    """Standardise a graph.

    Parameters
    ----------
    graph : RegionGraph
        With targets.
    pixels : PixelSamples or None
        Where the network decodes pixels.
    scalings : Scalings
    own_share : float
        See `Scalings.at`.
    n_layers : int, optional
        Message passing layers of the network; without it the graph is never cut into parts, as
        that of the paper network, whose nodes have no blocks.
    """
    target, annotated = targets_of(graph)
    sums = TableSums.of(graph.x, graph.feature_names)
    there = scalings.at(sums, own_share=own_share)
    values, classes, own = None, np.zeros((graph.n_regions, 0), np.uint8), None
    if pixels is not None:
        values, classes = torch.from_numpy(_standardised(pixels, there.pixels)), pixels.classes
        own = _to_own(there.nodes, sums.own_scaling(there.nodes))
    return Sample(
        x=torch.from_numpy(there.nodes.apply(graph.x)),
        edge_index=torch.from_numpy(graph.edge_index),
        edge_attr=torch.from_numpy(there.edges.apply(graph.edge_attr)),
        target=torch.from_numpy(target),
        area=torch.from_numpy((annotated * graph.n_pixels).astype(np.float32)),
        pixels=values,
        classes=torch.from_numpy(classes),
        place=torch.from_numpy(graph.centroid_px.astype(np.float32)),
        own=own,
        parts=() if n_layers is None else parts_of(graph, n_layers=n_layers, max_nodes=MAX_NODES),
    )


def _to_own(nodes: Scaling, own: Scaling) -> ColumnMap:
    """Lead from columns in one scaling to the same in the other."""
    return ColumnMap(
        np.arange(len(nodes.names)),
        (nodes.scale / own.scale).astype(np.float32),
        ((nodes.mean - own.mean) / own.scale).astype(np.float32),
    )


def _standardised(pixels: PixelSamples, scaling: Scaling | None) -> Array:
    """Standardise (n, m, P) in pieces, and keep it small."""
    if scaling is None:
        raise InputError("pixel samples need a scaling; fit it on those of the training graphs")
    n, m, n_columns = pixels.values.shape
    out = np.empty_like(pixels.values)
    for begin in range(0, n, _ROWS_AT_ONCE):
        rows = pixels.values[begin : begin + _ROWS_AT_ONCE]
        values = scaling.apply(rows.reshape(-1, n_columns).astype(np.float32))
        out[begin : begin + _ROWS_AT_ONCE] = values.reshape(-1, m, n_columns)
    return out
