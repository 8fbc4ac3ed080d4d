"""Strips of finished blocks, the seams between them, and the tables that they fill."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zarr

from spixgraph.arrays import Int32, Int64
from spixgraph.graph.engine_block import BlockGraph
from spixgraph.graph.engine_edges import Touches, directed_edges, seam
from spixgraph.graph.engine_store import Table


@dataclass(slots=True, eq=False)
class Strip:
    """A row of blocks, all done.

    Attributes
    ----------
    parts : list of BlockGraph
    first : list of int
        Id, in the image, of the first superpixel of each block, and of the strip below.
    """

    parts: list[BlockGraph]
    first: list[int]

    @property
    def ids(self) -> range:
        """Ids of the superpixels."""
        return range(self.first[0], self.first[-1])

    def rim(self, side: str) -> tuple[Int64, Int32]:
        """Ids and gradients along the whole top or bottom."""
        line = 0 if side == "top" else -1
        pairs = list(zip(self.parts, self.first[:-1], strict=True))
        ids = np.concatenate([part.labels[line].astype(np.int64) + i for part, i in pairs])
        return ids, np.concatenate([part.rim[side] for part in self.parts])

    def inner_touches(self) -> Touches:
        """Contacts within blocks, and across the barriers between blocks of this strip."""
        found = [
            Touches(part.pairs + i, part.length_px, part.gradient_sum)
            for part, i in zip(self.parts, self.first[:-1], strict=True)
        ]
        for k, (a, b) in enumerate(zip(self.parts[:-1], self.parts[1:], strict=True)):
            left = a.labels[:, -1].astype(np.int64) + self.first[k]
            right = b.labels[:, 0].astype(np.int64) + self.first[k + 1]
            found.append(seam(left, right, a.rim["right"], b.rim["left"]))
        return Touches.join(found)


def seam_between(above: Strip, below: Strip) -> Touches:
    """Find the contacts across the barrier between two strips."""
    ids_a, gradient_a = above.rim("bottom")
    ids_b, gradient_b = below.rim("top")
    return seam(ids_a, ids_b, gradient_a, gradient_b)


class Tables:
    """The node and edge tables while they grow."""

    def __init__(self, part: Path) -> None:
        self._folder = part
        self._tables: dict[str, Table] = {}
        self._n_edges = 0
        self._before: Strip | None = None

    def __enter__(self) -> "Tables":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for table in self._tables.values():
            table.close()

    def _append(self, name: str, rows: Any) -> None:
        if name not in self._tables:
            path = self._folder / f".{name}.rows"
            self._tables[name] = Table(path, rows.shape[1:], rows.dtype)
        self._tables[name].append(rows)

    def add_nodes(self, strip: Strip) -> None:
        """Write the rows of a strip."""
        for part in strip.parts:
            self._append("x", part.x)
            self._append("centroid_px", part.centroid_px)
            self._append("n_pixels", part.n_pixels)

    def add_edges(
        self, strip: Strip, below: Strip | None, seams: list[Touches], unit_px: float
    ) -> None:
        """Write the edges that lead to the superpixels of a strip."""
        touches = Touches.join([*seams, strip.inner_touches()])
        strips = [s for s in (self._before, strip, below) if s is not None]
        parts = [p for s in strips for p in s.parts]
        edges, values = directed_edges(
            touches,
            strip.ids,
            strips[0].ids.start,
            np.concatenate([p.centroid_px for p in parts]),
            np.concatenate([p.n_pixels for p in parts]),
            np.concatenate([p.intensity for p in parts]),
            unit_px,
        )
        self._append("edge_index", edges.T)
        self._append("edge_attr", values)
        self._n_edges += len(values)
        self._before = strip

    def finish(self, group: zarr.Group) -> int:
        """Turn the rows into arrays; return the number of edges."""
        for name, table in self._tables.items():
            table.finish(group, name, transposed=name == "edge_index")
        return self._n_edges
