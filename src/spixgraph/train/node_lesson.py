"""What a node network learns: one region graph per step, seen anew each time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from spixgraph.arrays import NOT_ANNOTATED, Int64
from spixgraph.graph.augment import ColumnMap, View, draw_view
from spixgraph.graph.image_scaling import OWN_SHARE, Scalings
from spixgraph.graph.pixel_samples import PixelSamples
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.nets.node_net import NodeNet
from spixgraph.train.losses import area_loss, class_weights
from spixgraph.train.node_sample import Sample, outputs_of, pixels_per_class, sample_of
from spixgraph.train.temperature import Judged
from spixgraph.train.window import draw_window

MIN_STEPS, MAX_STEPS = 10, 24
"""Of an epoch, so that epochs compare between data sets: few graphs are walked several times, of
many some are drawn."""
NOISE = 0.1
"""Standard deviation of what is added to each feature of each node, in its own."""


class NodeLesson:
    """The lesson of `spixgraph.train.loop` for graphs.

    Parameters
    ----------
    net : NodeNet
        On `device`.
    scalings : Scalings
    train, val : sequence of RegionGraph
        One that is several times in `train` is drawn more often.
    samples : two sequences of PixelSamples, or None
        Of `train` and `val`; None for a network without a decoder.
    augmented : bool
        True to turn, dim and disturb the graphs of `train`.
    device : torch.device
    n_layers : int, optional
        Message passing layers of `net`, where graphs may be cut into parts; see `node_sample`.
    nodes_per_step : int, optional
        Learn from windows of so many superpixels; without it, from whole graphs.
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
        n_layers: int | None = None,
        nodes_per_step: int | None = None,
    ) -> None:
        self.net = net
        self.device = device
        self.scalings = scalings
        self.augmented = augmented
        self.nodes_per_step = nodes_per_step
        none: Sequence[None] = [None] * max(len(train), len(val))
        pixels = samples or (none[: len(train)], none[: len(val)])
        known = {id(g): pixels_per_class(g).any() for g in train}
        made = {
            id(g): sample_of(g, p, scalings, own_share=0.0, n_layers=n_layers)
            for g, p in zip(train, pixels[0], strict=True)
            if known[id(g)]
        }
        self.train = [made[id(g)] for g in train if known[id(g)]]  # a repeated graph is held once
        self.val = [
            sample_of(g, p, scalings, own_share=OWN_SHARE, n_layers=n_layers)
            for g, p in zip(val, pixels[1], strict=True)
        ]
        self.counts = [pixels_per_class(g) for g in val]
        area = sum(pixels_per_class(g).sum(0) for g in train)
        self.weights = class_weights(np.asarray(area, np.float64)).to(device)
        self.passes = math.ceil(MIN_STEPS / len(self.train))
        self.n_samples = min(self.passes * len(self.train), MAX_STEPS)
        self.n_steps = self.n_samples * len(net.members)

    def losses(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """One graph per step, each as often as any other, or at most once.

        Each member of a committee takes steps of its own, on views of graphs in an order of its
        own, so that members err apart; memory is that of one.
        """
        orders = [self._order(rng) for _ in self.net.members]
        for numbers in zip(*orders, strict=True):
            for member, number in zip(self.net.members, numbers, strict=True):
                sample = self._drawn(self.train[number], rng).to(self.device)
                seen = self._seen(sample, draw_view(rng)) if self.augmented else sample
                yield self._loss(member, seen)

    def _drawn(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Take a window of a graph, or all of it."""
        if self.nodes_per_step is None:
            return sample
        return draw_window(sample, self.nodes_per_step, rng)

    def _order(self, rng: np.random.Generator) -> list[int]:
        """Draw the graphs of the steps of an epoch."""
        rounds = [rng.permutation(len(self.train)) for _ in range(self.passes)]
        return list(map(int, np.concatenate(rounds)[: self.n_samples]))

    @torch.no_grad()
    def confusion(self) -> Int64:
        """Count the pixels of `val`: all of them, or those that the samples stand for."""
        self.net.eval()
        total = np.zeros((self.net.n_classes, self.net.n_classes), np.int64)
        for sample, pixels in zip(self.val, self.counts, strict=True):
            sample = sample.to(self.device)
            logits, decoded = outputs_of(self.net, sample)
            if decoded is None:
                np.add.at(total.T, logits.argmax(1).cpu().numpy(), pixels)
            else:
                total += _confusion(decoded.argmax(2), sample, self.net.n_classes)
        return total

    @torch.no_grad()
    def judged(self) -> Iterator[Judged]:
        """Give the logits of `val` and the pixels they stand for, graph by graph."""
        self.net.eval()
        for sample, pixels in zip(self.val, self.counts, strict=True):
            sample = sample.to(self.device)
            logits, decoded = outputs_of(self.net, sample)
            if decoded is None:
                yield logits.cpu().numpy(), pixels.astype(np.float64)
                continue
            known = sample.classes != NOT_ANNOTATED
            area = (sample.area.double()[:, None] / known.shape[1]).expand_as(known)[known]
            true = one_hot(sample.classes[known].long(), self.net.n_classes)
            yield decoded[known].cpu().numpy(), (true * area[:, None]).cpu().numpy()

    def _loss(self, net: NodeNet, sample: Sample) -> Tensor:
        """Error of the superpixels, and of the pixels where the network decodes them."""
        logits, decoded = outputs_of(net, sample)
        loss = area_loss(logits, sample.target, sample.area, self.weights)
        if decoded is None:
            return loss
        known = (sample.classes != NOT_ANNOTATED).flatten()
        classes = torch.where(known, sample.classes.flatten().long(), 0)
        area = sample.area[:, None].expand_as(sample.classes).flatten() / sample.classes.shape[1]
        return loss + area_loss(
            decoded.flatten(0, 1),
            one_hot(classes, self.net.n_classes).to(decoded.dtype),
            area * known,
            self.weights,
        )

    def _seen(self, sample: Sample, view: View) -> Sample:
        """Turn and dim a graph, and disturb its columns."""
        x = _mapped(sample.x, view.on(self.scalings.nodes))
        if sample.own is not None:
            share = torch.rand((), device=x.device)
            x = x + share * (_mapped(sample.x, sample.own) - sample.x)
        x = x + NOISE * torch.randn_like(x)
        pixels = sample.pixels
        if pixels is not None and self.scalings.pixels is not None:
            pixels = _mapped(pixels, view.on(self.scalings.pixels))
        edge_attr = _mapped(sample.edge_attr, view.on(self.scalings.edges))
        return replace(sample, x=x, edge_attr=edge_attr, pixels=pixels)


def _mapped(values: Tensor, column_map: ColumnMap) -> Tensor:
    """`ColumnMap.apply` where the values are."""
    order = torch.from_numpy(column_map.order).to(values.device)
    factor = torch.from_numpy(column_map.factor).to(values)
    shift = torch.from_numpy(column_map.shift).to(values)
    return torch.addcmul(shift, values.index_select(values.dim() - 1, order), factor)


def _confusion(predicted: Tensor, sample: Sample, n_classes: int) -> Int64:
    """Count (K, K) pixels, each sample as its share of the area of its superpixel."""
    known = sample.classes != NOT_ANNOTATED
    area = (sample.area.double()[:, None] / known.shape[1]).expand_as(known)[known]
    cell = sample.classes[known].long() * n_classes + predicted[known]
    counts = torch.bincount(cell.cpu(), area.cpu(), minlength=n_classes**2)
    return np.rint(counts.numpy()).astype(np.int64).reshape(n_classes, n_classes)
