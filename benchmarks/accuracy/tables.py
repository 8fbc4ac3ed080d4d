"""Tables and pictures of the benchmark, from its cells."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from spixgraph.evaluate.tables import UNKNOWN, Table, number, score, speed_mp_s
from spixgraph.files import atomic_path

MODELS = ("gnn", "cnn", "mlp", "forest", "boosting", "paper")
_COLOURS = {
    "gnn": "#0072b2",
    "cnn": "#d55e00",
    "mlp": "#009e73",
    "forest": "#cc79a7",
    "boosting": "#e69f00",
    "paper": "#999999",
}

Entry = dict[str, Any]
Group = dict[str, Any]
"""The cells of one data set as `models`, and the best of each `ceiling`."""
Figure = Callable[[Entry], float | None]


def accuracy_table(reports: Sequence[Group]) -> Table:
    """Macro IoU of each model, and what the GNN gains on the others."""
    rows = tuple(
        (
            report["dataset"],
            *(_spread(report, model, macro_iou) for model in MODELS),
            _difference(report, macro_iou, "cnn"),
            _difference(report, macro_iou, "mlp"),
            _difference(report, boundary_f1, "cnn"),
            score(report["ceiling"].get("rag", {}).get("macro_iou")),
        )
        for report in reports
    )
    head = ("macro IoU on test", *MODELS, "gnn - cnn", "gnn - mlp", "boundary F1, gnn - cnn")
    return Table("Accuracy", (*head, "one class per superpixel at best"), rows)


def cost_table(reports: Sequence[Group]) -> Table:
    """Time and memory of the GNN as parts of the U-Net's."""
    figures = {
        "training time": train_seconds,
        "to the selected epoch": selected_seconds,
        "processor time to it": selected_processor_seconds,
        "training memory": _memory("train"),
        "inference time per MP": inference_seconds,
        "inference memory": _memory("inference"),
    }
    rows = tuple(
        (report["dataset"], *(_ratio(report, figure) for figure in figures.values()))
        for report in reports
    )
    return Table("Cost, GNN over U-Net", ("ratio", *figures), rows)


def train_seconds(entry: Entry) -> float | None:
    """Seconds from images to the trained network, graphs included.

    None for a training that was stopped and went on: they may hold days of other work.
    """
    if entry["train"].get("cpu_seconds", 0) is None:
        return None
    parts = entry["train"]["seconds"], entry["train"].get("graph_seconds")
    return None if None in parts else sum(parts)


def selected_seconds(entry: Entry) -> float | None:
    """Seconds from images to the epoch whose weights are kept, graphs included."""
    total, curve = train_seconds(entry), entry["train"].get("curve")
    if total is None or not curve:
        return None
    return total - curve[-1][1] + _seconds_to_the_best(curve)


def selected_processor_seconds(entry: Entry) -> float | None:
    """Processor seconds of all threads to that epoch, graphs left out.

    What comes after the last epoch, as the network of the overview of a GNN does, counts whole.
    Unlike `selected_seconds` they hardly depend on what else the machine did.
    """
    total, curve = entry["train"].get("cpu_seconds"), entry["train"].get("curve")
    if total is None or not curve:
        return None
    after_the_best = float(curve[-1][1]) - _seconds_to_the_best(curve)
    return float(total) * (1 - after_the_best / float(entry["train"]["seconds"]))


def _seconds_to_the_best(curve: Sequence[Sequence[float]]) -> float:
    """Seconds to the first epoch of the highest score on val."""
    _, seconds, _ = max(curve, key=lambda record: record[2])
    return seconds


def inference_seconds(entry: Entry) -> float | None:
    """Seconds per megapixel from image to mask."""
    speed = speed_mp_s(entry)
    return None if speed is None else 1 / speed


def _memory(step: str) -> Figure:
    def above_baseline(entry: Entry) -> float | None:
        peak, idle = entry[step]["peak_rss_bytes"], entry[step]["baseline_rss_bytes"]
        return None if peak is None or idle is None else float(peak - idle)

    return above_baseline


def macro_iou(entry: Entry) -> float | None:
    """Per pixel, on test."""
    value: float | None = entry["metrics"]["macro_iou"]
    return value


def boundary_f1(entry: Entry) -> float | None:
    """On test, within the tolerance of the settings."""
    value: float | None = entry["metrics"]["boundary_f1"]
    return value


def _values(report: Group, model: str, figure: Figure) -> list[float]:
    """Figures of all seeds of a model that are known."""
    found = [figure(entry) for entry in report["models"] if entry["name"] == model]
    return [value for value in found if value is not None]


def _spread(report: Group, model: str, figure: Figure) -> str:
    values = _values(report, model, figure)
    if not values:
        return UNKNOWN
    text = score(mean(values))
    return f"{text} ({(max(values) - min(values)) / 2:.3f})" if len(values) > 1 else text


def _difference(report: Group, figure: Figure, other: str) -> str:
    difference = gain(report, figure, other)
    return UNKNOWN if difference is None else f"{difference:+.3f}"


def gain(report: Group, figure: Figure, other: str) -> float | None:
    """Take the mean of another model from that of the GNN, where both are known."""
    ours, theirs = _values(report, "gnn", figure), _values(report, other, figure)
    return mean(ours) - mean(theirs) if ours and theirs else None


def _ratio(report: Group, figure: Figure) -> str:
    return number_if_known(ratio(report, figure))


def number_if_known(value: float | None) -> str:
    """Write a figure that may be missing."""
    return UNKNOWN if value is None else number(value)


def ratio(report: Group, figure: Figure) -> float | None:
    """Divide the mean of the GNN by that of the U-Net, where both are known."""
    ours, theirs = _values(report, "gnn", figure), _values(report, "cnn", figure)
    return mean(ours) / mean(theirs) if ours and theirs and mean(theirs) else None


def draw(reports: Sequence[Group], path: Path) -> None:
    """Draw macro IoU against three costs, one dot per data set and model."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    costs = {
        "training, s": train_seconds,
        "training memory above idle, MiB": _memory("train"),
        "inference, s per megapixel": inference_seconds,
    }
    canvas = Canvas(figsize=(12, 4), layout="constrained")
    for axes, (name, figure) in zip(canvas.subplots(1, 3, sharey=True), costs.items(), strict=True):
        scale = 2**20 if "MiB" in name else 1
        for report in reports:
            dots = [
                (mean(cost) / scale, mean(iou), model)
                for model in MODELS
                if (cost := _values(report, model, figure))
                and (iou := _values(report, model, macro_iou))
            ]
            axes.plot(*zip(*[d[:2] for d in sorted(dots)], strict=True), color="#dddddd", zorder=1)
            for x, y, model in dots:
                axes.scatter(x, y, color=_COLOURS[model], zorder=2)
            if dots:
                axes.annotate(
                    report["dataset"], max(dots)[:2], (0, 6), textcoords="offset points",
                    ha="right", fontsize=7, color="#555555",
                )  # fmt: skip
        axes.set(xscale="log", xlabel=name)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.spines[["top", "right"]].set_visible(False)
    canvas.axes[0].set_ylabel("macro IoU, test")
    handles = [canvas.axes[0].scatter([], [], color=_COLOURS[m], label=m) for m in MODELS]
    canvas.legend(handles=handles, loc="outside right center", frameon=False)
    with atomic_path(path) as part:
        canvas.savefig(part, format="png", dpi=110, metadata={"Software": None})


def draw_courses(reports: Sequence[Group], path: Path) -> None:
    """Draw macro IoU on val against seconds of training, one panel per data set."""
    from matplotlib.figure import Figure as Canvas

    n_rows = -(-len(reports) // 3)
    canvas = Canvas(figsize=(12, 2.8 * n_rows), layout="constrained")
    panels = list(canvas.subplots(n_rows, 3, squeeze=False).flat)
    for axes, report in zip(panels, reports, strict=False):
        for entry in report["models"]:
            if curve := entry["train"].get("curve"):
                _, seconds, scores = zip(*curve, strict=True)
                axes.plot(seconds, scores, color=_COLOURS[entry["name"]], linewidth=1)
        axes.set_xscale("log")
        axes.set_title(report["dataset"], fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(reports) :]:
        axes.set_axis_off()
    canvas.supxlabel("seconds of training", fontsize=9)
    canvas.supylabel("macro IoU, val", fontsize=9)
    shown = [model for model in MODELS if model not in ("forest", "boosting")]
    handles = [canvas.axes[0].plot([], [], color=_COLOURS[m], label=m)[0] for m in shown]
    canvas.legend(handles=handles, loc="outside right center", frameon=False)
    with atomic_path(path) as part:
        canvas.savefig(part, format="png", dpi=110, metadata={"Software": None})
