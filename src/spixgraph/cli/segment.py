"""`spixgraph segment`: an image and a model bundle in, a mask out."""

import logging
import os
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spixgraph.arrays import PixelSizeUm
from spixgraph.cli.graph import parse_bytes, parse_roi, progress_bar
from spixgraph.cli.options import ImageArgument, image_name
from spixgraph.errors import InputError
from spixgraph.files import canonical_json
from spixgraph.graph.stream.region import Roi
from spixgraph.io.images import ImageInfo, ImageSource, open_image
from spixgraph.io.pyramid import CHANNEL_SUFFIXES, MASK_SUFFIXES, require_mask_path
from spixgraph.predict.bundle import Bundle, bundle_sha256, load_bundle
from spixgraph.predict.memory import require_memory
from spixgraph.predict.model import NodeModel, open_model, require_fit
from spixgraph.predict.outputs import Results, class_areas
from spixgraph.predict.steps import Steps
from spixgraph.predict.stream import Segmented, part_of, segment_to_file
from spixgraph.predict.whole import segment_whole
from spixgraph.resources import PeakMemory

_FILE = click.Path(path_type=Path)
_STEPS = {
    "graph": "superpixels and graph",
    "network": "network",
    "context": "network of the overview",
    "mask": "mask",
}


@click.command()
@click.argument("image", type=ImageArgument())
@click.argument("out", type=_FILE)
@click.option("--model", required=True, type=_FILE, help="Folder of a model bundle.")
@click.option("--max-memory", help="Keep the memory of the process below this, as in 2GB.")
@click.option("--workers", type=click.IntRange(1), help="Threads; all processors by default.")
@click.option("--roi", help="Y0:Y1,X0:X1 or Z0:Z1,Y0:Y1,X0:X1 in pixels, on barrier lines.")
@click.option("--probabilities", type=_FILE, help="Also write class probabilities, 255 is certain.")
@click.option("--uncertainty", type=_FILE, help="Also write how unsure each pixel is, 0 to 255.")
@click.option("--outlines", type=_FILE, help="Also write the outlines of superpixels, 255 or 0.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--axes", help="Axes of the file, such as ZCYX, where it does not say.")
@click.option(
    "--pixel-size-um",
    type=(float, float, float),
    metavar="Z Y X",
    help="Pixel size in micrometres, where the file does not say.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def segment(
    image: Path | str,
    out: Path,
    model: Path,
    max_memory: str | None,
    workers: int | None,
    roi: str | None,
    probabilities: Path | None,
    uncertainty: Path | None,
    outlines: Path | None,
    resume: bool,
    device: Any,
    axes: str | None,
    pixel_size_um: PixelSizeUm | None,
    as_json: bool,
) -> None:
    """Segment IMAGE with a model bundle and write the mask to OUT.

    IMAGE is a file, the folder of an OME-Zarr image, or its address (https://, s3://). OUT is a
    .png, .tif or .zarr; class ids are those of the bundle's card.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    _require_writable(out, MASK_SUFFIXES)
    for path in (probabilities, uncertainty, outlines):
        if path is not None:
            _require_writable(path, CHANNEL_SUFFIXES)
    _require_distinct(image, out, probabilities, uncertainty, outlines)
    results = Results(out, probabilities, uncertainty, outlines)
    limit = None if max_memory is None else parse_bytes(max_memory)
    part = None if roi is None else parse_roi(roi)
    bundle = load_bundle(model)
    with open_image(image, axes=axes, pixel_size_um=pixel_size_um) as source:
        z, y, x, _ = source.info.shape_zyxc
        require_mask_path(out, (z, y, x) if part is None else _shape_of(part, (z, y, x)))
        require_fit(source.info, bundle.card)
        if not bundle.recipe.is_streamed:
            _require_whole(source.info, bundle, part, limit, resume=resume)
        threads = workers or os.cpu_count() or 1
        network = open_model(bundle, device=device, threads=threads)
        with PeakMemory() as memory, progress_bar() as bar:
            if bundle.recipe.is_streamed:
                done = _streamed(
                    bar, source, network, results, workers=threads, max_bytes=limit, roi=part,
                    resume=resume, name=image_name(image),
                )  # fmt: skip
                summary = _summary(bundle, source.info, done.n_regions, done.n_pixels, done.seconds)
                summary["predicted_peak_bytes"] = done.plan.peak_bytes
            else:
                steps = Steps(lambda name: bar.add_task(name, total=None))
                n_regions, n_pixels = segment_whole(
                    source, network, bundle.card, results, steps=steps
                )
                summary = _summary(bundle, source.info, n_regions, n_pixels, steps.seconds)
    summary["peak_bytes"] = memory.peak_rss_bytes
    if as_json:
        click.echo(canonical_json(summary), nl=False)
    else:
        _print_summary(summary, out)


def _streamed(
    bar: Progress,
    source: ImageSource,
    network: NodeModel,
    results: Results,
    *,
    name: str,
    **options: Any,
) -> Segmented:
    """Run with a bar for each step."""
    roi: Roi | None = options["roi"]
    z, y, x, _ = source.info.shape_zyxc
    total = int(np.prod((z, y, x) if roi is None else _shape_of(roi, (z, y, x)), dtype=np.int64))
    tasks = {
        step: bar.add_task(f"{name}: {title}", total=total, start=False)
        for step, title in _STEPS.items()
        if step != "context" or network.context
    }

    def advance(step: str, n: int) -> None:
        bar.start_task(tasks[step])
        bar.advance(tasks[step], n)

    try:
        return segment_to_file(source, network, results, progress=advance, **options)
    except KeyboardInterrupt:
        kept = part_of(results.mask)
        hint = f"what is finished is kept in {kept}; go on with --resume" if kept.exists() else ""
        raise click.ClickException(
            f"stopped; {results.mask} was not made. {hint}".rstrip()
        ) from None


def _shape_of(roi: Roi, shape_zyx: tuple[int, int, int]) -> tuple[int, int, int]:
    """Size of a region of interest."""
    z, y, x = (len(range(*s.indices(n))) for s, n in zip(roi, shape_zyx, strict=True))
    return z, y, x


def _require_whole(
    info: ImageInfo, bundle: Bundle, roi: Roi | None, limit: int | None, *, resume: bool
) -> None:
    """Refuse what a model that works in memory cannot do."""
    if roi is not None or resume or limit is not None:
        raise InputError(
            f"{bundle.card.name} is a model of {bundle.recipe.superpixels.method} superpixels, "
            "which are made in memory: --roi, --resume and --max-memory are for models of basins"
        )
    require_memory(info.shape_zyxc, bundle.card.memory)


def _require_writable(path: Path, suffixes: tuple[str, ...]) -> None:
    """Fail before the work, not after it."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path} must end in one of {', '.join(suffixes)}")
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"the folder {folder} of {path.name} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"the folder {folder} of {path.name} is not writable")


def _require_distinct(*paths: Path | str | None) -> None:
    """Keep a slip of the finger from replacing the image by its mask."""
    given = [path for path in paths if isinstance(path, Path)]
    if len({path.resolve() for path in given}) < len(given):
        raise InputError(f"{', '.join(map(str, given))} must be different files")


def _summary(
    bundle: Bundle,
    info: ImageInfo,
    n_regions: int,
    n_pixels: dict[int, int],
    seconds: dict[str, float],
) -> dict[str, Any]:
    return {
        "model": {"name": bundle.card.name, "sha256": bundle_sha256(bundle.path)},
        "n_pixels": sum(n_pixels.values()),
        "n_regions": n_regions,
        "classes": class_areas(n_pixels, bundle.card, info.pixel_size_um, n_dims=info.n_dims),
        "seconds": seconds,
    }


def _print_summary(summary: dict[str, Any], out: Path) -> None:
    classes = summary["classes"]
    units = [unit for unit in ("um2", "um3") if unit in classes[0]]
    table = Table("class", "pixels", "share", *({"um2": "µm²", "um3": "µm³"}[u] for u in units))
    for row in classes:
        area = [f"{row[unit]:,.1f}" for unit in units]
        table.add_row(row["name"], f"{row['pixels']:,}", f"{row['fraction']:.1%}", *area)
    Console().print(table)
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in summary["seconds"].items())
    peak = f"{summary['peak_bytes'] / 1e6:,.0f} MB of memory at the peak"
    click.echo(f"{out}: {summary['n_regions']:,} superpixels; {seconds}; {peak}")
