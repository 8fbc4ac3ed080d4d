"""Stages `superpixels` and `graphs`: from images to label images to region graphs."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.arrays import LabelsZYX
from spixgraph.config.params import RecipeName
from spixgraph.files import code_sha256, read_json, write_json
from spixgraph.graph.image_samples import SAMPLES, keep_taught, save_taught
from spixgraph.graph.pixel_samples import open_samples
from spixgraph.graph.region_graph import RegionGraph, load_graph, save_graph
from spixgraph.graph.stored_graph import StoredGraph, StoredSamples
from spixgraph.graph.stream import StreamedGraph, hold_graph, in_memory, stream_graph
from spixgraph.graph.targets import with_targets
from spixgraph.io.changed import Change, changed_part
from spixgraph.io.masks import MaskBands, whole_mask
from spixgraph.predict.image_graph import graph_of_labels, labels_of_image
from spixgraph.stages.prepare import PreparedItem, load_prepared, open_item, open_mask, recipe_for
from spixgraph.stages.reuse import keep_or_make
from spixgraph.stages.run import Run
from spixgraph.superpixels.store import load_labels, save_labels

_DISPATCH = "predict/image_graph.py"
MAX_NODE_FACTOR = 2.0
"""Graphs of changed parts have so many times the usual nodes per pixel, or one over it."""


def make_superpixels(run: Run, recipe_name: RecipeName) -> None:
    """Cut every image into superpixels; `<id>.zarr` per image.

    Basins come with their region graph, made in the same pass; SLIC labels stand alone.
    """
    recipe = recipe_for(run, recipe_name)
    items = {item.id: item for item in load_prepared(run).items}

    def make(name: str, path: Path) -> None:
        with open_item(run, items[name]) as source:
            if recipe_name == "paper":
                save_labels(labels_of_image(source, recipe), path)
            else:
                stream_graph(
                    source,
                    path,
                    nodes_per_megapixel=recipe.nodes_per_megapixel,
                    workers=os.cpu_count() or 1,
                )

    rooms = ("superpixels", "io", _DISPATCH)
    made_from = {
        "params": recipe.superpixels.model_dump(mode="json"),
        "code": code_sha256(*rooms, *(() if recipe_name == "paper" else ("graph",))),
    }
    wanted = {name: {**made_from, **_image_key(item)} for name, item in items.items()}
    timed = _Timed(run, "superpixels", recipe_name, make)
    keep_or_make(run.layout.labels(recipe_name), wanted, timed, suffix=".zarr")


def make_graphs(run: Run, recipe_name: RecipeName) -> None:
    """Add to each region graph what its mask says; `<id>.zarr` per image.

    With targets, and for basins with the pixels that the decoder learns from.
    """
    recipe = recipe_for(run, recipe_name)
    prepared = load_prepared(run)
    items = {item.id: item for item in prepared.items}
    labels_index = read_json(run.layout.labels(recipe_name) / "index.json")

    def make(name: str, path: Path) -> None:
        item = items[name]
        with open_item(run, item) as source, open_mask(run, item) as mask:
            if recipe_name == "paper":
                labels = read_labels(run, recipe_name, name)
                graph = graph_of_labels(source, labels, recipe, image_hash=item.image_sha256)
                truth = whole_mask(mask)
                save_graph(with_targets(graph, labels, truth, prepared.n_classes), path)
            else:
                made = StreamedGraph.open(run.layout.labels(recipe_name) / f"{name}.zarr")
                save_taught(source, made, MaskBands(mask), prepared.n_classes, path)

    made_from = {
        "params": recipe.graph.model_dump(mode="json"),
        "n_classes": prepared.n_classes,
        "code": code_sha256("graph", "io", _DISPATCH),
    }
    wanted = {
        name: {
            **made_from,
            **_image_key(item),
            "mask": item.mask_sha256,
            "labels": labels_index[name],
        }
        for name, item in items.items()
    }
    timed = _Timed(run, "graphs", recipe_name, make)
    keep_or_make(run.layout.graphs(recipe_name), wanted, timed, suffix=".zarr")


def read_labels(run: Run, recipe_name: RecipeName, name: str) -> LabelsZYX:
    """Read the superpixels of one image."""
    path = run.layout.labels(recipe_name) / f"{name}.zarr"
    return load_labels(path if recipe_name == "paper" else path / "labels")


def load_graphs(
    run: Run, recipe_name: RecipeName, items: tuple[PreparedItem, ...]
) -> list[RegionGraph]:
    """Read the graphs of these items."""
    return [load_graph(run.layout.graphs(recipe_name) / f"{item.id}.zarr") for item in items]


def open_graphs(
    run: Run, items: tuple[PreparedItem, ...]
) -> tuple[list[StoredGraph], list[StoredSamples]]:
    """Open the basin graphs of these items, and what the pixel decoder learns from."""
    paths = [run.layout.graphs("rag") / f"{item.id}.zarr" for item in items]
    return (
        [StoredGraph.open(path) for path in paths],
        [open_samples(path / SAMPLES) for path in paths],
    )


def make_changed_graphs(
    run: Run,
    items: tuple[PreparedItem, ...],
    graphs: Sequence[StoredGraph],
    folder: Path,
    *,
    n_each: int,
    seed: int,
) -> tuple[list[StoredGraph], list[StoredSamples]]:
    """Make graphs of changed parts of images, with half to twice the nodes, and their samples.

    They lie in `folder`, and are not kept: parts are small and quickly made.

    Parameters
    ----------
    run : Run
    items : tuple of PreparedItem
    graphs : sequence of StoredGraph
        Of the images, with targets; each part lies around an annotated superpixel.
    folder : Path
    n_each : int
        Parts of each image that is annotated anywhere.
    seed : int
    """
    usual, n_classes = recipe_for(run, "rag").nodes_per_megapixel, load_prepared(run).n_classes
    workers = os.cpu_count() or 1
    made = []
    for number, (item, graph) in enumerate(zip(items, graphs, strict=True)):
        known = np.asarray(graph.centroid_px[:])[graph.annotated > 0]
        rng = np.random.default_rng((seed, number))
        with open_item(run, item) as source, open_mask(run, item) as mask:
            image, bands = in_memory(source), MaskBands(mask)
            for copy in range(n_each if len(known) else 0):
                centre = known[rng.integers(len(known))]
                part, truth = changed_part(image, bands, Change.drawn(rng), centre)
                density = usual * MAX_NODE_FACTOR ** rng.uniform(-1, 1)
                held = hold_graph(part, nodes_per_megapixel=density, workers=workers)
                path = folder / f"{number}-{copy}"
                made.append(keep_taught(part, held, truth, n_classes, path))
    return [graph for graph, _ in made], [samples for _, samples in made]


def _image_key(item: PreparedItem) -> dict[str, Any]:
    return {"image": item.image_sha256, "pixel_size_um": item.pixel_size_um}


class _Timed:
    """Call `make` and note the seconds of each image beside those of earlier runs."""

    def __init__(self, run: Run, step: str, recipe: str, make: Callable[[str, Path], None]) -> None:
        self._path = run.layout.cost(step, recipe)
        self._make = make

    def __call__(self, name: str, path: Path) -> None:
        start = time.perf_counter()
        self._make(name, path)
        seconds = read_json(self._path) if self._path.is_file() else {}
        write_json(self._path, {**seconds, name: time.perf_counter() - start})
