"""What a node network learns: one region graph per step, seen anew each time."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from spixgraph.arrays import NOT_ANNOTATED, Int64
from spixgraph.graph.augment import View, draw_view
from spixgraph.graph.image_scaling import OWN_SHARE, Scalings
from spixgraph.graph.stored_graph import LearnedGraph
from spixgraph.nets.node_net import NodeNet
from spixgraph.train import parts
from spixgraph.train.changes import Changes
from spixgraph.train.large_sample import LargeSample, learned_sample
from spixgraph.train.loop import Step
from spixgraph.train.losses import area_loss, area_sums, class_weights, loss_of_sums
from spixgraph.train.node_sample import LearnedPixels, Sample, outputs_of, pixels_per_class
from spixgraph.train.temperature import Judged
from spixgraph.train.window import draw_window

MIN_STEPS, MAX_STEPS = 10, 24
"""Of an epoch, so that epochs compare between data sets: few graphs are walked several times, of
many some are drawn."""
HELD_NODES = 1 << 18
"""Superpixels in memory, 1.2 kB each, where windows are learned from; others are read from disk.
From a graph of more, members of a committee learn in turns."""


class NodeLesson:
    """The lesson of `spixgraph.train.loop` for graphs.

    Parameters
    ----------
    net : NodeNet
        On `device`.
    scalings : Scalings
    train, val : sequence of LearnedGraph
        One that is several times in `train` is drawn more often.
    samples : two sequences of LearnedPixels, or None
        Of `train` and `val`; None for a network without a decoder.
    augmented : bool
        True to turn, dim and disturb the graphs of `train`.
    noise : float, optional
        How much they are disturbed; see `Changes`.
    device : torch.device
    n_layers : int, optional
        Message passing layers of `net`, where graphs may be cut into parts; see `learned_sample`.
    nodes_per_step : int, optional
        Learn from windows of so many superpixels; without it, from whole graphs.
    folder : Path
        For the parts; must outlive the lesson.
    """

    def __init__(
        self,
        net: NodeNet,
        scalings: Scalings,
        train: Sequence[LearnedGraph],
        val: Sequence[LearnedGraph],
        samples: tuple[Sequence[LearnedPixels], Sequence[LearnedPixels]] | None,
        *,
        augmented: bool,
        noise: float = 0.0,
        device: torch.device,
        n_layers: int | None = None,
        nodes_per_step: int | None = None,
        folder: Path,
    ) -> None:
        self.net = net
        self.device = device
        self.scalings = scalings
        self.augmented, self.noise = augmented, noise
        self.nodes_per_step = nodes_per_step
        none: Sequence[None] = [None] * max(len(train), len(val))
        pixels = samples or (none[: len(train)], none[: len(val)])
        known = {id(g): pixels_per_class(g).any() for g in train}
        room = _Room(HELD_NODES if nodes_per_step else None)

        def sample(
            graph: LearnedGraph, of_graph: LearnedPixels | None, *, own_share: float, cut: bool
        ) -> Sample | LargeSample:
            return learned_sample(
                graph, of_graph, scalings, own_share=own_share, n_layers=n_layers, folder=folder,
                held=room.holds(graph.n_regions), cut=cut,
            )  # fmt: skip

        pairs = {id(g): (g, p) for g, p in zip(train, pixels[0], strict=True) if known[id(g)]}
        made = {
            key: sample(g, p, own_share=0.0, cut=nodes_per_step is None)
            for key, (g, p) in pairs.items()
        }
        self.train = [made[id(g)] for g in train if known[id(g)]]  # a repeated graph is held once
        self.val = [
            sample(g, p, own_share=OWN_SHARE, cut=True) for g, p in zip(val, pixels[1], strict=True)
        ]
        self.counts = [pixels_per_class(g) for g in val]
        area = sum(pixels_per_class(g).sum(0) for g in train)
        self.weights = class_weights(np.asarray(area, np.float64)).to(device)
        self.passes = math.ceil(MIN_STEPS / len(self.train))
        self.n_samples = samples_per_epoch(len(self.train))
        self.n_steps = self.n_samples * len(self.learners)

    @property
    def learners(self) -> Sequence[NodeNet]:
        """The members of a committee, or the network."""
        return self.net.members

    @property
    def in_threads(self) -> bool:
        """True on the CPU for windows of graphs that are not large: threads take memory."""
        if self.nodes_per_step is None or self.device.type != "cpu":
            return False
        dropout = any(isinstance(m, nn.Dropout) and m.p > 0 for m in self.net.modules())
        return not dropout and all(sample.n_nodes <= HELD_NODES for sample in self.train)

    def steps(self, rng: np.random.Generator) -> Iterator[Step]:
        """One graph per step, each as often as any other, or at most once.

        Each member of a committee takes steps of its own, on views of graphs in an order of its
        own, so that members err apart; memory is that of one, or of those side by side.
        """
        orders = [self._order(rng) for _ in self.learners]
        for numbers in zip(*orders, strict=True):
            for learner, (member, number) in enumerate(zip(self.learners, numbers, strict=True)):
                sample = self._drawn(self.train[number], rng).to(self.device)
                seen = self._seen(sample, draw_view(rng)) if self.augmented else sample
                yield Step(learner, partial(self._loss, member, seen))

    def _drawn(
        self, sample: Sample | LargeSample, rng: np.random.Generator
    ) -> Sample | LargeSample:
        """Take a window of a graph, or all of it."""
        if self.nodes_per_step is None:
            return sample
        if isinstance(sample, LargeSample):
            return sample.window(self.nodes_per_step, rng)
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
        for sample, pixels in self._val_pieces():
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
        for sample, pixels in self._val_pieces():
            logits, decoded = outputs_of(self.net, sample)
            if decoded is None:
                yield logits.cpu().numpy(), pixels.astype(np.float64)
                continue
            known = sample.classes != NOT_ANNOTATED
            area = (sample.area.double()[:, None] / known.shape[1]).expand_as(known)[known]
            true = one_hot(sample.classes[known].long(), self.net.n_classes)
            yield decoded[known].cpu().numpy(), (true * area[:, None]).cpu().numpy()

    def _val_pieces(self) -> Iterator[tuple[Sample, Int64]]:
        """Yield each validation graph, or its parts, and the pixels of each class in its core."""
        for sample, pixels in zip(self.val, self.counts, strict=True):
            if isinstance(sample, Sample):
                yield sample.to(self.device), pixels
                continue
            for part in sample.parts:
                yield sample.to(self.device).read(part), pixels[part.core_ids]

    def _loss(self, net: NodeNet, sample: Sample | LargeSample) -> Tensor:
        """Error of the superpixels, and of the pixels where the network decodes them.

        That of a large graph is the same, made of sums over its parts.
        """
        if isinstance(sample, Sample):
            return torch.stack(
                [area_loss(*rows, self.weights) for rows in _rows(net, sample)]
            ).sum()

        def sums_of(part: Sample) -> Tensor:
            return torch.stack([area_sums(*rows, self.weights) for rows in _rows(net, part)])

        return torch.stack([loss_of_sums(sums) for sums in sample.sums(sums_of)]).sum()

    def _seen(self, sample: Sample | LargeSample, view: View) -> Sample | LargeSample:
        """Turn and dim a graph, and disturb its columns."""
        share = torch.rand((), device=self.device) if sample.own is not None else torch.zeros(())
        changes = Changes(view, self.scalings, sample.own, share, self.noise)
        if isinstance(sample, Sample):
            return changes.on(sample, torch.randn_like(sample.x))
        return sample.changed(changes, noise_seed=int(torch.randint(2**62, ())))


class _Room:
    """Memory for small graphs, first come, first served."""

    def __init__(self, n_nodes: int | None) -> None:
        self._left = math.inf if n_nodes is None else n_nodes

    def holds(self, n_nodes: int) -> bool:
        """Take room for a graph, if there is enough; large ones are never held."""
        fits = n_nodes <= min(self._left, parts.MAX_NODES)
        self._left -= n_nodes if fits else 0
        return fits


def _rows(net: NodeNet, sample: Sample) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield logits, target and area of the superpixels and, with a decoder, of their pixels."""
    logits, decoded = outputs_of(net, sample)
    yield logits, sample.target, sample.area
    if decoded is None:
        return
    known = (sample.classes != NOT_ANNOTATED).flatten()
    classes = torch.where(known, sample.classes.flatten().long(), 0)
    area = sample.area[:, None].expand_as(sample.classes).flatten() / sample.classes.shape[1]
    target = one_hot(classes, decoded.shape[2]).to(decoded.dtype)
    yield decoded.flatten(0, 1), target, area * known


def samples_per_epoch(n_graphs: int) -> int:
    """How many graphs are shown in an epoch, some of them again where there are few."""
    return min(math.ceil(MIN_STEPS / n_graphs) * n_graphs, MAX_STEPS)


def _confusion(predicted: Tensor, sample: Sample, n_classes: int) -> Int64:
    """Count (K, K) pixels, each sample as its share of the area of its superpixel."""
    known = sample.classes != NOT_ANNOTATED
    area = (sample.area.double()[:, None] / known.shape[1]).expand_as(known)[known]
    cell = sample.classes[known].long() * n_classes + predicted[known]
    counts = torch.bincount(cell.cpu(), area.cpu(), minlength=n_classes**2)
    return np.rint(counts.numpy()).astype(np.int64).reshape(n_classes, n_classes)
