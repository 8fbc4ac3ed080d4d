"""`spixgraph graph`: an image in, its superpixels and region graph out."""

import logging
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from spixgraph.arrays import PixelSizeUm
from spixgraph.cli.options import ImageArgument, image_name
from spixgraph.errors import InputError
from spixgraph.graph.stream import stream_graph
from spixgraph.graph.stream.cluster import (
    ClusterPass,
    cluster_contract,
    connected,
    require_memory,
)
from spixgraph.graph.stream.cluster.connection import require_address
from spixgraph.graph.stream.driver import RunPass, stopped_message
from spixgraph.graph.stream.region import Roi
from spixgraph.graph.stream.work import run_pass
from spixgraph.io.images import open_image

_FILE = click.Path(path_type=Path)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


@click.command()
@click.argument("image", type=ImageArgument())
@click.argument("out", type=_FILE)
@click.option("--nodes-per-megapixel", default=3000.0, show_default=True, type=float)
@click.option(
    "--workers", type=click.IntRange(1), help="Threads, or processes of --dask local; all."
)
@click.option(
    "--max-memory",
    help="Take fewer workers, or refuse, to stay below this, as in 2GB; --dask: refuse, if any "
    "process needs more.",
)
@click.option("--block-px", type=int, help="Read squares of this size, not whole rows.")
@click.option(
    "--dask", metavar="ADDRESS", help="Work on a Dask cluster: tcp://host:port, or local."
)
@click.option("--roi", help="Y0:Y1,X0:X1 or Z0:Z1,Y0:Y1,X0:X1 in pixels, on barrier lines.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option("--axes", help="Axes of the file, such as YXC, where it does not say.")
@click.option("--pixel-size-um", type=(float, float, float), metavar="Z Y X")
def graph(
    image: Path | str,
    out: Path,
    nodes_per_megapixel: float,
    workers: int | None,
    max_memory: str | None,
    block_px: int | None,
    dask: str | None,
    roi: str | None,
    resume: bool,
    axes: str | None,
    pixel_size_um: PixelSizeUm | None,
) -> None:
    """Cut IMAGE into superpixels and write labels and region graph to OUT, a Zarr v3 group."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if out.suffix != ".zarr":
        raise InputError(f"{out} must end in .zarr")
    if dask is not None:
        require_address(dask)
    limit = None if max_memory is None else parse_bytes(max_memory)
    threads = workers or os.cpu_count() or 1
    part = None if roi is None else parse_roi(roi)
    begin = time.perf_counter()
    with (
        open_image(image, axes=axes, pixel_size_um=pixel_size_um) as source,
        _runner(dask, image, threads, axes, pixel_size_um) as run,
        progress_bar() as bar,
    ):
        if isinstance(run, ClusterPass):
            contract = cluster_contract(
                source, nodes_per_megapixel=nodes_per_megapixel, workers=threads, roi=part
            )
            require_memory(contract, max(run.client.nthreads().values(), default=1), limit)
        spans = zip(part or (slice(None),) * 3, source.info.shape_zyxc, strict=False)
        n_pixels = math.prod(len(range(*span.indices(n))) for span, n in spans)
        task = bar.add_task(image_name(image), total=n_pixels)
        try:
            done = stream_graph(
                source,
                out,
                nodes_per_megapixel=nodes_per_megapixel,
                workers=threads,
                roi=part,
                max_bytes=limit,
                resume=resume,
                progress=lambda n: bar.advance(task, n),
                block_px=block_px,
                run=run,
            )
        except KeyboardInterrupt:
            raise click.ClickException(stopped_message(out)) from None
    seconds = time.perf_counter() - begin
    click.echo(
        f"{out}: {done.n_regions:,} superpixels, {done.n_edges:,} edges, "
        f"{n_pixels / 1e6:.1f} megapixels in {seconds:.1f} s"
    )


@contextmanager
def _runner(
    dask: str | None,
    image: Path | str,
    workers: int,
    axes: str | None,
    pixel_size_um: PixelSizeUm | None,
) -> Iterator[RunPass]:
    """Yield what does the pass: threads, or a cluster."""
    if dask is None:
        yield run_pass
        return
    with connected(dask, workers=workers) as client:
        yield ClusterPass(client, image, axes, pixel_size_um)


def progress_bar() -> Progress:
    """Make a bar of pixels, with megapixels per second and the time left."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), _Speed(), TimeRemainingColumn(),
        transient=True,
    )  # fmt: skip


class _Speed(ProgressColumn):
    """Megapixels per second."""

    def render(self, task: Task) -> Text:
        """Write the speed of the last strips."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed / 1e6:.1f} MP/s")


def parse_bytes(text: str) -> int:
    """Read 2GB, 500MiB or 1000000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", text.strip(), re.IGNORECASE)
    if match is None:
        raise InputError(f"--max-memory {text!r} is not a size; write 2GB or 500MiB")
    return int(float(match[1]) * _UNITS[(match[2] or "").upper()])


def parse_roi(text: str) -> Roi:
    """Read Y0:Y1,X0:X1, with Z0:Z1 before it or without."""
    match = re.fullmatch(r"(?:(\d+):(\d+),)?(\d+):(\d+),(\d+):(\d+)", text.replace(" ", ""))
    if match is None:
        raise InputError(f"--roi {text!r} is not Y0:Y1,X0:X1, such as 0:1024,512:2048")
    z0, z1, y0, y1, x0, x1 = (None if n is None else int(n) for n in match.groups())
    return slice(z0, z1), slice(y0, y1), slice(x0, x1)
