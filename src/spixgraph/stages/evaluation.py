"""Stage `evaluate`: masks, counts and costs of every trained network on val and test."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.arrays import MaskZYX
from spixgraph.config.params import ModelName, RecipeName
from spixgraph.evaluate.boundary import BoundaryCounts, boundary_counts
from spixgraph.evaluate.budget import ErrorBudget, error_budget
from spixgraph.evaluate.calibration import Calibration, calibration_counts
from spixgraph.evaluate.counts import confusion
from spixgraph.evaluate.report import pooled_metrics
from spixgraph.evaluate.results import Ceiling, ImageResult
from spixgraph.files import atomic_path, read_json, write_json
from spixgraph.io.masks import read_mask, write_mask
from spixgraph.io.records import Split
from spixgraph.resources import PeakMemory
from spixgraph.stages.graphs import read_labels
from spixgraph.stages.prepare import Prepared, PreparedItem, load_prepared, open_item, true_mask
from spixgraph.stages.run import RECIPES, Run, alone, recipe_of
from spixgraph.superpixels.quality import ceiling_mask

log = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = ("val", "test")
_CONFIDENCE = ".confidence.tif"  # beside the masks


def evaluate(run: Run) -> None:
    """Predict, count, and write `models/evaluation` and `models/metrics.json`."""
    prepared = load_prepared(run)
    metrics: dict[str, Any] = {}
    with atomic_path(run.layout.evaluation) as folder:
        folder.mkdir()
        for model, seed in trained_models(run):
            log.info("predicting with %s, seed %d", model, seed)
            alone(predict_masks, run, model, seed)
            results = count_model(run, prepared, model, seed)
            write_json(folder / f"{model}-seed{seed}.json", results)
            metrics.setdefault(model, {})[f"seed{seed}"] = _headlines(results)
        for recipe in counted_recipes(run):
            write_json(folder / f"ceiling-{recipe}.json", count_ceiling(run, prepared, recipe))
    write_json(run.layout.metrics, metrics)


def trained_models(run: Run) -> list[tuple[ModelName, int]]:
    """List model and seed of each checkpoint that the settings ask for."""
    models: tuple[ModelName, ...] = ("gnn", "cnn", "paper", "mlp", "forest", "boosting")
    pairs = [(model, seed) for model in models for seed in run.params.train.seeds]
    return [(m, s) for m, s in pairs if run.layout.checkpoint(m, s).is_dir()]


def counted_recipes(run: Run) -> list[RecipeName]:
    """List the recipes whose superpixels were made."""
    return [recipe for recipe in RECIPES if run.layout.labels(recipe).is_dir()]


def predict_masks(run: Run, model: ModelName, seed: int) -> None:
    """Write the masks of val and test, and what they cost; call it in a process of its own.

    What predicts is imported here: the other functions of this file serve stages without torch.
    """
    from spixgraph.stages.models import open_checkpoint
    from spixgraph.train.gpu_memory import peak_gpu_bytes, reset_gpu_peak

    prepared = load_prepared(run)
    segment = open_checkpoint(run, model, seed)
    folder = run.layout.masks(model, seed)
    costs = {}
    with atomic_path(folder) as part:
        for split in SPLITS:
            reset_gpu_peak()
            start_cpu = time.process_time()
            with PeakMemory() as memory:
                seconds: dict[str, float] = {}
                for item in prepared.split(split):
                    start = time.perf_counter()
                    with open_item(run, item) as source:
                        mask, steps = segment(source)
                    seconds["total"] = seconds.get("total", 0) + time.perf_counter() - start
                    for step, value in steps.items():
                        seconds[step] = seconds.get(step, 0) + value
                    write_mask(part / f"{item.id}.tif", mask)
            costs[split] = {
                "seconds": seconds["total"],
                "cpu_seconds": time.process_time() - start_cpu,
                "steps": seconds,
                "megapixels": sum(item.n_pixels for item in prepared.split(split)) / 1e6,
                "peak_rss_bytes": memory.peak_rss_bytes,
                "baseline_rss_bytes": memory.baseline_rss_bytes,
                "peak_gpu_bytes": peak_gpu_bytes(),
            }
        _write_confidence(run, prepared, model, seed, part)
    write_json(run.layout.cost("inference", f"{model}-seed{seed}"), costs)


def _write_confidence(
    run: Run, prepared: Prepared, model: ModelName, seed: int, folder: Path
) -> None:
    """Write how sure the model is of each pixel; a second pass, so that no cost counts it."""
    from spixgraph.stages.models import open_confidence

    confidence_of = open_confidence(run, model, seed)
    for item in prepared.split(*SPLITS):
        with open_item(run, item) as source:
            write_mask(folder / f"{item.id}{_CONFIDENCE}", confidence_of(source))


def load_confidence(run: Run, model: str, seed: int, name: str) -> MaskZYX | None:
    """Read the probability of the predicted class of each pixel, 255 is certain; None without."""
    path = run.layout.masks(model, seed) / f"{name}{_CONFIDENCE}"
    return read_mask(path) if path.is_file() else None


def load_results(
    run: Run, model: str, seed: int, split: Split
) -> tuple[int, tuple[ImageResult, ...]]:
    """Read the number of parameters and the counts of one model."""
    stored = read_json(run.layout.evaluation / f"{model}-seed{seed}.json")
    return stored["n_parameters"], results_of(stored["splits"][split])


def load_ceiling(run: Run, recipe: str, split: Split) -> Ceiling:
    """Read the ceiling of one recipe."""
    stored = read_json(run.layout.evaluation / f"ceiling-{recipe}.json")[split]
    return Ceiling(
        recipe=recipe,
        per_image=results_of(stored["images"]),
        n_nodes=stored["n_nodes"],
        megapixels=stored["megapixels"],
    )


def count_model(run: Run, prepared: Prepared, model: ModelName, seed: int) -> dict[str, Any]:
    """Count the masks of one model: its name, seed, size, and the images of each split."""
    masks = run.layout.masks(model, seed)
    checkpoint = read_json(run.layout.checkpoint(model, seed) / "checkpoint.json")
    return {
        "name": model,
        "seed": seed,
        "n_parameters": checkpoint["n_parameters"],
        "splits": {
            split: [
                _count_image(run, prepared, item, model, seed, read_mask(masks / f"{item.id}.tif"))
                for item in prepared.split(split)
            ]
            for split in SPLITS
        },
    }


def _count_image(
    run: Run, prepared: Prepared, item: PreparedItem, model: ModelName, seed: int, mask: MaskZYX
) -> dict[str, Any]:
    """Count one predicted mask; with superpixels, say what their share in the errors is."""
    counted = _as_json(_count(run, prepared, item, mask))
    truth = true_mask(run, item)
    if model != "cnn":
        best = ceiling_mask(read_labels(run, recipe_of(model), item.id), truth, prepared.n_classes)
        counted["error_budget"] = asdict(error_budget(truth, best, mask))
    confidence = load_confidence(run, model, seed, item.id)
    if confidence is not None:
        counted["calibration"] = calibration_counts(truth, mask, confidence).counts()
    return counted


def load_images(run: Run, model: str, seed: int, split: Split) -> list[dict[str, Any]]:
    """Read what was counted of each image of a split."""
    images: list[dict[str, Any]]
    images = read_json(run.layout.evaluation / f"{model}-seed{seed}.json")["splits"][split]
    return images


def total_calibration(images: Sequence[dict[str, Any]]) -> Calibration | None:
    """Add up the stored calibration of images, None where one has none."""
    if not all("calibration" in image for image in images):
        return None
    first, *rest = (Calibration.of_counts(image["calibration"]) for image in images)
    return sum(rest, start=first)


def total_budget(images: Sequence[dict[str, Any]]) -> ErrorBudget | None:
    """Add up the stored error budgets of images, None where one has none."""
    if not all("error_budget" in image for image in images):
        return None
    first, *rest = (ErrorBudget(**image["error_budget"]) for image in images)
    return sum(rest, start=first)


def count_ceiling(run: Run, prepared: Prepared, recipe: RecipeName) -> dict[str, Any]:
    """Count the best mask of one class per superpixel, of each split."""
    counted: dict[str, Any] = {}
    for split in SPLITS:
        images, n_nodes = [], 0
        for item in prepared.split(split):
            labels = read_labels(run, recipe, item.id)
            truth = true_mask(run, item)
            best = ceiling_mask(labels, truth, prepared.n_classes)
            images.append(_as_json(_count(run, prepared, item, best)))
            n_nodes += int(labels.max()) + 1
        megapixels = sum(item.n_pixels for item in prepared.split(split)) / 1e6
        counted[split] = {"images": images, "n_nodes": n_nodes, "megapixels": megapixels}
    return counted


def _count(run: Run, prepared: Prepared, item: PreparedItem, mask: MaskZYX) -> ImageResult:
    truth = true_mask(run, item)
    tolerance = run.params.evaluate.boundary_tolerance_px
    return ImageResult(
        id=item.id,
        confusion=confusion(truth, mask, n_classes=prepared.n_classes),
        boundary=boundary_counts(truth, mask, tolerance_px=tolerance),
    )


def _as_json(result: ImageResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "confusion": result.confusion.tolist(),
        "boundary": asdict(result.boundary),
    }


def results_of(stored: Sequence[dict[str, Any]]) -> tuple[ImageResult, ...]:
    """Turn stored counts of images back into values."""
    return tuple(
        ImageResult(
            id=image["id"],
            confusion=np.array(image["confusion"], np.int64),
            boundary=BoundaryCounts(**image["boundary"]),
        )
        for image in stored
    )


def _headlines(results: dict[str, Any]) -> dict[str, Any]:
    scored = {s: pooled_metrics(results_of(images)) for s, images in results["splits"].items()}
    names = ("accuracy", "macro_iou", "macro_f1", "boundary_f1")
    return {split: {name: metrics[name] for name in names} for split, metrics in scored.items()}
