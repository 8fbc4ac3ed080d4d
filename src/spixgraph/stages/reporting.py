"""The report: scores from the stored evaluation, costs from this workspace, pictures."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spixgraph.arrays import UInt8
from spixgraph.config.params import ModelName
from spixgraph.evaluate.colours import default_colours
from spixgraph.evaluate.html import PictureKey, html_page
from spixgraph.evaluate.markdown import report_markdown
from spixgraph.evaluate.pictures import panel, png_bytes
from spixgraph.evaluate.report import Report, build_report, with_selection
from spixgraph.evaluate.results import InferenceCost, ModelResult, TrainCost
from spixgraph.evaluate.tables import speed_mp_s
from spixgraph.evaluate.worst import extremes, worst_classes, worst_images
from spixgraph.files import atomic_path, canonical_json, read_json
from spixgraph.io.masks import read_mask
from spixgraph.stages.evaluation import (
    counted_recipes,
    load_ceiling,
    load_confidence,
    load_images,
    load_results,
    total_budget,
    total_calibration,
    trained_models,
)
from spixgraph.stages.graphs import read_labels
from spixgraph.stages.prepare import (
    Prepared,
    PreparedItem,
    load_prepared,
    scaled_image,
    true_mask,
)
from spixgraph.stages.run import Run, recipe_of
from spixgraph.train.tracking import known_run

log = logging.getLogger(__name__)

_TRACKED_SCORES = ("accuracy", "macro_iou", "macro_f1", "boundary_f1")

_NOTES = (
    "Scores are from pixel counts pooled over the images of the split; not annotated pixels count "
    "nowhere.",
    "Peak memory is that of the model's own process, interpreter and imports included; the part "
    "held before the work is `baseline_rss_bytes` in report.json.",
    "Inference runs from the image file to the mask; for graph models that includes superpixels "
    "and features. Training seconds are those of the network; superpixels and graphs of the "
    "training images are in `train.graph_seconds`.",
)


def write_report(run: Run, out: Path | None = None) -> Report:
    """Write report.json, .html and .md of the test split to `out`, or else to `reports/`."""
    out = out or run.layout.reports
    report, pictures = _report(run)
    if run.layout.selected.is_file():
        chosen = read_json(run.layout.selected)
        report = with_selection(
            report, name=chosen["name"], seed=chosen["seed"], reason=chosen["reason"]
        )
    pages = {key: png_bytes(rgb) for key, rgb in pictures.items()}
    _write(out / "report.json", canonical_json(report))
    _write(out / "report.html", html_page(report, pages))
    _write(out / "report.md", report_markdown(report))
    return report


def track_evaluation(run: Run) -> None:
    """Add test scores, inference costs and pictures to the MLflow run of each training.

    Nothing is selected yet: `models/selected.json` may be of an earlier run with other models.
    """
    report, pictures = _report(run)
    for entry in report["models"]:
        name, seed = entry["name"], entry["seed"]
        run_id = _cost(run, "train", name, seed).get("run_id")
        if run_id is None:
            log.warning("%s seed %d was not trained here: its MLflow run is unknown", name, seed)
            continue
        scores = {f"test_{key}": entry["metrics"][key] for key in _TRACKED_SCORES}
        if entry["calibration"]:
            scores["test_ece"] = entry["calibration"]["ece"]
        costs = {f"inference_{key}": value for key, value in entry["inference"].items()}
        costs["graph_seconds"] = entry["train"]["graph_seconds"]
        speed = speed_mp_s(entry)
        known = {
            k: v for k, v in (scores | costs | {"inference_mp_s": speed}).items() if v is not None
        }
        tracked = known_run(run_id)
        tracked.log_metrics(known)
        for (model, number, image), rgb in pictures.items():
            if (model, number) == (name, seed):
                tracked.log_picture(f"{image}.png", rgb)


def _report(run: Run) -> tuple[Report, dict[PictureKey, UInt8]]:
    """Build the report of the test split, and draw its pictures."""
    prepared = load_prepared(run)
    models = [_model_result(run, model, seed) for model, seed in trained_models(run)]
    colours = run.params.export.colours or default_colours(prepared.n_classes)
    report = build_report(
        dataset=run.name,
        split="test",
        class_names=prepared.class_names,
        models=models,
        ceilings=[load_ceiling(run, recipe, "test") for recipe in counted_recipes(run)],
        colours=colours,
        notes=[*_NOTES, *prepared.warnings],
    )
    for entry in report["models"]:
        images = load_images(run, entry["name"], entry["seed"], "test")
        budget, calibration = total_budget(images), total_calibration(images)
        entry["error_budget"] = budget and asdict(budget)
        entry["calibration"] = calibration and calibration.summary()
        entry["worst_images"] = worst_images(entry)
        entry["worst_classes"] = worst_classes(entry, prepared.class_names)
        for counted, image in zip(images, entry["per_image"], strict=True):
            image["error_budget"] = counted.get("error_budget")
        entry["train"]["graph_seconds"] = graph_seconds(run, prepared, entry["name"])
    return report, _pictures(run, prepared, report, colours)


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def _model_result(run: Run, model: ModelName, seed: int) -> ModelResult:
    n_parameters, per_image = load_results(run, model, seed, "test")
    train = _cost(run, "train", model, seed)
    inference = _cost(run, "inference", model, seed).get("test", {})
    steps = inference.get("steps", {})
    graph_seconds = [steps[s] for s in ("superpixels", "graph") if s in steps]
    both = ("seconds", "cpu_seconds", "peak_rss_bytes", "baseline_rss_bytes", "peak_gpu_bytes")
    return ModelResult(
        name=model,
        seed=seed,
        n_parameters=n_parameters,
        per_image=per_image,
        train=TrainCost(**{k: train.get(k) for k in both}),
        inference=InferenceCost(
            megapixels=inference.get("megapixels"),
            superpixel_seconds=sum(graph_seconds) if graph_seconds else None,
            **{k: inference.get(k) for k in both},
        ),
    )


def _cost(run: Run, step: str, model: str, seed: int) -> dict[str, Any]:
    path = run.layout.cost(step, f"{model}-seed{seed}")
    return read_json(path) if path.is_file() else {}


def graph_seconds(run: Run, prepared: Prepared, model: str) -> float | None:
    """Seconds for superpixels and graphs of the training and validation images."""
    if model == "cnn":
        return 0.0
    total = 0.0
    for step in ("superpixels", "graphs"):
        path = run.layout.cost(step, recipe_of(model))
        seconds = read_json(path) if path.is_file() else {}
        ids = [item.id for item in prepared.split("train", "val")]
        if not all(name in seconds for name in ids):
            return None
        total += sum(seconds[name] for name in ids)
    return total


def _pictures(
    run: Run, prepared: Prepared, report: Report, colours: tuple[str, ...]
) -> dict[PictureKey, UInt8]:
    """Draw the best and the worst images of each model."""
    items = {item.id: item for item in prepared.items}
    pictures = {}
    for entry in report["models"]:
        for name in sorted(name for _, name in extremes(entry)):
            pictures[entry["name"], entry["seed"], name] = _panel(
                run, items[name], entry["name"], entry["seed"], colours
            )
    return pictures


def _panel(run: Run, item: PreparedItem, model: str, seed: int, colours: tuple[str, ...]) -> UInt8:
    recipe = recipe_of(model)
    labels = None if model == "cnn" else read_labels(run, recipe, item.id)
    prediction = read_mask(run.layout.masks(model, seed) / f"{item.id}.tif")
    truth = true_mask(run, item)
    confidence = load_confidence(run, model, seed, item.id)
    return panel(scaled_image(run, item), labels, prediction, truth, colours, confidence)
