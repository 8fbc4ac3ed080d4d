"""One measurement in a process of its own: reads a JSON request, prints a JSON answer.

    python -m benchmarks.cost.child '{"kind": "train", "model": "gnn", "set": ..., "params": ...}'

Peak memory is that above the process with all code loaded, after the same on a small image.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.segment import make_model
from spixgraph.config.params import ModelName, Params
from spixgraph.graph.stream.heap import give_back
from spixgraph.io.images import open_image
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.io.masks import write_mask
from spixgraph.nets.cnn import auto_window, build_cnn, predict_cnn_rows
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.driver import open_model
from spixgraph.predict.stream import segment_to_file
from spixgraph.resources import PeakMemory
from spixgraph.stages.graphs import make_graphs, make_superpixels
from spixgraph.stages.layout import Layout
from spixgraph.stages.prepare import load_prepared, prepare
from spixgraph.stages.run import Run, recipe_of
from spixgraph.stages.training import fit_model
from spixgraph.train import node_lesson
from spixgraph.train.devices import pick_device
from spixgraph.train.gpu_memory import peak_gpu_bytes, process_gpu_bytes, reset_gpu_peak

Answer = dict[str, Any]
Phases = dict[str, Answer]


@contextmanager
def measured(phases: Phases, name: str) -> Iterator[None]:
    """Note seconds, processor seconds and peak memory of a block under `name`."""
    give_back()
    reset_gpu_peak()
    cpu, begin = time.process_time(), time.perf_counter()
    with PeakMemory() as memory:
        yield
    phases[name] = {
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_bytes": memory.peak_rss_bytes,
        "baseline_rss_bytes": memory.baseline_rss_bytes,
        "gpu_tensor_bytes": peak_gpu_bytes(),
        "gpu_process_bytes": process_gpu_bytes(),
    }


def train(request: Answer) -> Answer:
    """Make the graphs of a data set and take some steps; twice, the second time is measured."""
    _train(Path(request["small_set"]), request)
    idle = _idle_bytes()
    return {**_train(Path(request["set"]), request), "idle_bytes": idle}


def _train(folder: Path, request: Answer) -> Answer:
    model: ModelName = request["model"]
    phases: Phases = {}
    with tempfile.TemporaryDirectory(dir=request["work"]) as name:
        run = Run(Layout(Path(name)), folder, Params.model_validate(request["params"]))
        prepared = prepare(run)
        if model != "cnn":
            with measured(phases, "superpixels"):
                make_superpixels(run, recipe_of(model))
            with measured(phases, "graphs"):
                make_graphs(run, recipe_of(model))
        with _steps() as steps, measured(phases, "training"):
            fit_model(run, prepared, model, 0)
        pixels = sum(i.n_pixels for i in load_prepared(run).split("train"))
    return {"phases": phases, "steps": steps, "n_pixels": pixels,
            "nodes_per_megapixel": prepared.nodes_per_megapixel}  # fmt: skip


@contextmanager
def _steps() -> Iterator[list[list[float]]]:
    """Note (processor, wall) seconds at the end of each step; let graphs be walked once each."""
    ends: list[list[float]] = []

    def note(*_: Any) -> None:
        ends.append([time.process_time(), time.perf_counter()])

    usual, node_lesson.MIN_STEPS = node_lesson.MIN_STEPS, 1
    hook = register_optimizer_step_post_hook(note)
    try:
        yield ends
    finally:
        hook.remove()
        node_lesson.MIN_STEPS = usual


def bundle(request: Answer) -> Answer:
    """Write a model of graphs with random weights: what it takes is what a trained one takes."""
    settings = request["params"]["train"][request["model"]]
    with open_image(Path(request["image"])) as source:
        pixels = source.read(*(slice(None),) * 3)[0, ..., 0]
    make_model(
        Path(request["bundle"]), pixels, request["nodes"], kind=request["model"],
        members=settings["members"], hidden=settings["hidden"], layers=settings["layers"],
        pixel_hidden=settings["pixel_hidden"],
    )  # fmt: skip
    return {}


def infer(request: Answer) -> Answer:
    """Segment an image from file to file, after a small one."""
    segment = _unet(request) if request["model"] == "cnn" else _graph_model(request)
    phases: Phases = {}
    with tempfile.TemporaryDirectory(dir=request["work"]) as name:
        segment(Path(request["small_image"]), Path(name) / "small.tif")
        idle = _idle_bytes()
        with measured(phases, "inference"):
            segment(Path(request["image"]), Path(name) / "mask.tif")
    with open_image(Path(request["image"])) as source:
        _, y, x, _ = source.info.shape_zyxc
    return {"phases": phases, "n_pixels": y * x, "idle_bytes": idle}


Segment = Callable[[Path, Path], None]


def _graph_model(request: Answer) -> Segment:
    """Open the product: superpixels, graph, network in parts, decoder, mask, block by block."""
    model = open_model(load_bundle(Path(request["bundle"])), device="cpu", threads=1)

    def segment(image: Path, mask: Path) -> None:
        with open_image(image) as source:
            segment_to_file(source, model, mask, workers=1)

    return segment


def _unet(request: Answer) -> Segment:
    """Open the opponent as the evaluation does: windows that overlap, blended by bands of rows."""
    settings = Params.model_validate(request["params"]).train.cnn
    net = build_cnn(n_dims=2, n_channels=1, n_classes=2, channels=settings.channels)
    window = auto_window([(1, 2**20, 2**20)], n_dims=2, levels=len(settings.channels))
    device = pick_device(request["params"]["train"]["device"])
    everything = slice(None)

    def segment(image: Path, mask: Path) -> None:
        with open_image(image) as source:
            limits = intensity_limits(source)
            found = predict_cnn_rows(
                net,
                lambda rows: read_scaled(source, limits, everything, rows, everything),
                source.info.shape_zyxc[:3],
                window_zyx=window,
                overlap=request["overlap"],
                device=device,
            )
        write_mask(mask, found)

    return segment


def _idle_bytes() -> int:
    give_back()
    with PeakMemory() as memory:
        return memory.baseline_rss_bytes


def main() -> None:
    """Answer the request."""
    request = json.loads(sys.argv[1])
    answer = {"train": train, "infer": infer, "bundle": bundle}[request["kind"]](request)
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
