"""The report: one JSON value with the scores and costs of all models on one split.

Scores are computed from counts pooled over the images of the split, so that each annotated pixel
weighs the same; `mean_over_images` stands beside them, where each image weighs the same. Both
depend on the counts alone. Unknown figures and scores of absent classes are None.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from spixgraph.arrays import Int64
from spixgraph.errors import InputError
from spixgraph.evaluate.boundary import BoundaryCounts
from spixgraph.evaluate.colours import default_colours, rgb_table
from spixgraph.evaluate.counts import mean_of_known, scores
from spixgraph.evaluate.results import Ceiling, ImageResult, ModelResult

Report: TypeAlias = dict[str, Any]
"""What `build_report` returns: JSON values only, equal to itself after a trip through a file."""


def build_report(
    *,
    dataset: str,
    split: str,
    class_names: Sequence[str],
    models: Sequence[ModelResult],
    ceilings: Sequence[Ceiling] = (),
    colours: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Report:
    """Put results of models and ceilings of superpixels into one report.

    Parameters
    ----------
    dataset, split : str
    class_names : sequence of str
        One per class id.
    models : sequence of ModelResult
        At least one; all on the same images in the same order, so that they compare.
    ceilings : sequence of Ceiling
        One per graph recipe, on those images too.
    colours : sequence of str
        ``#rrggbb`` per class; empty takes `default_colours`.
    notes : sequence of str
        Sentences shown under the tables.

    Returns
    -------
    dict
        ``dataset, split, ceiling: {recipe: {scores, n_nodes, nodes_per_megapixel, ...}},
        models: [{name, seed, n_parameters, metrics: {accuracy, macro_iou, macro_f1, boundary_f1,
        iou_per_class}, mean_over_images, per_image, train: {seconds, peak_rss_bytes,
        peak_gpu_bytes, ...}, inference: {seconds, megapixels, peak_rss_bytes, peak_gpu_bytes,
        ...}}], images: {n, annotated_megapixels, pixels_per_class}, class_names, class_colours,
        boundary_tolerance_px, selected, notes``. `iou_per_class` has the order of `class_names`.

    Raises
    ------
    InputError
        If models or ceilings were counted on different images, classes or annotated pixels, or
        a (name, seed) or recipe occurs twice.
    """
    _require_comparable(models, ceilings, class_names)
    palette = tuple(colours) or default_colours(len(class_names))
    if len(rgb_table(palette)) != len(class_names):
        raise InputError(f"{len(palette)} colours for {len(class_names)} classes; give one each")
    return {
        "dataset": dataset,
        "split": split,
        "class_names": list(class_names),
        "class_colours": list(palette),
        "images": _summary(models[0].per_image),
        "boundary_tolerance_px": models[0].per_image[0].boundary.tolerance_px,
        "ceiling": {ceiling.recipe: _ceiling_entry(ceiling) for ceiling in ceilings},
        "models": [_model_entry(model) for model in models],
        "selected": None,
        "notes": list(notes),
    }


def pooled_metrics(per_image: Sequence[ImageResult]) -> dict[str, Any]:
    """Score the counts of all images together: the `metrics` of a report, and nothing else.

    Returns
    -------
    dict
        ``accuracy, macro_iou, macro_f1, boundary_f1`` and ``iou_per_class``, a list by class id;
        None where there is nothing to judge.
    """
    if not per_image:
        raise InputError("there are no images to score; the split is empty")
    ratios = scores(_pooled_confusion(per_image))
    boundary = _pooled_boundary(per_image)
    iou = [_known(value) for value in ratios.iou_per_class]
    return {
        "accuracy": _known(ratios.accuracy),
        "macro_iou": _known(ratios.macro_iou),
        "macro_f1": _known(ratios.macro_f1),
        "boundary_f1": _known(boundary.f1),
        "iou_per_class": iou,
    }


def with_selection(report: Report, *, name: str, seed: int, reason: str) -> Report:
    """Return a copy of `report` that says which model was selected, and why."""
    if (name, seed) not in [(model["name"], model["seed"]) for model in report["models"]]:
        raise InputError(f"selected model {name} with seed {seed} is not in the report")
    return {**report, "selected": {"name": name, "seed": seed, "reason": reason}}


def _require_comparable(
    models: Sequence[ModelResult], ceilings: Sequence[Ceiling], class_names: Sequence[str]
) -> None:
    """Raise `InputError` unless all results were counted on the same annotated pixels."""
    if not models or not models[0].per_image:
        raise InputError("a report needs at least one model and one image; the split is empty")
    labelled: list[tuple[str, ModelResult | Ceiling]] = [
        *((f"model {m.name} seed {m.seed}", m) for m in models),
        *((f"ceiling {c.recipe}", c) for c in ceilings),
    ]
    names = [name for name, _ in labelled]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{', '.join(twice)} occurs more than once in the report")
    reference = models[0].per_image
    if len({image.id for image in reference}) != len(reference):
        raise InputError(f"{names[0]} holds an image id more than once")
    for name, result in labelled:
        _require_same_truth(name, result.per_image, reference, len(class_names))


def _require_same_truth(
    name: str,
    per_image: Sequence[ImageResult],
    reference: Sequence[ImageResult],
    n_classes: int,
) -> None:
    """Raise `InputError` unless ids, class counts, true pixels and true borders agree."""
    ids, expected = [r.id for r in per_image], [r.id for r in reference]
    if ids != expected:
        raise InputError(f"{name} has images {ids}, the first model {expected}; score one split")
    for ours, theirs in zip(per_image, reference, strict=True):
        if len(ours.confusion) != n_classes:
            raise InputError(
                f"{name}, image {ours.id}: confusion of {len(ours.confusion)} classes "
                f"for {n_classes} class names"
            )
        if _truth_of(ours) != _truth_of(theirs):
            raise InputError(
                f"{name}, image {ours.id}: true pixels per class, border pixels and tolerance are "
                f"{_truth_of(ours)}, of the first model {_truth_of(theirs)}; "
                "count all models against the same mask"
            )


def _truth_of(image: ImageResult) -> tuple[list[int], int, int]:
    """Give what depends on the truth alone."""
    boundary = image.boundary
    return image.confusion.sum(axis=1).tolist(), boundary.n_truth, boundary.tolerance_px


def _summary(per_image: Sequence[ImageResult]) -> dict[str, Any]:
    """Describe the annotated pixels of the split."""
    pixels = _pooled_confusion(per_image).sum(axis=1)
    return {
        "n": len(per_image),
        "annotated_megapixels": int(pixels.sum()) / 1e6,
        "pixels_per_class": pixels.tolist(),
    }


def _model_entry(model: ModelResult) -> dict[str, Any]:
    """Give one entry of `models`."""
    return {
        "name": model.name,
        "seed": model.seed,
        "n_parameters": model.n_parameters,
        **_scored(model.per_image),
        "train": asdict(model.train),
        "inference": asdict(model.inference),
    }


def _ceiling_entry(ceiling: Ceiling) -> dict[str, Any]:
    """Give one value of `ceiling`: its scores at the top, for there are no costs."""
    scored = _scored(ceiling.per_image)
    return {
        **scored.pop("metrics"),
        **scored,
        "n_nodes": ceiling.n_nodes,
        "megapixels": ceiling.megapixels,
        "nodes_per_megapixel": ceiling.n_nodes / ceiling.megapixels,
    }


def _scored(per_image: Sequence[ImageResult]) -> dict[str, Any]:
    """Score the images together, each on its own, and the mean of that."""
    each = [pooled_metrics([image]) for image in per_image]
    names = [name for name in each[0] if name != "iou_per_class"]
    mean = {name: _known(_mean_of(metrics[name] for metrics in each)) for name in names}
    return {
        "metrics": pooled_metrics(per_image),
        "mean_over_images": mean,
        "confusion": _pooled_confusion(per_image).tolist(),
        "per_image": [
            {"id": image.id, **metrics, **_counts_of(image)}
            for image, metrics in zip(per_image, each, strict=True)
        ],
    }


def _mean_of(values: Any) -> float:
    """Mean of the values that are not None."""
    return mean_of_known(math.nan if value is None else value for value in values)


def _counts_of(image: ImageResult) -> dict[str, Any]:
    """Give the counts that the scores of an image follow from."""
    return {"confusion": image.confusion.tolist(), "boundary": asdict(image.boundary)}


def _pooled_confusion(per_image: Sequence[ImageResult]) -> Int64:
    """Add up the confusions."""
    return np.sum([image.confusion for image in per_image], axis=0, dtype=np.int64)


def _pooled_boundary(per_image: Sequence[ImageResult]) -> BoundaryCounts:
    """Add up the boundary counts."""
    first, *rest = (image.boundary for image in per_image)
    return sum(rest, start=first)


def _known(value: float) -> float | None:
    """Turn NaN into None, which JSON has."""
    return None if math.isnan(value) else value
