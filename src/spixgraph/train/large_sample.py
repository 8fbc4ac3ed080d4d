"""A graph that is too large to be held in memory: read, changed and learned part by part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from spixgraph.arrays import Float32, Int64
from spixgraph.graph.augment import ColumnMap
from spixgraph.graph.image_scaling import Scalings
from spixgraph.graph.partitions import EdgesByTarget, Partition, take_rows
from spixgraph.graph.stored_graph import LearnedGraph
from spixgraph.train import parts
from spixgraph.train.changes import Changes
from spixgraph.train.node_sample import (
    LearnedPixels,
    Sample,
    sample_of,
    scalings_of_graph,
    standardised_pixels,
    targets_of,
)
from spixgraph.train.window import nearest_nodes

_NOISE_ROWS = 4096
_CACHED_CHUNKS = 2  # of a large graph; of small ones, of which there are many, none


@dataclass(frozen=True, slots=True, eq=False)
class LargeSample:
    """A graph of which one part at a time is in memory.

    Attributes
    ----------
    graph : LearnedGraph
    pixels : LearnedPixels or None
        Raw columns, on disk where they come from files.
    there : Scalings
        Of the raw columns.
    own : ColumnMap or None
    area : (n,) float32
        Annotated pixels.
    place : (n, 3) float32
        Centroids in pixels.
    edges : EdgesByTarget
    parts : sequence of Partition
        Their cores are the graph; none where windows are learned from.
    device : torch.device
        Where parts go.
    changes : Changes or None
    noise_seed : int
        Of the noise that `changes` adds; all parts see the same.
    """

    graph: LearnedGraph
    pixels: LearnedPixels | None
    there: Scalings
    own: ColumnMap | None
    area: Float32
    place: Float32
    edges: EdgesByTarget
    parts: Sequence[Partition]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    changes: Changes | None = None
    noise_seed: int = 0

    @property
    def n_nodes(self) -> int:
        """Superpixels of the graph."""
        return self.graph.n_regions

    def to(self, device: torch.device) -> "LargeSample":
        """Name the device of the network."""
        return replace(self, device=device)

    def changed(self, changes: Changes, *, noise_seed: int) -> "LargeSample":
        """Have parts changed when they are read."""
        return replace(self, changes=changes, noise_seed=noise_seed)

    def read(self, part: Partition) -> Sample:
        """Read, standardise and change a part; its core is as in the whole, since halos are exact.

        Sample.own is left out: it is in `changes`.
        """
        target, _ = targets_of(self.graph)
        ids = part.core_ids
        values, classes = None, np.zeros((len(ids), 0), np.uint8)
        if self.pixels is not None:
            raw = take_rows(self.pixels.values, ids)
            values = torch.from_numpy(standardised_pixels(raw, self.there.pixels))
            classes = take_rows(self.pixels.classes, ids)
        sample = Sample(
            x=torch.from_numpy(self.there.nodes.apply(take_rows(self.graph.x, part.nodes))),
            edge_index=torch.from_numpy(part.edge_index),
            edge_attr=torch.from_numpy(
                self.there.edges.apply(take_rows(self.graph.edge_attr, part.edge_rows))
            ),
            target=torch.from_numpy(target[ids]),
            area=torch.from_numpy(self.area[ids]),
            pixels=values,
            classes=torch.from_numpy(classes),
            place=torch.from_numpy(self.place[part.nodes]),
            own=None,
            core=torch.from_numpy(part.core),
        ).to(self.device)
        if self.changes is None:
            return sample
        noise = noise_of(part.nodes, self.graph.n_regions, sample.x.shape[1], seed=self.noise_seed)
        return self.changes.on(sample, noise.to(self.device))

    def window(self, n_nodes: int, rng: np.random.Generator) -> Sample:
        """Read what `window.draw_window` would give of the whole graph."""
        nodes = np.arange(self.n_nodes)
        if self.n_nodes > n_nodes:
            place, area = torch.from_numpy(self.place), torch.from_numpy(self.area)
            nodes = nearest_nodes(place, area, n_nodes, rng).numpy()
        rows, ids = self.edges.into(nodes)
        inside = np.isin(ids[0], nodes)
        part = Partition(
            nodes=nodes,
            core=np.arange(len(nodes)),
            edge_index=np.searchsorted(nodes, ids[:, inside]),
            edge_rows=rows[inside],
        )
        return replace(self.read(part), core=None, own=self.own)

    def sums(self, of_sample: Callable[[Sample], Tensor]) -> Tensor:
        """Add up a function of the parts, whose activations are made again for the gradient."""
        return torch.stack([self._sums_of(i, of_sample) for i in range(len(self.parts))]).sum(0)

    def _sums_of(self, number: int, of_sample: Callable[[Sample], Tensor]) -> Tensor:
        def run() -> Tensor:
            return of_sample(self.read(self.parts[number]))

        if not torch.is_grad_enabled():
            return run()
        found: Tensor = checkpoint(run, use_reentrant=False)
        return found


def noise_of(rows: Int64, n: int, width: int, *, seed: int) -> Tensor:
    """Draw some rows, which ascend, of a table (n, width) of standard normal numbers."""
    found = []
    for chunk in np.unique(rows // _NOISE_ROWS).tolist():
        begin = chunk * _NOISE_ROWS
        generator = torch.Generator().manual_seed(seed + chunk)
        drawn = torch.randn(min(_NOISE_ROWS, n - begin), width, generator=generator)
        low, high = np.searchsorted(rows, [begin, begin + _NOISE_ROWS])
        found.append(drawn[torch.from_numpy(rows[low:high] - begin)])
    return torch.cat(found)


def learned_sample(
    graph: LearnedGraph,
    pixels: LearnedPixels | None,
    scalings: Scalings,
    *,
    own_share: float,
    n_layers: int | None,
    folder: Path,
    held: bool = True,
    cut: bool = True,
) -> Sample | LargeSample:
    """Standardise a graph, or get ready to read it part by part.

    Parameters
    ----------
    graph, pixels, scalings, own_share
        See `sample_of`.
    n_layers : int or None
        Message passing layers of the network; without it the graph is never cut into parts, as
        that of the paper network, whose nodes have no blocks.
    folder : Path
        Gets the parts; must outlive the sample.
    held : bool
        False to leave a graph on disk that is small enough to be held.
    cut : bool
        False to leave the parts out, where windows are learned from.
    """
    is_small = graph.n_regions <= parts.MAX_NODES
    if n_layers is None or (is_small and held):
        return sample_of(graph, pixels, scalings, own_share=own_share)
    there, own = scalings_of_graph(graph, scalings, own_share=own_share)
    _, annotated = targets_of(graph)
    made = parts.parts_of(graph, n_layers=n_layers, part_nodes=parts.PART_NODES) if cut else []
    return LargeSample(
        graph=graph,
        pixels=pixels,
        there=there,
        own=own if pixels is not None else None,
        area=(annotated * graph.n_pixels).astype(np.float32),
        place=np.asarray(graph.centroid_px[:]).astype(np.float32),
        edges=EdgesByTarget(graph.edge_index, cached_chunks=0 if is_small else _CACHED_CHUNKS),
        parts=parts.StoredParts(Path(mkdtemp(dir=folder)), made),
    )
