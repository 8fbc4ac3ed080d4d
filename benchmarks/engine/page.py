"""The page of the benchmark: what is known, and what was not run."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.engine import methods
from benchmarks.engine.cells import BUDGETS, NODES, Cell
from benchmarks.engine.figures import draw_scale, draw_stages, peak_mib, seconds_of
from spixgraph.evaluate.markdown import markdown_table
from spixgraph.evaluate.tables import UNKNOWN, Table, number
from spixgraph.files import atomic_path, read_json

_INTRODUCTION = """# The engine

`make benchmark-engine DATA=path/to/sets` runs the cells that are not known yet and writes this
page; `ARGS="--max-mp 2000"` goes up to two gigapixels, `ARGS=--quick` tries it all on a small
made-up image. The JSON behind each figure lies in [engine/](engine/); a cell stays on the page
until it is run again, also where the code has changed since. **Cells that are not there were not
run, and nothing is concluded about them.**

Each run is a process of its own, with code loaded and compiled before the clock starts, in turns
where methods are compared. **Take ratios within one run, not seconds; where the machine was busy,
ratios of CPU seconds**: each cell notes the load average when it began. spixgraph goes from the
image file to labels, features and edges on disk; the SLICs go from the file to labels in memory and
write nothing, the paper's pipeline to features and a k-nearest-neighbour graph, too. Peak memory is
that above the idle process.
"""
_ABSENT = "not installed when this was run"


def known_cells(folder: Path, kind: str) -> list[Cell]:
    """Read the cells of a kind, by size or name."""
    paths = [folder / f"{kind}.json"] if kind == "stages" else (folder / kind).glob("*.json")
    cells = [{"name": path.stem, **read_json(path)} for path in paths if path.is_file()]
    return sorted(cells, key=lambda cell: (cell.get("n_pixels", 0), cell["name"]))


def write_page(out: Path, sets: Sequence[str]) -> None:
    """Write engine.md and its plots from the cells in ``engine/`` beside it.

    `sets` are those whose ceiling is named as missing where it was not run.
    """
    folder = out / "engine"
    kinds = ("compare", "scale", "stages", "ceiling")
    compare, scale, stages, ceilings = (known_cells(folder, kind) for kind in kinds)
    compare = pooled(compare)
    parts = [_INTRODUCTION]
    parts += ["## Against others", *map(_compared, compare)] if compare else []
    if scale:
        draw_scale(scale, compare, folder / "scale.png")
        parts += ["## Cost against size", _scaled(scale), "![cost by size](engine/scale.png)"]
    for cell in stages:
        draw_stages(cell, folder / "stages.png")
        parts += ["## Where the time goes", _stages(cell), "![stages](engine/stages.png)"]
    if ceilings:
        parts += ["## Ceiling", _ceilings(ceilings), _missing(ceilings, sets)]
    if pictures := sorted((folder / "gallery").glob("*.png")):
        parts += ["## Superpixels", _gallery(pictures)]
    absent = [
        k for k, cells in zip(kinds, (compare, scale, stages, ceilings), strict=True) if not cells
    ]
    if absent:
        parts += [f"Not run: {', '.join(absent)}."]
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "engine.md") as part:
        part.write_text("\n\n".join(p.strip() for p in parts) + "\n", encoding="utf-8")


def pooled(turns: Sequence[Cell]) -> list[Cell]:
    """Put the turns of each size together: a list of runs for each method that was in all."""
    found = []
    for n_pixels in sorted({cell["n_pixels"] for cell in turns}):
        own = [cell for cell in turns if cell["n_pixels"] == n_pixels]
        names = [name for name in own[0]["runs"] if all(name in cell["runs"] for cell in own)]
        runs = {name: [cell["runs"][name] for cell in own] for name in names}
        found.append({**own[0], "runs": runs, "load_before": max(c["load_before"] for c in own)})
    return found


def _compared(cell: Cell) -> str:
    """Give the methods on one size: speed, ratio of runs side by side, memory."""
    ours = cell["runs"][methods.OURS]
    rows = []
    for name in (methods.OURS, f"{methods.OURS}, 1 thread", *methods.OTHERS, methods.PAPER):
        runs = cell["runs"].get(name)
        if runs is None:
            rows.append((name, _ABSENT, UNKNOWN, UNKNOWN, UNKNOWN))
            continue
        wall, cpu = (
            f"{median(a[of] / b[of] for a, b in zip(runs, ours, strict=True)):.2f}"
            for of in ("seconds", "cpu_seconds")
        )
        speed = cell["n_pixels"] / 1e6 / median(run["seconds"] for run in runs)
        rows.append((name, number(speed), wall, cpu, f"{peak_mib({'runs': runs}):.0f}"))
    head = ("method", "megapixels/s", "seconds over spixgraph's", "CPU seconds over it")
    caption = (
        f"{cell['n_pixels'] / 1e6:.1f} megapixels, mosaic of {cell['image']}, "
        f"{NODES:.0f} nodes per MP, {cell['threads']} threads; {len(ours)} runs of each, median; "
        f"load up to {cell['load_before']:.1f} on {cell['machine']['cores']} cores before it began"
    )
    return markdown_table(Table(caption, (*head, "peak MiB"), tuple(rows)))


def _scaled(cells: Sequence[Cell]) -> str:
    """Give the engine alone, by size."""
    rows = tuple(
        (
            f"{cell['n_pixels'] / 1e6:,.1f}",
            number(seconds_of(cell)),
            number(cell["n_pixels"] / 1e6 / seconds_of(cell)),
            number(_cpu_ns(cell)),
            f"{peak_mib(cell):.0f}",
            number(cell["runs"][0]["written_bytes"] / cell["n_pixels"]),
            str(len(cell["runs"])),
            f"{cell['load_before']:.1f}",
        )
        for cell in cells
    )
    head = ("megapixels", "seconds", "megapixels/s", "CPU ns per pixel", "peak MiB")
    caption = f"spixgraph alone, {cells[0]['threads']} threads, file to file"
    return markdown_table(Table(caption, (*head, "bytes written per pixel", "runs", "load"), rows))


def _cpu_ns(cell: Cell) -> float:
    return median(run["cpu_seconds"] for run in cell["runs"]) * 1e9 / cell["n_pixels"]


def _stages(cell: Cell) -> str:
    rows = [*cell["ns_per_px"].items(), ("other", cell["other_ns_per_px"])]
    rows.sort(key=lambda row: -row[1])
    total = cell["total_ns_per_px"]
    table = Table(
        f"CPU nanoseconds per pixel, {cell['settings']['megapixels']:g} megapixels, one worker",
        ("stage", "ns per pixel", "share"),
        (
            *((name, f"{ns:.2f}", f"{100 * ns / total:.0f} %") for name, ns in rows),
            ("all", f"{total:.2f}", "100 %"),
        ),
    )
    copy = cell["copy_gb_s"]
    limit = cell["limit_ns_per_px"]
    return (
        f"{markdown_table(table)}\n\n"
        f"A plain copy moves {copy['1']:.1f} GB/s (read and written) on one thread, "
        f"{copy['2']:.1f} GB/s on two, in the same run. Pixels read once, int32 labels and tables "
        f"written once are {cell['moved_bytes_per_px']:.1f} bytes per pixel: {limit:.2f} ns on one "
        f"thread. The engine takes {total / limit:.0f} times as long: compute is its limit, not "
        "memory."
    )


def _ceilings(cells: Sequence[Cell]) -> str:
    """Give the macro IoU of the best label per superpixel, one row per set and method."""
    rows = []
    for cell in cells:
        for name in (methods.OURS, *methods.OTHERS):
            by_nodes = cell["macro_iou"].get(name, {})
            values = [by_nodes.get(str(nodes)) for nodes in BUDGETS]
            if any(value is not None for value in values):
                scores = [UNKNOWN if v is None else f"{v:.3f}" for v in values]
                found = cell["nodes_per_megapixel"][name]
                density = "/".join(f"{found[str(n)]:.0f}" for n in BUDGETS)
                rows.append((f"{cell['name']}: {name}", *scores, density))
    head = ("set: method", *(f"{n:.0f} nodes/MP" for n in BUDGETS), "nodes/MP found")
    caption = (
        f"Macro IoU of the best label per superpixel, mean over {cells[0]['settings']['images']} "
        "train and val images at most. Opponents are asked again until they are within 5 % of the "
        "budget, where they can; skimage SLIC is the better of two compactnesses; OpenCV and "
        "SimpleITK on grey planes only. The file of flyem_medulla3d states no pixel size, so "
        "spixgraph measures how far its slices lie apart"
    )
    return markdown_table(Table(caption, head, tuple(rows)))


def _missing(cells: Sequence[Cell], sets: Sequence[str]) -> str:
    absent = [name for name in sets if name not in {cell["name"] for cell in cells}]
    return f"Not run: {', '.join(absent)}." if absent else "No set is missing."


def _gallery(pictures: Sequence[Path]) -> str:
    budgets = ", ".join(f"{nodes:.0f}" for nodes in BUDGETS)
    lines = [
        f"The middle of the first image of each set at {budgets} nodes per megapixel. Sources and "
        "licences: [engine/gallery/SOURCES.md](engine/gallery/SOURCES.md).",
        *(f"**{p.stem}**\n\n![{p.stem}](engine/gallery/{p.name})" for p in pictures),
    ]
    return "\n\n".join(lines)
