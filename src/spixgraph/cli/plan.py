"""`spixgraph plan`: what a run would take, before anything runs."""

import math
import os
from pathlib import Path

import click

from spixgraph.arrays import PixelSizeUm
from spixgraph.cli.graph import parse_bytes, parse_roi
from spixgraph.cli.options import ImageArgument, image_name
from spixgraph.config.recipe import BasinParams, GraphRecipe
from spixgraph.errors import InputError
from spixgraph.files import canonical_json
from spixgraph.graph.stream.cluster import cluster_contract, require_memory
from spixgraph.io.images import open_image
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.contract import plan_segment, planned
from spixgraph.predict.model import require_fit
from spixgraph.predict.outputs import Results

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("image", type=ImageArgument())
@click.option("--model", type=_FILE, help="Folder of a model bundle; without it the graph alone.")
@click.option("--nodes-per-megapixel", type=float, help="3000 by default, or that of the model.")
@click.option("--max-memory", help="Memory of the process, as in 2GB.")
@click.option("--workers", type=click.IntRange(1), help="Threads; all processors by default.")
@click.option("--roi", help="Y0:Y1,X0:X1 or Z0:Z1,Y0:Y1,X0:X1 in pixels, on barrier lines.")
@click.option("--dask", is_flag=True, help="Count coordinator and workers of `graph --dask`.")
@click.option("--probabilities", is_flag=True, help="Count class probabilities, too.")
@click.option("--axes", help="Axes of the file, such as ZCYX, where it does not say.")
@click.option("--pixel-size-um", type=(float, float, float), metavar="Z Y X")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def plan(
    image: Path | str,
    model: Path | None,
    nodes_per_megapixel: float | None,
    max_memory: str | None,
    workers: int | None,
    roi: str | None,
    dask: bool,
    probabilities: bool,
    axes: str | None,
    pixel_size_um: PixelSizeUm | None,
    as_json: bool,
) -> None:
    """Say what IMAGE would take: memory, disk and time, before anything runs."""
    if dask and model is not None:
        raise InputError("--dask is for the graph alone; leave --model out")
    bundle = None if model is None else load_bundle(model)
    if bundle is not None and nodes_per_megapixel is not None:
        raise InputError("the model says --nodes-per-megapixel; leave it out")
    basins = BasinParams(nodes_per_megapixel=nodes_per_megapixel or 3000.0)
    recipe = GraphRecipe(superpixels=basins) if bundle is None else bundle.recipe
    if not recipe.is_streamed:
        raise InputError(
            f"{model} is a model of {recipe.superpixels.method} superpixels, which are made in "
            "memory; plan is for models of basins"
        )
    part = None if roi is None else parse_roi(roi)
    limit = None if max_memory is None else parse_bytes(max_memory)
    with open_image(image, axes=axes, pixel_size_um=pixel_size_um) as source:
        if bundle is not None:
            require_fit(source.info, bundle.card)
        found = plan_segment(
            source,
            recipe,
            None if bundle is None else bundle.card,
            workers=workers or os.cpu_count() or 1,
            roi=part,
            results=Results(Path("mask.tif"), Path("p.tif") if probabilities else None),
            max_bytes=None if dask else limit,
        )
        _, region = planned(source.info, recipe.nodes_per_megapixel, part)
        cluster = cluster_contract(
            source,
            nodes_per_megapixel=recipe.nodes_per_megapixel,
            workers=found.workers,
            roi=part,
        )
    if dask:
        require_memory(cluster, 1, limit)
    figures = {
        "megapixels": math.prod(region.shape_zyx) / 1e6,
        "superpixels": round(recipe.nodes_per_megapixel * math.prod(region.shape_zyx) / 1e6),
        "workers": found.workers,
        "max_nodes": found.max_nodes,
        "peak_bytes": found.peak_bytes,
        "disk_bytes": found.disk_bytes,
        "seconds": found.seconds,
    }
    if dask:
        figures["peak_bytes"] = cluster.coordinator
        figures["worker_bytes"] = cluster.worker(1)
        figures["worker_thread_bytes"] = cluster.thread
    if as_json:
        click.echo(canonical_json(figures), nl=False)
        return
    worker = ""
    if dask:
        worker = (
            f"worker  {cluster.worker(1) / 1e6:,.0f} MB with one thread, "
            f"{cluster.thread / 1e6:,.0f} MB more for each other one\n"
        )
    click.echo(
        f"{image_name(image)}: {figures['megapixels']:,.1f} megapixels, about "
        f"{figures['superpixels']:,} superpixels\n"
        f"memory  {figures['peak_bytes'] / 1e6:,.0f} MB at the peak, "
        f"{found.idle_bytes / 1e6:,.0f} MB of it the idle process\n"
        f"{worker}"
        f"disk    {found.disk_bytes / 1e6:,.0f} MB while it runs\n"
        f"time    {found.seconds:,.0f} s with {found.workers} workers"
    )
