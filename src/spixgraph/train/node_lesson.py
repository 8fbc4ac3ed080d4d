"""What a node network learns: one region graph per step, seen anew each time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from spixgraph.arrays import NOT_ANNOTATED, Array, Int64
from spixgraph.errors import InputError
from spixgraph.graph.augment import ColumnMap, View, draw_view
from spixgraph.graph.image_scaling import OWN_SHARE, Scalings, TableSums
from spixgraph.graph.pixel_samples import PixelSamples
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.scaling import Scaling
from spixgraph.nets.decoder import pixel_logits
from spixgraph.nets.node_net import NodeNet
from spixgraph.train.losses import area_loss, class_weights

MIN_STEPS, MAX_STEPS = 10, 24
"""Of an epoch, so that epochs compare between data sets: few graphs are walked several times, of
many some are drawn."""
NOISE = 0.1
"""Standard deviation of what is added to each feature of each node, in its own."""
_ROWS_AT_ONCE = 8192


class NodeLesson:
    """The lesson of `spixgraph.train.loop` for graphs.

    Parameters
    ----------
    net : NodeNet
        On `device`.
    scalings : Scalings
    train, val : sequence of RegionGraph
    samples : two sequences of PixelSamples, or None
        Of `train` and `val`; None for a network without a decoder.
    augmented : bool
        True to turn, dim and disturb the graphs of `train`.
    device : torch.device
    """

    def __init__(
        self,
        net: NodeNet,
        scalings: Scalings,
        train: Sequence[RegionGraph],
        val: Sequence[RegionGraph],
        samples: tuple[Sequence[PixelSamples], Sequence[PixelSamples]] | None,
        *,
        augmented: bool,
        device: torch.device,
    ) -> None:
        self.net = net
        self.device = device
        self.scalings = scalings
        self.augmented = augmented
        none: Sequence[None] = [None] * max(len(train), len(val))
        pixels = samples or (none[: len(train)], none[: len(val)])
        known = [pixels_per_class(g).any() for g in train]
        self.train = [
            _sample(g, p, scalings, own_share=0.0)
            for g, p, k in zip(train, pixels[0], known, strict=True)
            if k
        ]
        self.val = [
            _sample(g, p, scalings, own_share=OWN_SHARE)
            for g, p in zip(val, pixels[1], strict=True)
        ]
        self.counts = [pixels_per_class(g) for g in val]
        area = sum(pixels_per_class(g).sum(0) for g in train)
        self.weights = class_weights(np.asarray(area, np.float64)).to(device)
        self.passes = math.ceil(MIN_STEPS / len(self.train))
        self.n_steps = min(self.passes * len(self.train), MAX_STEPS)

    def losses(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """One graph per step, each as often as any other, or at most once."""
        order = np.concatenate([rng.permutation(len(self.train)) for _ in range(self.passes)])
        for number in order[: self.n_steps]:
            sample = self.train[number].to(self.device)
            yield self._loss(self._seen(sample, draw_view(rng)) if self.augmented else sample)

    @torch.no_grad()
    def confusion(self) -> Int64:
        """Count the pixels of `val`: all of them, or those that the samples stand for."""
        self.net.eval()
        total = np.zeros((self.net.n_classes, self.net.n_classes), np.int64)
        for sample, pixels in zip(self.val, self.counts, strict=True):
            sample = sample.to(self.device)
            outputs = self.net.outputs(sample.x, sample.edge_index, sample.edge_attr)
            if sample.pixels is None:
                np.add.at(total.T, outputs[0].argmax(1).cpu().numpy(), pixels)
            else:
                predicted = pixel_logits(outputs[0], outputs[1], sample.pixels).argmax(2)
                total += _confusion(predicted, sample, self.net.n_classes)
        return total

    def _loss(self, sample: "_Sample") -> Tensor:
        """Error of the superpixels, and of the pixels where the network decodes them."""
        outputs = self.net.outputs(sample.x, sample.edge_index, sample.edge_attr)
        loss = area_loss(outputs[0], sample.target, sample.area, self.weights)
        if sample.pixels is None:
            return loss
        logits = pixel_logits(outputs[0], outputs[1], sample.pixels).flatten(0, 1)
        known = (sample.classes != NOT_ANNOTATED).flatten()
        classes = torch.where(known, sample.classes.flatten().long(), 0)
        area = sample.area[:, None].expand_as(sample.classes).flatten() / sample.classes.shape[1]
        return loss + area_loss(
            logits,
            one_hot(classes, self.net.n_classes).to(logits.dtype),
            area * known,
            self.weights,
        )

    def _seen(self, sample: "_Sample", view: View) -> "_Sample":
        """Turn and dim a graph, and disturb its columns."""
        x = _mapped(sample.x, view.on(self.scalings.nodes))
        if sample.own is not None:
            share = torch.rand((), device=x.device)
            x = x + share * (_mapped(sample.x, sample.own) - sample.x)
        x = x + NOISE * torch.randn_like(x)
        pixels = sample.pixels
        if pixels is not None and self.scalings.pixels is not None:
            pixels = _mapped(pixels, view.on(self.scalings.pixels))
        return _Sample(
            x=x,
            edge_index=sample.edge_index,
            edge_attr=_mapped(sample.edge_attr, view.on(self.scalings.edges)),
            target=sample.target,
            area=sample.area,
            pixels=pixels,
            classes=sample.classes,
            own=sample.own,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """A graph as the network sees it."""

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    target: Tensor
    area: Tensor
    pixels: Tensor | None  # (n, m, P), float16 on the host
    classes: Tensor  # (n, m) uint8
    own: ColumnMap | None  # from x to columns that the image itself standardises

    def to(self, device: torch.device) -> "_Sample":
        """Move to the device of the network, pixels as float32."""
        pixels = None if self.pixels is None else self.pixels.to(device).float()
        return _Sample(
            x=self.x.to(device),
            edge_index=self.edge_index.to(device),
            edge_attr=self.edge_attr.to(device),
            target=self.target.to(device),
            area=self.area.to(device),
            pixels=pixels,
            classes=self.classes.to(device),
            own=self.own,
        )


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


def _sample(
    graph: RegionGraph, pixels: PixelSamples | None, scalings: Scalings, *, own_share: float
) -> _Sample:
    """Standardise a graph."""
    target, annotated = targets_of(graph)
    sums = TableSums.of(graph.x, graph.feature_names)
    there = scalings.at(sums, own_share=own_share)
    values, classes, own = None, np.zeros((graph.n_regions, 0), np.uint8), None
    if pixels is not None:
        values, classes = torch.from_numpy(_standardised(pixels, there.pixels)), pixels.classes
        own = _to_own(there.nodes, sums.own_scaling(there.nodes))
    return _Sample(
        x=torch.from_numpy(there.nodes.apply(graph.x)),
        edge_index=torch.from_numpy(graph.edge_index),
        edge_attr=torch.from_numpy(there.edges.apply(graph.edge_attr)),
        target=torch.from_numpy(target),
        area=torch.from_numpy((annotated * graph.n_pixels).astype(np.float32)),
        pixels=values,
        classes=torch.from_numpy(classes),
        own=own,
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


def _mapped(values: Tensor, column_map: ColumnMap) -> Tensor:
    """`ColumnMap.apply` where the values are."""
    order = torch.from_numpy(column_map.order).to(values.device)
    factor = torch.from_numpy(column_map.factor).to(values)
    shift = torch.from_numpy(column_map.shift).to(values)
    return torch.addcmul(shift, values.index_select(values.dim() - 1, order), factor)


def _confusion(predicted: Tensor, sample: _Sample, n_classes: int) -> Int64:
    """Count (K, K) pixels, each sample as its share of the area of its superpixel."""
    known = sample.classes != NOT_ANNOTATED
    area = (sample.area.double()[:, None] / known.shape[1]).expand_as(known)[known]
    cell = sample.classes[known].long() * n_classes + predicted[known]
    counts = torch.bincount(cell.cpu(), area.cpu(), minlength=n_classes**2)
    return np.rint(counts.numpy()).astype(np.int64).reshape(n_classes, n_classes)
