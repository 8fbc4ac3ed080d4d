"""Stages `superpixels` and `graphs`: from images to label images to region graphs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spixgraph.config.params import RecipeName
from spixgraph.files import read_json, write_json
from spixgraph.graph.build import with_targets
from spixgraph.graph.region_graph import RegionGraph, load_graph, save_graph
from spixgraph.io.masks import read_mask
from spixgraph.predict.image_graph import graph_of_labels, labels_of_image
from spixgraph.stages.prepare import PreparedItem, load_prepared, open_item
from spixgraph.stages.reuse import code_sha256, keep_or_make
from spixgraph.stages.run import Run
from spixgraph.superpixels.store import load_labels, save_labels

_DISPATCH = "predict/image_graph.py"


def make_superpixels(run: Run, recipe_name: RecipeName) -> None:
    """Cut every image into superpixels; `<id>.zarr` per image."""
    recipe = run.params.recipe(recipe_name)
    prepared = load_prepared(run)
    items = {item.id: item for item in prepared.items}

    def make(name: str, path: Path) -> None:
        with open_item(run, items[name]) as source:
            save_labels(labels_of_image(source, recipe), path)

    made_from = {
        "params": recipe.superpixels.model_dump(mode="json"),
        "code": code_sha256("superpixels", "io", _DISPATCH),
    }
    wanted = {name: {**made_from, **_image_key(item)} for name, item in items.items()}
    timed = _Timed(run, "superpixels", recipe_name, make)
    keep_or_make(run.layout.labels(recipe_name), wanted, timed, suffix=".zarr")


def make_graphs(run: Run, recipe_name: RecipeName) -> None:
    """Build the region graph of every image, with targets from its mask; `<id>.zarr` per image."""
    recipe = run.params.recipe(recipe_name)
    prepared = load_prepared(run)
    items = {item.id: item for item in prepared.items}
    labels_index = read_json(run.layout.labels(recipe_name) / "index.json")

    def make(name: str, path: Path) -> None:
        labels = load_labels(run.layout.labels(recipe_name) / f"{name}.zarr")
        with open_item(run, items[name]) as source:
            graph = graph_of_labels(source, labels, recipe, image_hash=items[name].image_sha256)
        mask = read_mask(run.source / items[name].mask)
        save_graph(with_targets(graph, labels, mask, prepared.n_classes), path)

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


def load_graphs(
    run: Run, recipe_name: RecipeName, items: tuple[PreparedItem, ...]
) -> list[RegionGraph]:
    """Read the graphs of these items."""
    return [load_graph(run.layout.graphs(recipe_name) / f"{item.id}.zarr") for item in items]


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
