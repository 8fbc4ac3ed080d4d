"""Training of node networks: one region graph per step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spixgraph.arrays import Array, Int64
from spixgraph.config.params import NodeTraining
from spixgraph.errors import InputError
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.scaling import Scaling, fit_scaling
from spixgraph.nets.build import build_node_net, n_parameters
from spixgraph.nets.node_net import NodeNet
from spixgraph.train.fingerprint import fingerprint
from spixgraph.train.loop import EpochRecord, OnEpoch, fit
from spixgraph.train.losses import area_loss, class_weights
from spixgraph.train.reproducible import reproducible


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNodeNet:
    """A node network and all that it needs besides a graph.

    Attributes
    ----------
    net : NodeNet
        On the CPU, in evaluation mode, with the weights of `best_epoch`.
    build : dict
        Arguments of `build_node_net`.
    node_scaling, edge_scaling : Scaling
        To be applied to `x` and `edge_attr` of a graph first.
    best_epoch : int
        From 1.
    history : tuple of EpochRecord
    """

    net: NodeNet
    build: dict[str, Any]
    node_scaling: Scaling
    edge_scaling: Scaling
    best_epoch: int
    history: tuple[EpochRecord, ...]

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        return n_parameters(self.net)


def train_node_net(
    kind: str,
    train: Sequence[RegionGraph],
    val: Sequence[RegionGraph],
    params: NodeTraining,
    *,
    seed: int,
    device: torch.device,
    threads: int = 1,
    resume_path: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainedNodeNet:
    """Train a node network; on the CPU, the same arguments give the same weights to the bit.

    Parameters
    ----------
    kind : {"gnn", "mlp", "paper"}
    train, val : sequence of RegionGraph
        With targets. Superpixels without annotated pixels count nowhere. Scalings and class
        weights come from `train` alone; `val` picks the epoch, by the macro IoU of its pixels.
    params : NodeTraining
    seed : int
        Of the weights, the order of the graphs and the dropout.
    device : torch.device
        One graph at a time is on it.
    threads : int
        CPU threads; the weights depend on it, so it is not taken from the machine.
    resume_path : Path, optional
        Where the state is kept after each epoch; the caller removes it at the end.
    on_epoch : callable, optional
        Called with the record of each epoch.

    Raises
    ------
    InputError
        If a split has no annotated pixel, or graphs differ in columns or classes.
    GateError
        If training diverges.
    """
    n_classes = _require_alike(train, val)
    first = train[0]
    node_scaling = fit_scaling([g.x for g in train], first.feature_names)
    edge_scaling = _edge_scaling(kind, train)
    build: dict[str, Any] = {
        "kind": kind,
        "n_features": len(first.feature_names),
        "n_edge_features": len(first.edge_feature_names),
        "n_classes": n_classes,
        "hidden": params.hidden,
        "layers": params.layers,
        "dropout": params.dropout,
    }
    print_of_run = fingerprint(
        {
            "build": build,
            "params": params.model_dump(),
            "seed": seed,
            "device": device.type,
            "threads": threads,
        },
        (array for graph in (*train, *val) for array in _arrays(graph)),
    )
    with reproducible(seed, threads=threads):
        net = build_node_net(**build).to(device)
        lesson = _NodeLesson(net, node_scaling, edge_scaling, train, val, device)
        fitted = fit(
            lesson,
            params,
            seed=seed,
            fingerprint=print_of_run,
            resume_path=resume_path,
            on_epoch=on_epoch,
        )
    return TrainedNodeNet(
        net=net.cpu().eval(),
        build=build,
        node_scaling=node_scaling,
        edge_scaling=edge_scaling,
        best_epoch=fitted.best_epoch,
        history=fitted.history,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """A graph as the network sees it, on the host."""

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    target: Tensor
    area: Tensor


class _NodeLesson:
    """The lesson of `spixgraph.train.loop` for graphs."""

    def __init__(
        self,
        net: NodeNet,
        node_scaling: Scaling,
        edge_scaling: Scaling,
        train: Sequence[RegionGraph],
        val: Sequence[RegionGraph],
        device: torch.device,
    ) -> None:
        self.net = net
        self.device = device
        self.train = [
            _sample(g, node_scaling, edge_scaling) for g in train if pixels_per_class(g).any()
        ]
        self.val = [_sample(g, node_scaling, edge_scaling) for g in val]
        self.counts = [pixels_per_class(g) for g in val]
        area = sum(pixels_per_class(g).sum(0) for g in train)
        self.weights = class_weights(np.asarray(area, np.float64)).to(device)
        self.n_steps = len(self.train)

    def losses(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """One graph per step, each once."""
        for number in rng.permutation(self.n_steps):
            sample = self.train[number]
            target, area = sample.target.to(self.device), sample.area.to(self.device)
            yield area_loss(self._logits(sample), target, area, self.weights)

    @torch.no_grad()
    def confusion(self) -> Int64:
        """Add the pixels of each superpixel to the column of its predicted class."""
        self.net.eval()
        total = np.zeros((self.net.n_classes, self.net.n_classes), np.int64)
        for sample, pixels in zip(self.val, self.counts, strict=True):
            predicted = self._logits(sample).argmax(1).cpu().numpy()
            np.add.at(total.T, predicted, pixels)
        return total

    def _logits(self, sample: _Sample) -> Tensor:
        return self.net(
            sample.x.to(self.device),
            sample.edge_index.to(self.device),
            sample.edge_attr.to(self.device),
        )


def pixels_per_class(graph: RegionGraph) -> Int64:
    """Recover the exact (n, K) counts of annotated pixels from the fractions of a graph."""
    target, annotated = _targets(graph)
    area = annotated.astype(np.float64) * graph.n_pixels
    return np.rint(target.astype(np.float64) * area[:, None]).astype(np.int64)


def _sample(graph: RegionGraph, node_scaling: Scaling, edge_scaling: Scaling) -> _Sample:
    target, annotated = _targets(graph)
    return _Sample(
        x=torch.from_numpy(node_scaling.apply(graph.x)),
        edge_index=torch.from_numpy(graph.edge_index),
        edge_attr=torch.from_numpy(edge_scaling.apply(graph.edge_attr)),
        target=torch.from_numpy(target),
        area=torch.from_numpy((annotated * graph.n_pixels).astype(np.float32)),
    )


def _edge_scaling(kind: str, train: Sequence[RegionGraph]) -> Scaling:
    """Edge weights of the paper network mean what they are; all else is standardised."""
    names = train[0].edge_feature_names
    if kind != "paper":
        return fit_scaling([g.edge_attr for g in train], names)
    if names[:1] != ("weight",):
        raise InputError(
            f"the paper network reads the edge feature 'weight' first, the graphs have {names}; "
            "build them with kind: paper"
        )
    return Scaling.identity(names)


def _targets(graph: RegionGraph) -> tuple[Array, Array]:
    if graph.target is None or graph.annotated is None:
        raise InputError("a graph has no target; add it with spixgraph.graph.build.with_targets")
    return graph.target, graph.annotated


def _arrays(graph: RegionGraph) -> Iterator[Array]:
    yield from (graph.x, graph.edge_index, graph.edge_attr, graph.n_pixels, *_targets(graph))


def _require_alike(train: Sequence[RegionGraph], val: Sequence[RegionGraph]) -> int:
    """Raise `InputError` unless the graphs fit together; return the number of classes."""
    for name, split in (("train", train), ("val", val)):
        if not any(pixels_per_class(graph).any() for graph in split):
            raise InputError(
                f"no superpixel of the {name} split is annotated ({len(split)} graphs); "
                "annotate an image of it or change the split"
            )
    layouts = {
        (g.feature_names, g.edge_feature_names, _targets(g)[0].shape[1]) for g in (*train, *val)
    }
    if len(layouts) > 1:
        raise InputError(
            f"the graphs have {len(layouts)} different sets of columns or classes; "
            "build all of them with one recipe"
        )
    return layouts.pop()[2]
