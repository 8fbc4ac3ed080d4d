"""The report as one HTML page that needs nothing but itself: no script, no outside file."""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any, TypeAlias
from urllib.parse import quote

from spixgraph.evaluate.reliability import reliability_figure
from spixgraph.evaluate.report import Report
from spixgraph.evaluate.tables import (
    Table,
    budget_table,
    calibration_table,
    ceiling_table,
    class_table,
    image_table,
    mean_table,
    memory,
    model_label,
    model_table,
    score,
    selection_sentence,
    worst_class_table,
    worst_image_table,
)
from spixgraph.evaluate.worst import extremes

PictureKey: TypeAlias = tuple[str, int, str]
"""(model name, seed, image id)."""

_STYLE = """
:root { color-scheme: light dark; --line: #c5cbd3; --soft: #f2f4f7; --text: #16191d;
  --page: #ffffff; --note: #4d5661; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d454f; --soft: #1e242b; --text: #e6e9ed; --page: #12161a; --note: #a8b1bc; } }
body { margin: 0 auto; padding: 1rem; max-width: 84rem; background: var(--page);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
.wide:focus-visible { outline: 3px solid #56b4e9; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0.3rem 0; color: var(--note); }
th, td { padding: 0.35rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
thead th { background: var(--soft); vertical-align: bottom; white-space: normal; min-width: 4rem; }
tr > :first-child { text-align: left; }
tbody th { font-weight: 600; }
figure { margin: 1rem 0; }
figcaption, .note { color: var(--note); }
.panel { width: 100%; min-width: 44rem; height: auto; display: block; }
.swatch { display: inline-block; width: 0.9em; height: 0.9em; margin-right: 0.4em;
  border: 1px solid var(--line); vertical-align: -0.1em; }
details { margin: 0.7rem 0; }
summary { cursor: pointer; }
"""

_PANEL = (
    "image | superpixels (graph models) | prediction | truth | errors | uncertainty (graph models)"
)


def html_page(report: Report, pictures: Mapping[PictureKey, bytes | str] | None = None) -> str:
    """Write the page.

    Parameters
    ----------
    report : dict
        From `build_report`, or read back from its JSON.
    pictures : mapping of (model name, seed, image id) to bytes or str
        A PNG, which goes into the page, or the path of a file relative to the page. Shown are
        the best image and the three worst of each model; others are not looked at.

    Returns
    -------
    str
        The same for the same input. All names are escaped.
    """
    title = f"{report['dataset']}: segmentation of the {report['split']} split"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _data_section(report),
        _model_section(report),
        _ceiling_section(report),
        _calibration_section(report),
        _worst_section(report),
        _picture_section(report, pictures or {}),
        _image_section(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _data_section(report: Report) -> str:
    """Say what was segmented."""
    images = report["images"]
    text = f"{images['n']} images, {images['annotated_megapixels']:.3g} annotated megapixels"
    swatches = [_swatch(colour) for colour in report["class_colours"]]
    return f"<h2>Data</h2>\n{_paragraph(text + '.')}\n{_table(class_table(report), swatches)}"


def _model_section(report: Report) -> str:
    """Give the main table, the selection and how to read the figures."""
    notes = [
        "Scores come from counts pooled over all images of the split: each annotated pixel weighs "
        "the same. Macro means are over the classes that occur, background included.",
        "MP/s is the whole way from image to mask; for graph models that includes superpixels "
        f"and graph. Memory is the peak of the process{_baseline(report)}.",
        *report["notes"],
    ]
    return "\n".join(
        [
            "<h2>Models</h2>",
            f"<p><strong>{escape(selection_sentence(report))}</strong></p>",
            _table(model_table(report)),
            *(_paragraph(note, "note") for note in notes),
            f"<details><summary>Mean over images</summary>\n{_table(mean_table(report))}</details>",
        ]
    )


def _baseline(report: Report) -> str:
    """Say what part of the peaks is interpreter and imports."""
    costs = [model[part] for model in report["models"] for part in ("train", "inference")]
    known = [c["baseline_rss_bytes"] for c in costs if c["baseline_rss_bytes"] is not None]
    if not known:
        return ""
    span = " to ".join(dict.fromkeys((memory(min(known)), memory(max(known)))))
    return f", of which interpreter and imports take {span}"


def _ceiling_section(report: Report) -> str:
    """Give the ceiling; nothing where no superpixels were judged."""
    if not report["ceiling"]:
        return ""
    text = (
        "The mask that gives each superpixel its most frequent true class. No model that gives "
        "one class per superpixel can pass its accuracy; the other scores are of the same mask."
    )
    parts = [f"<h2>Ceiling</h2>\n{_paragraph(text)}\n{_table(ceiling_table(report))}"]
    if (budget := budget_table(report)).rows:
        parts.append(_table(budget))
    return "\n".join(parts)


def _calibration_section(report: Report) -> str:
    """Say how honest the probabilities are; nothing where no model gave any."""
    if not (table := calibration_table(report)).rows:
        return ""
    text = (
        "Probability of the predicted class of each pixel against how often it is right, in 15 "
        "bins. Graph networks divide their values by a temperature that was fitted on the "
        "validation split; it changes no class."
    )
    figures = [
        reliability_figure(model["calibration"], model_label(report, model))
        for model in report["models"]
        if model.get("calibration") and model["calibration"]["ece"] is not None
    ]
    return "\n".join(["<h2>Calibration</h2>", _paragraph(text), _table(table), *figures])


def _worst_section(report: Report) -> str:
    """Name the images and classes that each model is worst at."""
    images, classes = worst_image_table(report), worst_class_table(report)
    return "\n".join(["<h2>Worst images and classes</h2>", _table(images), _table(classes)])


def _picture_section(report: Report, pictures: Mapping[PictureKey, bytes | str]) -> str:
    """Show the best and the worst images of each model."""
    figures: list[str] = []
    for model in report["models"]:
        for kind, image_id in extremes(model):
            picture = pictures.get((model["name"], model["seed"], image_id))
            if picture is not None:
                figures.append(_figure(report, model, kind, image_id, picture))
    if not figures:
        return ""
    explain = _paragraph(
        f"Best image and worst images of each model by macro IoU. Tiles: {_PANEL}; where it is "
        "white, the model is unsure and its mask worth a look."
    )
    return "\n".join(["<h2>Pictures</h2>", explain, *figures])


def _figure(
    report: Report, model: dict[str, Any], kind: str, image_id: str, picture: bytes | str
) -> str:
    """Give one picture with its caption."""
    macro_iou = next(i["macro_iou"] for i in model["per_image"] if i["id"] == image_id)
    label = model_label(report, model)
    caption = f"{label}, {kind.lower()}: image {image_id}, macro IoU {score(macro_iou)}"
    alt = f"{kind} image of {label}, {image_id}, as tiles: {_PANEL}"
    source = (
        "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
        if isinstance(picture, bytes)
        else quote(picture)
    )
    image = f'<img class="panel" src="{source}" alt="{escape(alt)}">'
    return (
        f"<figure>{_scrolling(image, caption)}<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _image_section(report: Report) -> str:
    """Fold the scores of each image away."""
    folded = [
        f"<details><summary>{escape(model_label(report, model))}</summary>\n"
        f"{_table(image_table(report, model))}</details>"
        for model in report["models"]
    ]
    return "\n".join(["<h2>Images</h2>", *folded])


def _table(table: Table, marks: list[str] | None = None) -> str:
    """Write a table that scrolls by itself; `marks` is markup before the name of each row."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    rows = [
        f'<tr><th scope="row">{mark}{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for mark, row in zip(marks or [""] * len(table.rows), table.rows, strict=True)
    ]
    markup = (
        f"<table>\n<caption>{escape(table.caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>"
    )
    return _scrolling(markup, table.caption)


def _scrolling(markup: str, label: str) -> str:
    """Wrap what may be wider than the screen, so that a keyboard can scroll it too."""
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(label)}">{markup}</div>'
    )


def _paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def _swatch(colour: str) -> str:
    return f'<span class="swatch" style="background:{escape(colour)}" aria-hidden="true"></span>'
