"""The tables of a report as text, for HTML and Markdown alike."""

from dataclasses import dataclass
from typing import Any

from spixgraph.evaluate.report import Report
from spixgraph.evaluate.worst import worst_classes, worst_images

UNKNOWN = "n/a"


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, column heads and rows of plain text; the first cell of a row names it."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def model_table(report: Report) -> Table:
    """Give the main table: models against scores and costs."""
    head = (
        *("model", *_score_heads(report)),
        *("train s", "train peak memory", "inference MP/s", "inference peak memory", "parameters"),
    )
    rows = tuple(
        (
            model_label(report, model),
            *_score_cells(model["metrics"]),
            number(model["train"]["seconds"]),
            _memory(model["train"]),
            number(speed_mp_s(model)),
            _memory(model["inference"]),
            f"{model['n_parameters']:,}",
        )
        for model in report["models"]
    )
    return Table(f"Models on the {report['split']} split, counts pooled over images", head, rows)


def mean_table(report: Report) -> Table:
    """Give the scores where each image weighs the same."""
    head = ("model", "accuracy", "macro IoU", "macro F1", _boundary_head(report))
    rows = tuple(
        (model_label(report, model), *map(score, _headline(model["mean_over_images"])))
        for model in report["models"]
    )
    return Table("The same scores as a mean over images", head, rows)


def ceiling_table(report: Report) -> Table:
    """Give what the superpixels allow."""
    head = ("superpixels of", *_score_heads(report), "nodes", "nodes per MP")
    rows = tuple(
        (
            recipe,
            *_score_cells(ceiling),
            f"{ceiling['n_nodes']:,}",
            number(ceiling["nodes_per_megapixel"]),
        )
        for recipe, ceiling in sorted(report["ceiling"].items())
    )
    return Table("Ceiling: the best single class per superpixel", head, rows)


def budget_table(report: Report) -> Table:
    """Give the wrong pixels of each graph model, by where they come from."""
    rows = [
        (model_label(report, model), *_budget_cells(model["error_budget"]))
        for model in report["models"]
        if _known_budget(model)
    ]
    caption = "Error budget: parts of the annotated pixels"
    return Table(caption, ("model", *_BUDGET_HEADS), tuple(rows))


def worst_image_table(report: Report) -> Table:
    """Give the images that each model is worst at, and where their errors come from."""
    rows = []
    for model in report["models"]:
        images = {image["id"]: image for image in model["per_image"]}
        for name in worst_images(model):
            image = images[name]
            parts = _budget_cells(image["error_budget"]) if _known_budget(image) else (UNKNOWN,) * 4
            rows.append((model_label(report, model), name, score(image["macro_iou"]), *parts))
    caption = "Worst images of each model; parts of the annotated pixels of the image"
    return Table(caption, ("model", "image", "macro IoU", *_BUDGET_HEADS), tuple(rows))


def worst_class_table(report: Report) -> Table:
    """Give the classes that each model is worst at, and what they are taken for."""
    rows = []
    for model in report["models"]:
        for found in worst_classes(model, report["class_names"]):
            missed = UNKNOWN if found["missed"] is None else f"{100 * found['missed']:.1f} %"
            taken_for = found["taken_for"] or UNKNOWN
            label = model_label(report, model)
            rows.append((label, found["name"], score(found["iou"]), missed, taken_for))
    head = ("model", "class", "IoU", "true pixels missed", "most of them taken for")
    return Table("Worst classes of each model", head, tuple(rows))


def calibration_table(report: Report) -> Table:
    """Give the calibration error of each model that gives probabilities."""
    rows = []
    for model in report["models"]:
        found = model.get("calibration")
        if found and found["ece"] is not None:
            bins = [b for b in found["bins"] if b["n"]]
            total = sum(b["n"] for b in bins)
            means = (sum(b["n"] * b[k] for b in bins) / total for k in ("confidence", "accuracy"))
            rows.append((model_label(report, model), score(found["ece"]), *map(score, means)))
    head = ("model", "expected calibration error", "mean confidence", "accuracy")
    return Table("Calibration, every annotated pixel alike", head, tuple(rows))


_BUDGET_HEADS = ("superpixels lose", "won back", "classifier loses", "wrong in all")


def _known_budget(entry: dict[str, Any]) -> bool:
    budget = entry.get("error_budget")
    return bool(budget and budget["annotated"])


def _budget_cells(budget: dict[str, int]) -> tuple[str, ...]:
    """Write the parts of an error budget."""
    lost, won, missed = (budget[k] for k in ("superpixels", "won_back", "classifier"))
    parts = (lost, -won, missed, lost - won + missed)
    return tuple(f"{100 * part / budget['annotated']:+.2f} %" for part in parts)


def image_table(report: Report, model: dict[str, Any]) -> Table:
    """Give the scores of one model on each image."""
    rows = tuple((image["id"], *_score_cells(image)) for image in model["per_image"])
    caption = f"{model_label(report, model)}: scores per image"
    return Table(caption, ("image", *_score_heads(report)), rows)


def class_table(report: Report) -> Table:
    """Give the annotated pixels of each class."""
    pixels = report["images"]["pixels_per_class"]
    rows = tuple(
        (name, f"{count:,}", f"{100 * count / max(1, sum(pixels)):.1f} %")
        for name, count in zip(report["class_names"], pixels, strict=True)
    )
    return Table("Classes in the truth", ("class", "annotated pixels", "share"), rows)


def model_label(report: Report, model: dict[str, Any]) -> str:
    """Name a model; the seed only where it tells two models apart."""
    names = [other["name"] for other in report["models"]]
    alone = names.count(model["name"]) == 1
    return model["name"] if alone else f"{model['name']}, seed {model['seed']}"


def selection_sentence(report: Report) -> str:
    """Say which model was selected and why."""
    selected = report["selected"]
    if selected is None:
        return "No model has been selected yet."
    return f"Selected: {selected['name']}, seed {selected['seed']}. {selected['reason']}"


def speed_mp_s(model: dict[str, Any]) -> float | None:
    """Megapixels per second from image to mask, superpixels and graph included."""
    seconds, megapixels = model["inference"]["seconds"], model["inference"]["megapixels"]
    return megapixels / seconds if seconds and megapixels is not None else None


def score(value: float | None) -> str:
    """Write a ratio 0..1."""
    return UNKNOWN if value is None else f"{value:.3f}"


def number(value: float | None) -> str:
    """Write a figure with about three digits."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def memory(n_bytes: int) -> str:
    """Write bytes in MiB or GiB."""
    mib = n_bytes / 2**20
    return f"{mib:,.0f} MiB" if mib < 1024 else f"{mib / 1024:.2f} GiB"


def _memory(cost: dict[str, Any]) -> str:
    """Write the peak of the host, and of the GPU where one was used."""
    host, gpu = cost["peak_rss_bytes"], cost["peak_gpu_bytes"]
    text = UNKNOWN if host is None else memory(host)
    return f"{text} + {memory(gpu)} GPU" if gpu else text


def _score_heads(report: Report) -> tuple[str, ...]:
    """Heads of the columns that `_score_cells` fills."""
    per_class = (f"IoU {name}" for name in report["class_names"])
    return ("accuracy", "macro IoU", "macro F1", _boundary_head(report), *per_class)


def _boundary_head(report: Report) -> str:
    return f"boundary F1 ({report['boundary_tolerance_px']} px)"


def _score_cells(metrics: dict[str, Any]) -> tuple[str, ...]:
    """Cells of the scores of one row."""
    return tuple(map(score, [*_headline(metrics), *metrics["iou_per_class"]]))


def _headline(metrics: dict[str, Any]) -> list[float | None]:
    """Give the scores that are one number."""
    return [metrics[key] for key in ("accuracy", "macro_iou", "macro_f1", "boundary_f1")]
