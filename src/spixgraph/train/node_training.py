"""Training of node networks on region graphs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from spixgraph.arrays import NOT_ANNOTATED, Array, Float32
from spixgraph.config.params import NodeTraining
from spixgraph.errors import InputError
from spixgraph.graph.image_scaling import Scalings, TableSums
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.scaling import Scaling, fit_scaling
from spixgraph.graph.stored_graph import LearnedGraph, row_chunks
from spixgraph.graph.stream.heap import give_back
from spixgraph.nets.build import build_node_net, n_parameters
from spixgraph.nets.node_net import NodeNet
from spixgraph.scratch import scratch_folder
from spixgraph.train.context import TrainedContext
from spixgraph.train.fingerprint import fingerprint
from spixgraph.train.loop import EpochRecord, OnEpoch, fit
from spixgraph.train.node_lesson import NodeLesson
from spixgraph.train.node_sample import LearnedPixels, pixels_per_class, targets_of
from spixgraph.train.reproducible import reproducible
from spixgraph.train.temperature import fit_temperature

PairOfSamples: TypeAlias = tuple[Sequence[LearnedPixels], Sequence[LearnedPixels]]
"""Of the training and of the validation graphs."""
_WIDE_DEGREE = 9.0
_ROWS_AT_ONCE = 8192

T = TypeVar("T")


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
        To be applied to `x` and `edge_attr` of a graph first, as `scalings_of` says.
    pixel_scaling : Scaling or None
        Of the columns of a pixel, where the network decodes pixels.
    best_epoch : int
        From 1.
    history : tuple of EpochRecord
    temperature : float
        What logits, of superpixels and of pixels, are divided by to become probabilities.
    context : TrainedContext or None
        A second opinion on pixels.
    """

    net: NodeNet
    build: dict[str, Any]
    node_scaling: Scaling
    edge_scaling: Scaling
    best_epoch: int
    history: tuple[EpochRecord, ...]
    pixel_scaling: Scaling | None = None
    temperature: float = 1.0
    context: TrainedContext | None = None

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        return n_parameters(self.net) + (n_parameters(self.context.net) if self.context else 0)

    def scalings_of(self, graph: RegionGraph) -> Scalings:
        """Return how the raw columns of the graph of a whole image are standardised."""
        scalings = Scalings(self.node_scaling, self.edge_scaling, self.pixel_scaling)
        return scalings.at(TableSums.of(graph.x, graph.feature_names))


def train_node_net(
    kind: str,
    train: Sequence[LearnedGraph],
    val: Sequence[LearnedGraph],
    params: NodeTraining,
    *,
    seed: int,
    device: torch.device,
    threads: int = 1,
    samples: PairOfSamples | None = None,
    pixel_hidden: int = 0,
    resume_path: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainedNodeNet:
    """Train a node network; on the CPU, the same arguments give the same weights to the bit.

    Parameters
    ----------
    kind : {"gnn", "mlp", "paper"}
    train, val : sequence of RegionGraph or StoredGraph
        With targets; a large one that is stored is read part by part. Superpixels without annotated
        pixels count nowhere. Scalings and class weights come from `train` alone; `val` picks the
        epoch, by the macro IoU of its pixels.
    params : NodeTraining
    seed : int
        Of the weights, the order of the graphs and the dropout.
    device : torch.device
        One graph at a time is on it.
    threads : int
        CPU threads; the weights depend on it, so it is not taken from the machine.
    samples : two sequences of PixelSamples or StoredSamples, optional
        Of the graphs of `train` and of `val`. With them the network gets a pixel decoder, and the
        exposure of each image is taken out; `paper` must have none.
    pixel_hidden : int
        Hidden values of a pixel that the decoder makes: what `params` ask for, settled.
    resume_path : Path, optional
        Where the state is kept after each epoch; the caller removes it at the end.
    on_epoch : callable, optional
        Called with the record of each epoch.

    Raises
    ------
    InputError
        If a split has no annotated pixel, graphs differ in columns or classes, or samples are not
        those of the graphs.
    GateError
        If training diverges.
    """
    n_classes = _require_alike(train, val)
    if samples:
        _require_samples(train, val, samples)
    scalings = _fit_scalings(kind, train, samples[0] if samples else None)
    first = train[0]
    build: dict[str, Any] = {
        "kind": kind,
        "n_features": len(first.feature_names),
        "n_edge_features": len(first.edge_feature_names),
        "n_classes": n_classes,
        "hidden": params.hidden,
        "layers": params.layers,
        "dropout": params.dropout,
        "n_pixel_columns": len(scalings.pixels.names) if scalings.pixels else 0,
        "n_pixel_hidden": pixel_hidden if scalings.pixels else 0,
        "table_width": _table_width(train),
        "members": params.members,
    }
    print_of_run = fingerprint(
        {
            "build": build,
            "params": params.model_dump(),
            "seed": seed,
            "device": device.type,
            "threads": threads,
        },
        _arrays(train, val, samples),
    )
    with reproducible(seed, threads=threads), scratch_folder() as folder:
        net = build_node_net(**build).to(device)
        lesson = NodeLesson(
            net,
            scalings,
            train,
            val,
            samples,
            augmented=kind != "paper",
            noise=params.noise,
            device=device,
            n_layers=None if samples is None else params.layers,
            nodes_per_step=params.nodes_per_step,
            folder=folder,
        )
        give_back()  # what reading and standardising took
        fitted = fit(
            lesson,
            params,
            seed=seed,
            fingerprint=print_of_run,
            resume_path=resume_path,
            on_epoch=on_epoch,
        )
        temperature = fit_temperature(list(lesson.judged()))
    return TrainedNodeNet(
        net=net.cpu().eval(),
        build=build,
        node_scaling=scalings.nodes,
        edge_scaling=scalings.edges,
        pixel_scaling=scalings.pixels,
        best_epoch=fitted.best_epoch,
        history=fitted.history,
        temperature=temperature,
    )


def _fit_scalings(
    kind: str, train: Sequence[LearnedGraph], samples: Sequence[LearnedPixels] | None
) -> Scalings:
    """Learn how columns are standardised, from what the exposure leaves of them."""
    names, edge_names = train[0].feature_names, train[0].edge_feature_names
    if samples is None:
        edges = _paper_weights(edge_names) if kind == "paper" else None
        edges = edges or fit_scaling(_Rows(partial(_tables, train, "edge_attr")), edge_names)
        return Scalings(fit_scaling(_Rows(partial(_tables, train, "x")), names), edges)
    exposures = [TableSums.of_table(g.x, names).exposure() for g in train]
    pixel_names = samples[0].names

    def without_exposure(table: str, columns: tuple[str, ...]) -> Iterator[Float32]:
        for exposure, graph in zip(exposures, train, strict=True):
            for rows in _tables([graph], table):
                yield exposure.remove(rows, columns)

    def pixels_without_exposure() -> Iterator[Float32]:
        for exposure, pixels in zip(exposures, samples, strict=True):
            for rows in _known_rows(pixels):
                yield exposure.remove(rows, pixel_names)

    return Scalings(
        fit_scaling(_Rows(partial(without_exposure, "x", names)), names),
        fit_scaling(_Rows(partial(without_exposure, "edge_attr", edge_names)), edge_names),
        fit_scaling(_Rows(pixels_without_exposure), pixel_names),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that are read anew each time that they are walked."""

    read: Callable[[], Iterator[Float32]]

    def __iter__(self) -> Iterator[Float32]:
        return self.read()


def _tables(graphs: Sequence[LearnedGraph], name: str) -> Iterator[Float32]:
    """Read one table of all graphs in pieces."""
    for graph in graphs:
        yield from row_chunks(getattr(graph, name), n_rows=_ROWS_AT_ONCE)


def _known_rows(pixels: LearnedPixels) -> Iterator[Float32]:
    """Read the annotated pixels, (rows, P) at a time."""
    values = row_chunks(pixels.values, n_rows=_ROWS_AT_ONCE)
    classes = row_chunks(pixels.classes, n_rows=_ROWS_AT_ONCE)
    for some, of_class in zip(values, classes, strict=True):
        yield some[of_class != NOT_ANNOTATED].astype(np.float32)


def _table_width(train: Sequence[LearnedGraph]) -> int:
    """Choose how many neighbours a row holds: in volumes, nodes have twice as many."""
    n_edges = sum(g.edge_index.shape[1] for g in train)
    return 16 if n_edges > _WIDE_DEGREE * sum(g.n_regions for g in train) else 8


def _paper_weights(names: tuple[str, ...]) -> Scaling:
    """Edge weights of the paper network mean what they are."""
    if names[:1] != ("weight",):
        raise InputError(
            f"the paper network reads the edge feature 'weight' first, the graphs have {names}; "
            "build them with kind: paper"
        )
    return Scaling.identity(names)


def _arrays(
    train: Sequence[LearnedGraph], val: Sequence[LearnedGraph], samples: PairOfSamples | None
) -> Iterator[Array]:
    """List everything that is learned from."""
    for graph in _once((*train, *val)):
        yield from row_chunks(graph.x, n_rows=_ROWS_AT_ONCE)
        yield from row_chunks(graph.edge_index, axis=1, n_rows=_ROWS_AT_ONCE)
        yield from row_chunks(graph.edge_attr, n_rows=_ROWS_AT_ONCE)
        yield graph.n_pixels
        yield from targets_of(graph)
    for pixels in _once([p for split in samples or () for p in split]):
        yield from row_chunks(pixels.values, n_rows=_ROWS_AT_ONCE)
        yield from row_chunks(pixels.classes, n_rows=_ROWS_AT_ONCE)


def _once(items: Sequence[T]) -> list[T]:
    """Drop repeated objects, in order: to draw a graph more often, it is listed several times."""
    return list({id(item): item for item in items}.values())


def _require_alike(train: Sequence[LearnedGraph], val: Sequence[LearnedGraph]) -> int:
    """Raise `InputError` unless the graphs fit together; return the number of classes."""
    for name, split in (("train", train), ("val", val)):
        if not any(pixels_per_class(graph).any() for graph in split):
            raise InputError(
                f"no superpixel of the {name} split is annotated ({len(split)} graphs); "
                "annotate an image of it or change the split"
            )
    layouts = {
        (g.feature_names, g.edge_feature_names, targets_of(g)[0].shape[1]) for g in (*train, *val)
    }
    if len(layouts) > 1:
        raise InputError(
            f"the graphs have {len(layouts)} different sets of columns or classes; "
            "build all of them with one recipe"
        )
    return layouts.pop()[2]


def _require_samples(
    train: Sequence[LearnedGraph], val: Sequence[LearnedGraph], samples: PairOfSamples
) -> None:
    """Raise `InputError` unless each graph has samples, all with the same columns."""
    for name, split, pixels in (("train", train, samples[0]), ("val", val, samples[1])):
        if [g.n_regions for g in split] != [p.n_regions for p in pixels]:
            raise InputError(
                f"the pixel samples of the {name} split are not those of its {len(split)} graphs; "
                "make graphs and samples again"
            )
    layouts = {(p.names, p.classes.shape[1]) for p in (*samples[0], *samples[1])}
    if len(layouts) > 1:
        raise InputError(
            f"the pixel samples have {len(layouts)} different forms; make all with one recipe"
        )
