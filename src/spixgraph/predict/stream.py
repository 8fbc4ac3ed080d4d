"""From an image file to a mask file, in bounded memory, resumable.

Four steps: the graph goes to a folder beside the result; the network goes over it part by part and
writes what it says of each superpixel; strips of pixels are painted and wait, compressed; the last
step makes a file with a pyramid of them. Each step finds what an earlier run has left.
"""

import hashlib
import math
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.errors import InputError
from spixgraph.files import read_json, sha256_json, write_json
from spixgraph.graph.stored_rows import StoredRows
from spixgraph.graph.stream import StreamedGraph, stream_graph
from spixgraph.graph.stream.driver import disk_error, part_of
from spixgraph.graph.stream.heap import give_back
from spixgraph.graph.stream.region import Roi
from spixgraph.io.images import ImageSource
from spixgraph.predict.card import Card
from spixgraph.predict.context import ContextMap
from spixgraph.predict.contract import SegmentPlan, plan_segment
from spixgraph.predict.driver import pixel_inputs, require_pixels
from spixgraph.predict.model import NodeModel, require_fit, warn_of_pixel_size
from spixgraph.predict.network import model_of_image, run_network
from spixgraph.predict.outputs import Results, ResultWriter
from spixgraph.predict.painting import Band, Scene, bands, paint_bands
from spixgraph.predict.steps import Steps
from spixgraph.predict.tables import FileRows, GraphTables

__all__ = ["OtherRunError", "Progress", "Segmented", "part_of", "segment_to_file"]

Progress = Callable[[str, int], None]
"""Gets the name of the step and the number of pixels done since the last call."""
_GRAPH, _RUN, _DONE = "graph.zarr", "run.json", "network.json"


class OtherRunError(InputError):
    """What is under way belongs to another image, model or region."""


@dataclass(frozen=True, slots=True)
class Segmented:
    """What was written.

    Attributes
    ----------
    shape_zyx : three int
    n_regions : int
    n_pixels : dict
        Class id -> number of its pixels.
    seconds : dict
        Per step: graph, network, context where the model has one, mask, write.
    plan : SegmentPlan
        What was predicted.
    """

    shape_zyx: tuple[int, int, int]
    n_regions: int
    n_pixels: dict[int, int]
    seconds: dict[str, float]
    plan: SegmentPlan


def segment_to_file(
    source: ImageSource,
    model: NodeModel,
    results: Results | Path,
    *,
    workers: int = 1,
    max_bytes: int | None = None,
    roi: Roi | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    steps: Steps | None = None,
) -> Segmented:
    """Segment an image of any size.

    Parameters
    ----------
    source : ImageSource
        Read once; where the model has a pixel decoder twice, with a context thrice.
    model : NodeModel
        With its card. Its graph must be one that streams: basins and their adjacency.
    results : Results or Path
        A path is that of the mask alone. What is under way is in the folder ``<mask>.part``.
    workers : int
        Threads; the result does not depend on it.
    max_bytes : int, optional
        Memory of the process, all in all. Fewer threads and smaller parts of the graph are taken
        to keep it.
    roi : (z, y, x) slices, optional
        See `graph.stream.stream_graph`.
    resume : bool
        Go on with ``<mask>.part``.
    progress : callable, optional
    steps : Steps, optional
        Gets the seconds of each step.

    Returns
    -------
    Segmented

    Raises
    ------
    InputError
        If the image does not suit the model, a setting is out of range, or ``<mask>.part`` is
        there and `resume` is False.
    OtherRunError
        If ``<mask>.part`` belongs to another run.
    StoredDataError
        If the image cannot be read, or this version computes other features.
    ResourceError
        If `max_bytes` would not do, or the disk is full.
    """
    card = model.card
    if card is None or not model.recipe.is_streamed:
        raise InputError("only models of basins and their adjacency graph are streamed")
    require_fit(source.info, card)
    warn_of_pixel_size(source.info, card)
    if isinstance(results, Path):
        results = Results(results)
    plan = plan_segment(
        source, model.recipe, card, workers=workers, roi=roi, results=results, max_bytes=max_bytes
    )
    folder = part_of(results.mask)
    _claim(folder, _identity(source, card, results, roi), resume=resume)
    run = _Run(source, model, card, folder, plan, roi, progress or (lambda step, n: None))
    with _kept_if_useful(folder), ExitStack() as stack:
        done = run.all_steps(results, steps or Steps(), stack)
    shutil.rmtree(folder)
    return done


def _identity(source: ImageSource, card: Card, results: Results, roi: Roi | None) -> dict[str, Any]:
    """Tell runs apart by what decides their result; of the pixels, those of three corners."""
    z, y, x, _ = source.info.shape_zyxc
    corners = [(0, 0, 0), (z // 2, y // 2, x // 2), (z - 1, max(0, y - 64), max(0, x - 64))]
    blocks = [source.read(*(slice(c, c + 64) for c in corner)) for corner in corners]
    hashes = [hashlib.sha256(block.tobytes()).hexdigest() for block in blocks]
    return {
        "image": sha256_json([repr(source.info), hashes]),
        "model": sha256_json(card.model_dump(mode="json")),
        "results": results.names(),
        "roi": None if roi is None else [[s.start, s.stop] for s in roi],
    }


def _claim(folder: Path, identity: dict[str, Any], *, resume: bool) -> None:
    """Begin a folder, or go on with one of the same run."""
    if folder.exists() and not resume:
        raise InputError(
            f"{folder} is of a run that was stopped; go on with it by --resume (resume=True), or "
            "delete it"
        )
    if folder.exists() and read_json(folder / _RUN) != identity:
        raise OtherRunError(
            f"{folder} is of another image, model or region; run that again, or delete it"
        )
    folder.mkdir(exist_ok=True)
    write_json(folder / _RUN, identity)


@contextmanager
def _kept_if_useful(folder: Path) -> Iterator[None]:
    """On an error keep the folder where that saves time; a full disk gets its message."""
    try:
        yield
    except BaseException as error:  # Ctrl-C too
        if {p.name for p in folder.iterdir()} <= {_RUN}:
            shutil.rmtree(folder)
        if isinstance(error, OSError):
            raise disk_error(error, folder) from error
        raise


class _Run:
    """One image on its way to a mask."""

    def __init__(
        self,
        source: ImageSource,
        model: NodeModel,
        card: Card,
        folder: Path,
        plan: SegmentPlan,
        roi: Roi | None,
        progress: Progress,
    ) -> None:
        self._source, self._model, self._card, self._folder = source, model, card, folder
        self._plan, self._roi, self._progress = plan, roi, progress

    def all_steps(self, results: Results, steps: Steps, stack: ExitStack) -> Segmented:
        """Run the steps; `stack` closes what they open."""
        with self._step("graph", steps):
            graph = self._graph()
        require_pixels(graph.plan, self._model)
        logits, weights = self._rows(graph, stack)
        with self._step("network", steps):
            model = self._network(graph, logits, weights)
        with self._step("context", steps) if model.context else nullcontext():
            context = self._context(graph, model, stack)
        scene = self._scene(graph, model, logits, weights, context)
        writer = ResultWriter(
            results,
            graph.shape_zyx,
            self._card,
            pixel_size_um=self._source.info.pixel_size_um,
            folder=self._folder,
            workers=self._plan.workers,
        )
        with self._step("mask", steps):
            self._paint(scene, writer, results)
        with self._step("write", steps):
            n_pixels = writer.finish()
        return Segmented(graph.shape_zyx, graph.n_regions, n_pixels, steps.seconds, self._plan)

    @contextmanager
    def _step(self, name: str, steps: Steps) -> Iterator[None]:
        """Time a step, and give its memory back at the end: steps must not add up."""
        with steps(name):
            yield
            give_back()

    def _graph(self) -> StreamedGraph:
        path = self._folder / _GRAPH
        if path.exists():
            graph = StreamedGraph.open(path)
            self._progress("graph", math.prod(graph.shape_zyx))
            return graph
        return stream_graph(
            self._source,
            path,
            nodes_per_megapixel=self._model.recipe.nodes_per_megapixel,
            workers=self._plan.workers,
            roi=self._roi,
            resume=True,
            progress=lambda n: self._progress("graph", n),
        )

    def _rows(self, graph: StreamedGraph, stack: ExitStack) -> tuple[FileRows, FileRows | None]:
        """Open the tables of what the network says."""
        shape = (graph.n_regions, len(self._model.class_ids))
        logits = FileRows(self._folder / "logits", shape, np.float32)
        stack.callback(logits.close)
        if self._model.pixel_scaling is None:
            return logits, None
        shape_of_weights = (*shape, self._model.n_pixel_weights)
        weights = FileRows(self._folder / "weights", shape_of_weights, np.float32)
        stack.callback(weights.close)
        return logits, weights

    def _network(
        self, graph: StreamedGraph, logits: FileRows, weights: FileRows | None
    ) -> NodeModel:
        """Fill the tables; return the model of the image."""
        tables = GraphTables.of_streamed(graph)
        model = model_of_image(tables, self._model)
        if (self._folder / _DONE).exists():
            self._progress("network", math.prod(graph.shape_zyx))
            return model
        share = math.prod(graph.shape_zyx) / max(1, graph.n_regions)
        run_network(
            tables,
            model,
            logits,
            weights,
            max_nodes=self._plan.max_nodes,
            workers=self._plan.workers,
            progress=lambda n: self._progress("network", round(n * share)),
        )
        write_json(self._folder / _DONE, {"n_regions": graph.n_regions})
        return model

    def _context(
        self, graph: StreamedGraph, model: NodeModel, stack: ExitStack
    ) -> ContextMap | None:
        """Look at the overview, in files: made anew by each run, since it takes little."""
        if model.context is None:
            return None

        def room(name: str, shape: tuple[int, ...], dtype: type) -> FileRows:
            rows = FileRows(self._folder / name, shape, dtype)
            stack.callback(rows.close)
            return rows

        n_pixels = math.prod(graph.shape_zyx)
        return model.context.look(
            self._source,
            graph.region.box,
            room,
            lambda share: self._progress("context", round(share * n_pixels)),
        )

    def _scene(
        self,
        graph: StreamedGraph,
        model: NodeModel,
        logits: FileRows,
        weights: FileRows | None,
        context: ContextMap | None,
    ) -> Scene:
        centroid, n_pixels = (StoredRows.of(graph.path / n) for n in ("centroid_px", "n_pixels"))
        inputs = pixel_inputs(model, weights, centroid, n_pixels, context)
        return Scene(
            self._source,
            graph.plan,
            graph.region,
            graph.first_node,
            graph.block_labels,
            logits,
            model.class_ids,
            inputs,
            model.temperature,
        )

    def _paint(self, scene: Scene, writer: ResultWriter, results: Results) -> None:
        """Paint the bands that lack; a band is written while the next is painted."""
        todo = list(bands(scene.region))
        while todo and writer.holds(todo[0]):
            self._progress("mask", _n_pixels(todo.pop(0), scene))
        with ThreadPoolExecutor(self._plan.workers) as pool:
            writes: list[Future[None]] = []
            painting = paint_bands(
                scene, todo, pool=pool,
                shares=results.needs_shares, outlines=results.outlines is not None,
            )  # fmt: skip
            for band, painted in painting:
                for write in writes:
                    write.result()
                writes = writer.write(band, painted, pool)
                self._progress("mask", painted.mask.size)
            for write in writes:
                write.result()


def _n_pixels(band: Band, scene: Scene) -> int:
    return (band.z.stop - band.z.start) * (band.y.stop - band.y.start) * scene.region.shape_zyx[2]
