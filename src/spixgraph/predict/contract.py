"""What a streamed segmentation takes: memory, disk and time, said before it starts."""

import math
from dataclasses import dataclass
from pathlib import Path

from spixgraph.config.recipe import GraphRecipe
from spixgraph.errors import ResourceError
from spixgraph.graph.blocks.block_graph import node_feature_names
from spixgraph.graph.blocks.pixel_maps import pixel_map_names
from spixgraph.graph.stream import ImagePlan
from spixgraph.graph.stream.memory import idle_bytes, predicted_bytes, shape_plan
from spixgraph.graph.stream.reader import strip_bytes
from spixgraph.graph.stream.region import Region, Roi, region_of
from spixgraph.graph.stream.seams import CONTACT_COLUMNS
from spixgraph.io.images import ImageInfo, ImageSource
from spixgraph.io.overview import STRIP_PX as OVERVIEW_STRIP_PX
from spixgraph.io.pyramid import STRIP_PX
from spixgraph.predict.card import Card, ContextCard
from spixgraph.predict.context import HALO, TILE
from spixgraph.predict.network import PART_NODES, PART_NODES_3D
from spixgraph.predict.outputs import Results

SMALLEST_PART = 4096
_NETWORK_BYTES, _PAINT_BYTES = 10 << 20, 6 << 20
_GRAPH_SHARE = 1.35  # of its contract, which counts no decoder of files and no heap of threads
_KEPT_OF_GRAPH, _KEPT_OF_NETWORK = 0.2, 0.1  # shares of freed memory that stay with the process
_STRIPS_OF_PYRAMID = 6  # a thread holds these while it halves a level
_EDGES, _VOLUME_EDGES = 6.0, 14.0  # of a node, both directions counted
_EDGE_BYTES = 100  # of an edge beyond those of an image, while the network runs
_EDGE_CACHE_BYTES = 32 << 20
_MAP_BYTES = 24  # workspace of the pixel maps, per pixel of a block
_DISK_EDGES = {"image": 5.7, "stack": 14.0, "volume": 18.0}
# Per pixel, compressed: labels at 3000 superpixels per megapixel, masks. These depend on the image.
_LABEL_BYTES_ON_DISK, _VOLUME_LABEL_BYTES_ON_DISK = 0.14, 0.5
_MASK_BYTES_ON_DISK = 0.1
# Of a processor of about 3 GHz, per pixel, and per node and parameter of the network: measured once
# (docs/decisions/038), not on this machine: half as long or twice as long is likely elsewhere.
_GRAPH_NS, _VOLUME_NS, _PAINT_NS, _DECODE_NS, _WRITE_NS = 65.0, 180.0, 10.0, 26.0, 10.0
_NODE_PARAMETER_NS, _HIDDEN_NS = 0.11, 0.9
_CELL_PARAMETER_NS = 0.006
_CONTEXT_BYTES, _TILE_CELL_BYTES = 12 << 20, 560
"""Of the network of the overview, and of a cell of a tile while it runs: a U-Net of the widths
16 to 128."""


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """How a run goes about it, and what it is predicted to take.

    Attributes
    ----------
    workers : int
        Threads.
    max_nodes : int
        Most superpixels that the network sees at once.
    idle_bytes : int
        Memory of the process before it starts, and of code that its first image will load.
    graph_bytes, network_bytes, context_bytes, paint_bytes : int
        Peak of each step above that.
    disk_bytes : int
        Most that is on the disk at one time, the result with it: the tables are counted, how well
        labels and masks are compressed is a guess.
    seconds : float
        Rough, from constants, for processors of about 3 GHz of which nobody else takes any.
    """

    workers: int
    max_nodes: int
    idle_bytes: int
    graph_bytes: int
    network_bytes: int
    context_bytes: int
    paint_bytes: int
    disk_bytes: int
    seconds: float

    @property
    def peak_bytes(self) -> int:
        """Peak of the memory of the process."""
        steps = (self.graph_bytes, self.network_bytes, self.context_bytes, self.paint_bytes)
        return self.idle_bytes + max(steps)


def plan_segment(
    source: ImageSource,
    recipe: GraphRecipe,
    card: Card | None,
    *,
    workers: int,
    roi: Roi | None = None,
    results: Results | None = None,
    max_bytes: int | None = None,
) -> SegmentPlan:
    """Choose threads and parts of the graph so that memory suffices.

    Parameters
    ----------
    source : ImageSource
    recipe : GraphRecipe
    card : Card, optional
        Without a model only the graph is counted.
    workers : int
        Most threads.
    roi : (z, y, x) slices, optional
    results : Results, optional
        What is written; by default the mask alone.
    max_bytes : int, optional
        Memory of the process, all in all.

    Raises
    ------
    ResourceError
        If one thread and the smallest parts are too much; with the smallest limit that would do.
    """
    need = _Need(source, recipe, card, roi, results or Results(Path("mask.tif")))
    sizes = need.part_sizes()
    options = [(n, size) for n in range(workers, 0, -1) for size in sizes]
    for n, size in options:
        plan = need.plan(n, size)
        if max_bytes is None or plan.peak_bytes <= max_bytes:
            return plan
    least = math.ceil(need.plan(1, SMALLEST_PART).peak_bytes / 1e6)
    raise ResourceError(
        f"segmenting {source.info.shape_zyxc} (Z, Y, X, C) needs {least} MB at least, "
        f"the limit allows {(max_bytes or 0) / 1e6:.0f} MB; allow {least} MB (--max-memory), or "
        "take a region of interest (--roi)"
    )


def planned(
    info: ImageInfo, nodes_per_megapixel: float, roi: Roi | None
) -> tuple[ImagePlan, Region]:
    """Make the plan of an image as far as its shape decides it."""
    plan = shape_plan(info, nodes_per_megapixel)
    return plan, region_of(plan.blocks.basins.grid, roi)


class _Need:
    """Bytes and seconds of one image and model, for some threads and parts."""

    def __init__(
        self,
        source: ImageSource,
        recipe: GraphRecipe,
        card: Card | None,
        roi: Roi | None,
        results: Results,
    ) -> None:
        self._info, self._card, self._roi = source.info, card, roi
        self._density = recipe.nodes_per_megapixel
        self._held = source.held_bytes
        self._idle = idle_bytes()
        self._plan, self._region = planned(self._info, self._density, roi)
        self._n_pixels = math.prod(self._region.shape_zyx)
        self._n_nodes = self._density * self._n_pixels / 1e6
        self._n_classes = len(card.classes) if card else 0
        self._planes = results.n_planes(self._n_classes)
        self._held_planes = self._planes + (
            self._n_classes if results.needs_shares and results.probabilities is None else 0
        )

    def part_sizes(self) -> list[int]:
        """List the parts of the graph to choose from, the fastest first."""
        largest = PART_NODES if self._region.shape_zyx[0] == 1 else PART_NODES_3D
        n_halvings = max(0, (largest // SMALLEST_PART).bit_length() - 1)
        return [largest >> k for k in range(n_halvings + 1)]

    def plan(self, workers: int, max_nodes: int) -> SegmentPlan:
        """Predict a run."""
        contract = predicted_bytes(
            self._info, nodes_per_megapixel=self._density, workers=workers, roi=self._roi
        )
        network = self._network_bytes(workers * max_nodes)
        graph = int(_GRAPH_SHARE * contract.peak)
        kept = self._held + int(_KEPT_OF_GRAPH * graph)
        return SegmentPlan(
            workers,
            max_nodes,
            self._idle,
            self._held + graph,
            network and kept + network,
            kept + int(_KEPT_OF_NETWORK * network) + self._context_bytes if self._context else 0,
            network and kept + int(_KEPT_OF_NETWORK * network) + self._paint_bytes(workers),
            self._disk_bytes(),
            self._seconds(workers),
        )

    @property
    def _is_decoded(self) -> bool:
        return self._card is not None and self._card.decoder is not None

    @property
    def _context(self) -> ContextCard | None:
        return None if self._card is None else self._card.context

    @property
    def _context_bytes(self) -> int:
        """Rows of cells of a tile, as they are and standardised, and the tile in its network."""
        if self._context is None:
            return 0
        _, y, x = self._region.shape_zyx
        rows, columns = (-(-n // self._context.factor) for n in (y, x))
        tile = min(rows, TILE + 2 * HALO) * min(columns, TILE + 2 * HALO)
        band = 8 * self._plan.n_channels * min(rows, TILE + 2 * HALO) * columns
        strip = 2 * OVERVIEW_STRIP_PX * 2 * self._plan.n_channels
        return _CONTEXT_BYTES + max(band + _TILE_CELL_BYTES * tile, strip)

    def _network_bytes(self, most_nodes: int) -> int:
        """Count the parts that are under way, together of at most so many nodes."""
        if self._card is None:
            return 0
        seen = min(most_nodes, self._n_nodes)
        cache = min(_EDGE_CACHE_BYTES, 16 * self._n_edges * self._n_nodes)
        node = self._card.memory.bytes_per_node + (self._n_edges - _EDGES) * _EDGE_BYTES
        return int(_NETWORK_BYTES + cache + seen * node)

    @property
    def _n_edges(self) -> float:
        return _VOLUME_EDGES if self._plan.blocks.is_volume else _EDGES

    def _paint_bytes(self, workers: int) -> int:
        """Bands of two generations; maps and tiles of each thread; strips of the pyramid."""
        if self._card is None:
            return 0
        high, _, width = self._region.grid.block_zyx[0], 0, self._region.shape_zyx[2]
        strip = min(STRIP_PX, self._region.shape_zyx[1]) * width
        band = 2 * strip * min(high, self._region.shape_zyx[0]) * self._held_planes
        pyramid = _STRIPS_OF_PYRAMID * workers * strip
        block_px = math.prod(
            min(a, b)
            for a, b in zip(self._region.grid.block_zyx, self._region.grid.shape_zyx, strict=True)
        )
        thread = block_px * (2 * self._labels_bytes + 1)
        if self._is_decoded:
            blocks, n_channels = self._plan.blocks, self._plan.n_channels
            n_maps = len(pixel_map_names(n_channels, blocks.n_octaves, is_volume=blocks.is_volume))
            tile = 2 * n_channels * math.prod(blocks.tile_shape(blocks.place(0).size_zyx))
            if self._context is not None:  # beside the maps of a strip, which a deep block is
                n_maps += self._n_classes + (n_maps if self._region.grid.block_zyx[0] > 1 else 0)
            thread += block_px * (4 * n_maps + _MAP_BYTES) + tile
            band += 2 * strip_bytes(self._plan, self._region)
        return _PAINT_BYTES + max(band + workers * thread, pyramid)

    @property
    def _labels_bytes(self) -> int:
        return 4 if self._n_pixels < 2**31 else 8

    def _disk_bytes(self) -> int:
        """While tables are made of the spools of the pass, or at the end; whatever is more."""
        blocks, n_channels = self._plan.blocks, self._plan.n_channels
        names = node_feature_names(n_channels, blocks.n_octaves, is_volume=blocks.is_volume)
        node, edges = 4 * len(names) + 32, self._n_disk_edges
        spools = node + 8 * n_channels + edges / 2 * 8 * CONTACT_COLUMNS
        tables = node + 4 * n_channels + edges * (16 + 4 * (7 + n_channels))
        per_pixel = _VOLUME_LABEL_BYTES_ON_DISK if blocks.is_volume else _LABEL_BYTES_ON_DISK
        graph = self._n_nodes * tables + self._n_pixels * per_pixel * (self._density / 3000) ** 0.5
        if self._card is None:
            return int(graph + self._n_nodes * spools)
        if self._context is not None:
            cells = self._n_pixels / self._context.factor**2
            graph += cells * (4 * n_channels + 2 * self._n_classes)
        found = 4 * self._n_classes * (1 + self._n_pixel_weights) * self._n_nodes
        masks = 2 * 4 / 3 * self._planes * _MASK_BYTES_ON_DISK * self._n_pixels
        return int(graph + max(self._n_nodes * spools, found + masks))

    @property
    def _n_disk_edges(self) -> float:
        """Edges of a node, both directions counted."""
        if self._plan.blocks.is_volume:
            return _DISK_EDGES["volume"]
        return _DISK_EDGES["stack" if self._region.shape_zyx[0] > 1 else "image"]

    @property
    def _n_pixel_weights(self) -> int:
        decoder = self._card.decoder if self._card else None
        return len(decoder.columns) + decoder.n_hidden if decoder else 0

    def _seconds(self, workers: int) -> float:
        per_pixel = _VOLUME_NS if self._plan.blocks.is_volume else _GRAPH_NS
        if self._card is not None:
            per_pixel += _PAINT_NS + _WRITE_NS * self._planes
            if self._card.decoder is not None:
                per_pixel += _DECODE_NS + _HIDDEN_NS * self._card.decoder.n_hidden
        network = 0.0
        if self._card is not None:
            network = self._n_nodes * self._card.n_parameters * _NODE_PARAMETER_NS
        context = 0.0
        if self._context is not None:
            cells = self._n_pixels / self._context.factor**2
            context = cells * self._context.n_parameters * _CELL_PARAMETER_NS
        return (self._n_pixels * per_pixel + network + context) / 1e9 / workers
