"""Blocks that have their ids: faces, contacts with those before them, the end of a strip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spixgraph.arrays import Int64
from spixgraph.graph.blocks.block_graph import BlockGraph
from spixgraph.graph.stream.faces import Face, FaceStore, far_face, near_face
from spixgraph.graph.stream.records import StripRecord
from spixgraph.graph.stream.region import Region
from spixgraph.graph.stream.seams import face_contacts, inner_contacts
from spixgraph.graph.stream.store import Store

Left = tuple[Face, int, int]
"""The far face along x of the block to the left, its first id, the number of its superpixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Contacts:
    """Contacts (P, 5) of a block or a strip with what is behind, what is above, and within."""

    behind: Int64
    above: Int64
    inner: Int64


def keep_faces(faces: FaceStore, region: Region, strip: int, k: int, block: BlockGraph) -> None:
    """Keep the far planes of a block that later strips will touch."""
    if region.y[0] + strip % len(region.y) < region.y[-1]:
        faces.put(strip, k, "y", far_face(block, "y"))
    if strip + len(region.y) < region.n_strips:
        faces.put(strip, k, "z", far_face(block, "z"))


def left_of(region: Region, k: int, block: BlockGraph, first: int) -> Left | None:
    """Return what the next block of the strip needs of block `k`."""
    if k + 1 == len(region.x):
        return None
    return far_face(block, "x"), first, len(block.n_pixels)


def join_block(
    faces: FaceStore,
    region: Region,
    strip: int,
    k: int,
    block: BlockGraph,
    first: int,
    left: Left | None,
    first_of: Callable[[int], Sequence[int]],
) -> Contacts:
    """Find the contacts of a block with those before it; from any thread.

    `first` is the id of its first superpixel; ``first_of(s)`` are those of the blocks of strip s.
    """

    def facing(other: int | None, axis: str) -> Int64:
        if other is None:
            return np.empty((0, 5), np.int64)
        begin, end = first_of(other)[k : k + 2]
        face = faces.get(other, k, axis)
        return _between(face, begin, end - begin, near_face(block, axis), first)

    inner = [inner_contacts(block, first)]
    if left is not None:
        inner.insert(0, _between(*left, near_face(block, "x"), first))
    behind, above = region.behind(strip), region.above(strip)
    return Contacts(facing(behind, "z"), facing(above, "y"), np.concatenate(inner))


def _between(face_a: Face, first_a: int, n_a: int, face_b: Face, first_b: int) -> Any:
    """Contacts of two blocks that face each other."""
    return face_contacts(
        face_a.labels, face_a.gradient, face_b.labels, face_b.gradient, first_a, first_b, n_a
    )


def contacts_of_strip(blocks: Sequence[Contacts]) -> Contacts:
    """Put the contacts of the blocks of a strip together."""
    return Contacts(
        np.concatenate([part.behind for part in blocks]),
        np.concatenate([part.above for part in blocks]),
        np.concatenate([part.inner for part in blocks]),
    )


def finish_strip(store: Store, region: Region, first: Sequence[int], contacts: Contacts) -> None:
    """Write the contacts of the next strip, note that it is done, and forget faces of old ones.

    Its labels, node columns and digests are written already.
    """
    number = len(store.records)
    ends = [store.records[-1].contacts[-1] if number else 0]
    for rows in (contacts.behind, contacts.above, contacts.inner):
        store.spool("contacts").append(rows)
        ends.append(ends[-1] + len(rows))
    store.commit(StripRecord(tuple(first), (ends[0], ends[1], ends[2], ends[3])))
    for done in (region.behind(number), _only_above(region, number)):
        if done is not None:
            store.faces.drop(done)


def _only_above(region: Region, number: int) -> int | None:
    """Return the strip above, where nothing behind or before it waits for its faces."""
    above = region.above(number)
    last = len(region.y) * (len(region.z) - 1)
    return above if above is not None and above >= last else None
