"""The end of a pass: edges, some blocks at a time, and the final tables.

A piece is a run of blocks of one strip, so that memory does not grow with the width of the image.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Array, Float64, Int64
from spixgraph.graph.blocks.block_graph import edge_feature_names, node_feature_names
from spixgraph.graph.blocks.plan import BlockPlan
from spixgraph.graph.stream.edges import EdgeRows, NodeWindow, edges_to
from spixgraph.graph.stream.image_plan import ImagePlan
from spixgraph.graph.stream.region import Region
from spixgraph.graph.stream.seams import CONTACT_COLUMNS
from spixgraph.graph.stream.store import Store

PIECE_BLOCKS = 16
_WINDOW_ROWS = 1 << 15
"""Contacts that are looked at together."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Blocks ``begin:end`` of a strip."""

    strip: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Number of superpixels, and of edges in both directions."""

    n_regions: int
    n_edges: int


def write_tables(store: Store, plan: ImagePlan, region: Region, workers: int) -> Totals:
    """Turn what a pass left in its spools into the final tables.

    Parameters
    ----------
    store : Store
        All strips of the region are finished.
    plan : ImagePlan
    region : Region
    workers : int
        Threads, each on the edges of one piece.
    """
    totals = Totals(store.records[-1].first[-1], 2 * store.records[-1].contacts[-1])
    n_channels = plan.n_channels
    names = feature_names(plan)
    tables = {
        "x": store.table("x", totals.n_regions, (len(names),), np.float32),
        "centroid_px": store.table("centroid_px", totals.n_regions, (3,), np.float64),
        "n_pixels": store.table("n_pixels", totals.n_regions, (), np.int64),
        "edge_index": store.table("edge_index", totals.n_edges, (2,), np.int64),
        "edge_attr": store.table(
            "edge_attr", totals.n_edges, (len(edge_feature_names(n_channels)),), np.float32
        ),
    }
    first_edge = [np.zeros(1, np.int64)]
    for piece, edges in _all_edges(store, plan, region, workers):
        first = store.records[piece.strip].first[piece.begin : piece.end + 1]
        nodes = {
            name: store.spool(name).read(first[0], first[-1])
            for name in ("x", "centroid_px", "n_pixels")
        }
        nodes["x"] = np.concatenate([nodes["x"], edges.contrast], axis=1)
        for name, rows in nodes.items():
            tables[name].append(rows)
        tables["edge_index"].append(edges.edge_index.T)
        tables["edge_attr"].append(edges.edge_attr)
        blocks = np.array(first[1:], np.int64) - first[0]
        first_edge.append(edges.first[blocks] + first_edge[-1][-1])
    first_node = [np.zeros(1, np.int64)]
    first_node += [np.array(record.first[1:], np.int64) for record in store.records]
    for name, parts in (("first_node", first_node), ("first_edge", first_edge)):
        rows = np.concatenate(parts)
        store.table(name, len(rows), (), np.int64).append(rows)
    return totals


def feature_names(plan: ImagePlan) -> tuple[str, ...]:
    """Columns of x: those of the blocks, then the contrast to the neighbours."""
    own = node_feature_names(
        plan.n_channels, plan.blocks.n_octaves, is_volume=plan.blocks.is_volume
    )
    return own + tuple(f"c{c}_contrast" for c in range(plan.n_channels))


def offset_scale(
    blocks: BlockPlan, nodes_per_megapixel: float, z_size: float
) -> tuple[float, float, float]:
    """Return what turns distances (z, y, x) in pixels into wanted distances of superpixels.

    `z_size` is the distance of slices in pixels of the plane.
    """
    if blocks.is_volume:
        unit = (1e6 / nodes_per_megapixel * z_size) ** (1 / 3)
    else:
        unit = (1e6 / nodes_per_megapixel) ** 0.5
    return z_size / unit, 1 / unit, 1 / unit


def _z_size(plan: ImagePlan) -> float:
    """Distance of slices in pixels of the plane; 1 where it is unknown."""
    if plan.info.spacing_zyx is None:
        return 1.0
    z, y, x = plan.info.spacing_zyx
    return z / (y * x) ** 0.5


def _all_edges(
    store: Store, plan: ImagePlan, region: Region, workers: int
) -> Iterator[tuple[Piece, EdgeRows]]:
    """Yield the edges that lead to the superpixels of each piece, in order."""
    scale = offset_scale(plan.blocks, plan.nodes_per_megapixel, _z_size(plan))

    def make(piece: Piece) -> EdgeRows:
        first = store.records[piece.strip].first
        targets = range(first[piece.begin], first[piece.end])
        contacts = _contacts_of(store, region, piece.strip, targets)
        return edges_to(contacts, targets, _nodes(store, region, piece), scale)

    waiting: deque[tuple[Piece, Future[EdgeRows]]] = deque()
    with ThreadPoolExecutor(workers, "edges") as pool:
        for piece in _pieces(region):
            waiting.append((piece, pool.submit(make, piece)))
            if len(waiting) > workers:
                oldest, future = waiting.popleft()
                yield oldest, future.result()
        for oldest, future in waiting:
            yield oldest, future.result()


def _pieces(region: Region) -> Iterator[Piece]:
    n_x = len(region.x)
    for strip in range(region.n_strips):
        for begin in range(0, n_x, PIECE_BLOCKS):
            yield Piece(strip, begin, min(begin + PIECE_BLOCKS, n_x))


def _contacts_of(store: Store, region: Region, strip: int, targets: range) -> Int64:
    """All contacts (P, 5) of some superpixels of a strip."""
    spool, records = store.spool("contacts"), store.records
    start, _, _, stop = records[strip].contacts
    spans = [(start, stop)]
    below, before = strip + 1, strip + len(region.y)
    if below < region.n_strips and region.above(below) == strip:
        spans.append((records[below].contacts[1], records[below].contacts[2]))
    if before < region.n_strips:
        spans.append((records[before].contacts[0], records[before].contacts[1]))
    parts: list[Array] = [np.empty((0, CONTACT_COLUMNS), np.int64)]
    for start, stop in spans:
        for row in range(start, stop, _WINDOW_ROWS):
            rows = spool.read(row, min(row + _WINDOW_ROWS, stop))
            ends = rows[:, :2]
            inside = (ends >= targets.start) & (ends < targets.stop)
            parts.append(rows[inside.any(axis=1)])
    return np.concatenate(parts)


def _nodes(store: Store, region: Region, piece: Piece) -> NodeWindow:
    """Node columns of a piece and of the blocks that it touches."""
    spans = []
    for strip in region.touching(piece.strip):
        more = int(strip == piece.strip)
        first = store.records[strip].first
        end = min(piece.end + more, len(region.x))
        spans.append((first[max(0, piece.begin - more)], first[end]))
    start, stop = np.array(spans, np.int64).T.copy()

    def column(name: str) -> Array:
        return np.concatenate([store.spool(name).read(a, b) for a, b in spans])

    centroid: Float64 = column("centroid_px")
    return NodeWindow(start, stop, centroid, column("n_pixels"), column("intensity"))
