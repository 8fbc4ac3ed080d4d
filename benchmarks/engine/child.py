"""One measurement in a process of its own: reads a JSON request, prints a JSON answer.

    python -m benchmarks.engine.child '{"kind": "run", "method": "spixgraph", ...}'

Peak memory is that above the process with all code loaded and compiled.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from benchmarks.engine import methods
from benchmarks.engine.mosaic import ALL
from benchmarks.engine.stages import measure_stages
from spixgraph.arrays import NOT_ANNOTATED
from spixgraph.evaluate.counts import confusion, scores
from spixgraph.graph.stream.heap import give_back
from spixgraph.io.dataset import read_dataset
from spixgraph.io.images import open_image
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.io.masks import read_mask
from spixgraph.io.source import ImageInfo
from spixgraph.resources import PeakMemory
from spixgraph.superpixels.basins import basin_labels
from spixgraph.superpixels.quality import ceiling_mask

Answer = dict[str, Any]
_WARM_PX = 600
_TOLERANCE, _MORE_TRIES = 0.05, 2


def run(request: Answer) -> Answer:
    """Measure one run of a method, after one on a small image."""
    method, nodes, threads = request["method"], request["nodes"], request["threads"]
    with _warm(request) as folder:
        out = folder / "graph.zarr"
        give_back()
        cpu, begin = time.process_time(), time.perf_counter()
        with PeakMemory() as memory:
            methods.run(method, Path(request["image"]), out, nodes, threads)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        n_bytes = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_bytes": memory.above_baseline_bytes,
        "baseline_bytes": memory.baseline_rss_bytes,
        "written_bytes": n_bytes,
    }


def stages(request: Answer) -> Answer:
    """Measure the stages of the engine."""
    with _warm(request) as folder:
        return measure_stages(Path(request["image"]), folder / "graph.zarr", request["nodes"])


@contextmanager
def _warm(request: Answer) -> Iterator[Path]:
    """Yield a folder beside the image, after a run on a part of it has loaded all code."""
    image = Path(request["image"])
    with tempfile.TemporaryDirectory(dir=image.parent) as name:
        folder = Path(name)
        with open_image(image) as source:
            small = source.read(*(slice(0, _WARM_PX),) * 3)[0, ..., 0]
        tifffile.imwrite(folder / "warm.tif", small)
        method, threads = request.get("method", methods.OURS), request.get("threads", 1)
        methods.run(method, folder / "warm.tif", folder / "w.zarr", request["nodes"], threads)
        yield folder


def ceiling(request: Answer) -> Answer:
    """Find the macro IoU of the best label per superpixel, of each method and budget.

    Images are of train and val, spread evenly over the set. Opponents are asked again for more or
    fewer superpixels until they are within 5 % of the budget, twice at most; SLIC of skimage is the
    better one of two compactnesses.
    """
    dataset = read_dataset(Path(request["folder"]))
    items = [item for item in dataset.items if item.split != "test"] or list(dataset.items)
    wanted = request["images"]
    items = items[:: max(1, len(items) // wanted)][:wanted]
    found: dict[str, dict[str, list[list[float]]]] = {}
    for item in items:
        with open_image(item.image, pixel_size_um=item.pixel_size_um) as source:
            pixels = read_scaled(source, intensity_limits(source), *ALL)
            info = source.info
        truth = read_mask(item.mask)
        for nodes in request["nodes"]:
            for method, labels in _candidates(pixels, info, nodes, request["threads"]).items():
                best, n = max((_macro_iou(one, truth), int(one.max()) + 1) for one in labels)
                row = [best, n / truth.size * 1e6]
                found.setdefault(method, {}).setdefault(str(nodes), []).append(row)
    return {
        "n_images": len(items),
        "macro_iou": _means(found, 0),
        "nodes_per_megapixel": _means(found, 1),
    }


def _candidates(pixels: Any, info: ImageInfo, nodes: float, threads: int) -> dict[str, list[Any]]:
    """Label an image by each method that can."""
    size = info.spacing_zyx
    ours = basin_labels(pixels, nodes_per_megapixel=nodes, spacing_zyx=size, workers=threads)
    found = {methods.OURS: [ours]}
    for name, (labels, _) in methods.OTHERS.items():
        is_volume = len(pixels) > 1 or pixels.shape[3] > 1
        if not methods.is_there(name) or (is_volume and name != "skimage SLIC"):
            continue
        found[name] = [_within_budget(labels, pixels, nodes, threads)]
    tighter = partial(methods.skimage_slic, compactness=methods.COMPACTNESS[1])
    found["skimage SLIC"].append(_within_budget(tighter, pixels, nodes, threads))
    return found


def _within_budget(labels: methods.Labels, pixels: Any, nodes: float, threads: int) -> Any:
    """Ask for as many superpixels as make the method give `nodes` per megapixel."""
    wanted, asked = nodes * pixels[..., 0].size / 1e6, nodes
    for _ in range(_MORE_TRIES + 1):
        found = labels(pixels, asked, threads)
        ratio = wanted / (int(found.max()) + 1)
        if abs(ratio - 1) <= _TOLERANCE:
            break
        asked *= ratio
    return found


def _macro_iou(labels: Any, truth: Any) -> float:
    n_classes = int(truth[truth != NOT_ANNOTATED].max()) + 1
    best = ceiling_mask(labels, truth, n_classes)
    return float(scores(confusion(truth, best, n_classes=n_classes)).macro_iou)


def _means(found: dict[str, dict[str, list[list[float]]]], column: int) -> Answer:
    return {
        method: {n: float(np.mean([row[column] for row in rows])) for n, rows in by_nodes.items()}
        for method, by_nodes in found.items()
    }


KINDS = {"run": run, "stages": stages, "ceiling": ceiling}


def main() -> None:
    """Answer the request of the command line."""
    request = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps(KINDS[request["kind"]](request)) + "\n")


if __name__ == "__main__":
    main()
