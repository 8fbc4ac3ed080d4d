"""The page of the benchmark: tables, plots, and the goals met and missed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.cost.cells import MODELS, Cell, Kind, known_cells
from benchmarks.cost.figures import (
    Cells,
    Figure,
    building_seconds,
    inference_time,
    measured_cells,
    memory_mib,
    ratio,
    step_seconds,
    training_time,
)
from spixgraph.evaluate.markdown import markdown_table
from spixgraph.evaluate.tables import UNKNOWN, Table
from spixgraph.files import atomic_path

_INTRODUCTION = """# Cost against size

`make benchmark-cost DATA=path/to/sets` runs the cells that are not known yet and writes this page;
`ARGS=--quick` tries it all on a small made-up image. One image with its mask is mirrored and tiled
to the size; each cell is a process of its own, measured after the same on a small image, so that
all code is loaded. The JSON behind each figure lies in [cost/](cost/); a cell stays on the page
until it is run again, also where the code has changed since. **Figures in brackets were not
measured at that size: they lie on a line between the sizes next to it, or go on in a line through
the two largest.** A cell that would take more memory or time than allowed is refused, and the limit
noted in its JSON. Cells of different days stand side by side, and processor seconds of one code
have differed by 2.4 times between days, memory by some per cent.

- *Memory* is peak resident memory above the idle process, over all of superpixels, graphs and
  training, or from image file to mask file.
- *Time* is processor seconds, so that other work on the machine counts little; one thread.
- *Training* takes a few steps: each member of the committee of a graph model takes one from each
  graph, those of changed parts too, the U-Net takes a few batches. Memory does not grow
  with further steps. A *whole training* is the building of graphs plus epochs times steps by the
  settings; early stopping may end both sooner, and validation is left out.
- *unet-patch* learns from batches of patches, as in the accuracy benchmark, and predicts in windows
  that overlap by half, blended band by band; *unet-whole* takes the whole image as one patch.
- The image is read as it is in each pipeline: the U-Net's training holds it in memory as float32.
"""
_NAMES = {
    "gnn": "GNN", "mlp": "MLP", "unet-patch": "U-Net, patches", "unet-whole": "U-Net, whole image",
}  # fmt: skip
_COLOURS = {"gnn": "#0072b2", "mlp": "#009e73", "unet-patch": "#d55e00", "unet-whole": "#cc79a7"}
_SIZES = (1.0, 4.0, 16.0, 64.0, 256.0)
_GOAL_MP = 64.0

At: TypeAlias = Callable[[Sequence[Cell], float], Figure | None]
"""A figure of a model at a size."""


def write_page(out: Path) -> None:
    """Write cost.md and its plot from the cells in ``cost/`` beside it."""
    kinds: tuple[Kind, ...] = ("train", "infer")
    cells: Cells = {(k, m): known_cells(out / "cost" / k, m) for k in kinds for m in MODELS}
    parts = [_INTRODUCTION]
    if any(cells.values()):
        draw(cells, out / "cost" / "cost.png")
        parts += [_machine(cells), "## Goals", _goals(cells), "![cost by size](cost/cost.png)"]
        parts += ["## Training", _memory(cells, "train"), _steps(cells), _whole(cells)]
        parts += ["## Inference", _memory(cells, "infer"), _inference(cells)]
        parts += ["## GPU", _gpu(cells), "## Not measured", _refused(cells)]
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "cost.md") as part:
        part.write_text("\n\n".join(p.strip() for p in parts) + "\n", encoding="utf-8")


def _sizes(cells: Cells, kind: Kind) -> list[float]:
    """Sizes that some model was measured at, and those up to the goal."""
    own = [c["megapixels"] for (k, _), known in cells.items() for c in known if k == kind]
    known = {mp for mp in own if mp < 1} | {mp for mp in _SIZES if mp <= max([*own, 0])}
    return sorted(known)


def _table(cells: Cells, kind: Kind, caption: str, figure: At) -> str:
    models = [m for m in MODELS if measured_cells(cells[kind, m])]
    rows = tuple(
        (f"{mp:g}", *(_text(figure(cells[kind, m], mp)) for m in models))
        for mp in _sizes(cells, kind)
    )
    return markdown_table(Table(caption, ("megapixels", *(_NAMES[m] for m in models)), rows))


def _text(figure: Figure | None) -> str:
    return UNKNOWN if figure is None else str(figure)


def _memory(cells: Cells, kind: Kind) -> str:
    per_mp = _table(
        cells, kind, "MiB per megapixel",
        lambda own, mp: ratio(memory_mib(own, mp), Figure(mp, True)),
    )  # fmt: skip
    total = _table(cells, kind, "Peak memory above the idle process, MiB", memory_mib)
    return f"{total}\n\n{per_mp}"


def _steps(cells: Cells) -> str:
    """Give what was measured of each training: building, and a step."""
    rows = tuple(
        (
            f"{_NAMES[model]}, {cell['megapixels']:g} MP",
            f"{building_seconds(cell):.1f}",
            f"{step_seconds(cell):.2f}",
            str(len(cell["steps"])),
            f"{cell['plan']['epochs']} x {cell['plan']['steps']}",
            f"{cell['load_before']:.1f}",
        )
        for model in MODELS
        for cell in measured_cells(cells["train", model])
    )
    head = ("model", "building and setting up, s", "a step, s", "steps taken")
    return markdown_table(
        Table("Processor seconds", (*head, "epochs x steps by the settings", "load before"), rows)
    )


def _whole(cells: Cells) -> str:
    return _table(cells, "train", "A whole training, processor seconds", training_time)


def _inference(cells: Cells) -> str:
    return _table(
        cells, "infer", "Processor seconds per megapixel, from file to file",
        lambda own, mp: ratio(inference_time(own, mp), Figure(mp, True)),
    )  # fmt: skip


def _goals(cells: Cells) -> str:
    """Set the ratios against what the project wants."""
    gnn, patch, whole = (cells["train", m] for m in ("gnn", "unet-patch", "unet-whole"))
    at = _GOAL_MP
    rows = [
        _goal("training memory at 64 MP, of a whole-image U-Net's", 1 / 20,
              ratio(memory_mib(gnn, at), memory_mib(whole, at))),
        _goal("training memory at 64 MP, of a U-Net's on patches", 1 / 3,
              ratio(memory_mib(gnn, at), memory_mib(patch, at))),
        *(
            _goal(f"whole training at {mp:g} MP, of a U-Net's on patches", 1 / 10,
                  ratio(training_time(gnn, mp), training_time(patch, mp)))
            for mp in _SIZES[:4]
        ),
        *(
            _goal(f"inference seconds per megapixel at {mp:g} MP, of a U-Net's", 1 / 5,
                  ratio(inference_time(cells["infer", "gnn"], mp),
                        inference_time(cells["infer", "unet-patch"], mp)))
            for mp in _SIZES
        ),
    ]  # fmt: skip
    return markdown_table(Table("GNN against U-Net", ("ratio", "goal", "found", ""), tuple(rows)))


def _goal(name: str, limit: float, found: Figure | None) -> tuple[str, str, str, str]:
    goal = f"at most 1/{1 / limit:.0f}"
    if found is None:
        return name, goal, UNKNOWN, "not run"
    text = f"1/{1 / found.value:.3g}" if found.value < 1 else f"{found.value:.3g}"
    verdict = "met" if found.value <= limit else "missed"
    return name, goal, text if found.measured else f"({text})", verdict


def _gpu(cells: Cells) -> str:
    """Give the memory of the GPU, where there was one."""
    rows = tuple(
        (
            f"{_NAMES[model]}, {kind}, {cell['megapixels']:g} MP",
            f"{max(p['gpu_tensor_bytes'] for p in cell['phases'].values()) / 2**20:.0f}",
            _mib([p["gpu_process_bytes"] for p in cell["phases"].values()]),
        )
        for (kind, model), known in cells.items()
        for cell in measured_cells(known)
        if any(p["gpu_tensor_bytes"] for p in cell["phases"].values())
    )
    if not rows:
        return "No GPU was seen by these runs, so neither torch's figure nor NVML's is known."
    head = ("cell", "peak of tensors, MiB", "of the process by NVML, MiB")
    return markdown_table(Table("Peak GPU memory", head, rows))


def _mib(n_bytes: Sequence[int | None]) -> str:
    known = [n for n in n_bytes if n is not None]
    return f"{max(known) / 2**20:.0f}" if known else UNKNOWN


def _refused(cells: Cells) -> str:
    lines = [
        f"- {_NAMES[model]}, {kind}, {cell['megapixels']:g} MP: {cell['refused']}"
        for (kind, model), known in cells.items()
        for cell in known
        if "refused" in cell
    ]
    absent = [
        f"- {_NAMES[model]}, {kind}"
        for (kind, model), known in cells.items()
        if not known and (kind, model) != ("infer", "unet-whole")
    ]
    return "\n".join([*lines, *absent]) or "Every cell was measured."


def _machine(cells: Cells) -> str:
    some = next(cell for known in cells.values() for cell in measured_cells(known))
    machine = some["machine"]
    return (
        f"Image: {some['image']}; {machine['processor']}, {machine['cores']} cores; "
        "other work beside it where the load was above 1."
    )


def draw(cells: Cells, path: Path) -> None:
    """Draw memory and time against size, full lines where measured."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(11, 8), layout="constrained")
    panels: tuple[tuple[Kind, At, str], ...] = (
        ("train", memory_mib, "training, peak memory above idle, MiB"),
        ("train", training_time, "a whole training, processor seconds"),
        ("infer", memory_mib, "inference, peak memory above idle, MiB"),
        ("infer", inference_time, "inference, processor seconds"),
    )
    for axes, (kind, figure, label) in zip(canvas.subplots(2, 2).flat, panels, strict=True):
        for model in MODELS:
            known = cells[kind, model]
            found = [(mp, figure(known, mp)) for mp in _sizes(cells, kind)]
            dots = [(mp, f) for mp, f in found if f is not None]
            done = [(mp, f.value) for mp, f in dots if f.measured]
            if done:
                colour = _COLOURS[model]
                axes.plot(*zip(*[(mp, f.value) for mp, f in dots], strict=True), ":", color=colour)
                axes.plot(*zip(*done, strict=True), "o-", color=colour, label=_NAMES[model])
        axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel=label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#eeeeee")
    canvas.axes[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        canvas.savefig(part, format="png", dpi=100, metadata={"Software": None})
