"""The plots of the page: cost against size, and where the time goes."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engine.cells import Cell
from spixgraph.files import atomic_path

_BLUE, _GREY = "#0072b2", "#999999"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def seconds_of(cell: Cell) -> float:
    """Wall seconds of a run, the median."""
    return median(run["seconds"] for run in cell["runs"])


def peak_mib(cell: Cell) -> float:
    """Largest peak of its runs above the idle process."""
    return float(max(run["peak_bytes"] for run in cell["runs"]) / 2**20)


def draw_scale(scale: Sequence[Cell], compare: Sequence[Cell], path: Path) -> None:
    """Draw seconds and peak memory against megapixels, with the opponents where they ran."""
    canvas = _canvas((10, 4))
    time, memory = canvas.subplots(1, 2)
    mp = [cell["n_pixels"] / 1e6 for cell in scale]
    time.plot(mp, [seconds_of(c) for c in scale], "o-", color=_BLUE, label="spixgraph")
    memory.plot(mp, [peak_mib(c) for c in scale], "o-", color=_BLUE, label="spixgraph")
    others = sorted({name for cell in compare for name in cell["runs"] if "spixgraph" not in name})
    for name, colour in zip(others, _COLOURS[1:], strict=False):
        own = [{**c, "runs": c["runs"][name]} for c in compare if name in c["runs"]]
        x = [cell["n_pixels"] / 1e6 for cell in own]
        time.plot(x, [seconds_of(c) for c in own], "s--", color=colour, label=name)
        memory.plot(x, [peak_mib(c) for c in own], "s--", color=colour, label=name)
    for axes, label in ((time, "seconds"), (memory, "peak memory above idle, MiB")):
        axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel=label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#eeeeee")
    time.legend(frameon=False, fontsize=8)
    _save(canvas, path)


def draw_stages(stages: Cell, path: Path) -> None:
    """Draw CPU nanoseconds per pixel of each stage, and the bandwidth limit of all of it."""
    rows = [*stages["ns_per_px"].items(), ("other", stages["other_ns_per_px"])]
    rows.sort(key=lambda row: row[1])
    canvas = _canvas((8, 4))
    axes = canvas.subplots()
    bars = axes.barh([name for name, _ in rows], [ns for _, ns in rows], color=_BLUE)
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    limit = stages["limit_ns_per_px"]
    axes.axvline(limit, color="#d55e00", linewidth=1)
    axes.text(
        0.98, 0.1, f"line: memory bandwidth, all stages together, {limit:.1f} ns",
        transform=axes.transAxes, ha="right", color="#d55e00", fontsize=8,
    )  # fmt: skip
    axes.set(xlabel="CPU nanoseconds per pixel, one thread")
    axes.spines[["top", "right"]].set_visible(False)
    _save(canvas, path)


def _canvas(size: tuple[float, float]) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _save(canvas: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        canvas.savefig(part, format="png", dpi=100, metadata={"Software": None})
