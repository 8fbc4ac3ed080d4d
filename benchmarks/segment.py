"""Measure the command `spixgraph segment` from file to file: time by step, peak memory.

    python -m benchmarks.segment IMAGE [--size 20000] [--workers 2] [--max-memory 1GB] [--page PAGE]

IMAGE is mirrored and tiled to a square mosaic, written as an uncompressed tiled TIFF. The network
has the default layers (alone, as the default committee of three, and alone beside a network of the
overview) and random weights: what it says is noise, which is the worst case for the masks, and what
it takes is what a trained one takes. The command runs in a process of its own in which torch cannot
be imported, after one on a small image that has compiled all code.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import torch

from benchmarks.engine.mosaic import write_mosaic
from spixgraph.config.params import ContextTraining, TrainSection
from spixgraph.config.recipe import BasinParams, GraphRecipe
from spixgraph.export.bundle_writer import write_bundle
from spixgraph.graph.blocks.pixel_maps import pixel_map_names
from spixgraph.graph.pixel_samples import place_names
from spixgraph.graph.scaling import Scaling, fit_scaling
from spixgraph.graph.stream import image_graph
from spixgraph.io.images import ArraySource, open_image
from spixgraph.io.overview import overview_factor
from spixgraph.nets.build import build_node_net
from spixgraph.nets.cnn import build_cnn
from spixgraph.predict.card import ClassInfo
from spixgraph.predict.memory import memory_contract
from spixgraph.train.context import TrainedContext
from spixgraph.train.hidden_values import hidden_values

_DEFAULT = TrainSection().gnn
_COMMAND = """
import sys
sys.modules["torch"] = None
from spixgraph.cli import main
main(sys.argv[1:])
"""


class Untrained:
    """A network with random weights, as `write_bundle` wants it."""

    def __init__(
        self,
        sample: ArraySource,
        nodes: float,
        *,
        decoder: bool,
        kind: str,
        members: int,
        hidden: int,
        layers: int,
        pixel_hidden: int,
        context: bool,
    ) -> None:
        self.context = _untrained_context(nodes) if context else None
        _, graph = image_graph(sample, nodes_per_megapixel=nodes, workers=2)
        self.node_scaling = fit_scaling([graph.x], graph.feature_names)
        self.edge_scaling = fit_scaling([graph.edge_attr], graph.edge_feature_names)
        columns = (
            (*pixel_map_names(1, 4, is_volume=False), *place_names(is_volume=False))
            if decoder
            else ()
        )
        self.pixel_scaling = Scaling.identity(columns) if decoder else None
        self.build: dict[str, Any] = {
            "kind": kind,
            "n_features": len(graph.feature_names),
            "n_edge_features": len(graph.edge_feature_names),
            "n_classes": 2,
            "hidden": hidden,
            "layers": layers,
            "dropout": 0.0,
            "n_pixel_columns": len(columns),
            "n_pixel_hidden": pixel_hidden if decoder else 0,
            "members": members,
        }
        self.temperature = 1.0
        torch.manual_seed(0)
        self.net = build_node_net(**self.build)


def _untrained_context(nodes: float) -> TrainedContext:
    torch.manual_seed(0)
    build: dict[str, Any] = {
        "n_dims": 2, "n_channels": 1, "n_classes": 2, "channels": ContextTraining().channels
    }  # fmt: skip
    factor = overview_factor(nodes, is_volume=False)
    return TrainedContext(build_cnn(**build).eval(), build, factor, weight=0.5)


def make_model(
    folder: Path,
    pixels: np.ndarray,
    nodes: float,
    *,
    decoder: bool = True,
    kind: str = "gnn",
    members: int = 1,
    hidden: int = _DEFAULT.hidden,
    layers: int = _DEFAULT.layers,
    pixel_hidden: int | Literal["auto"] = _DEFAULT.pixel_hidden,
    context: bool = False,
) -> None:
    """Write a bundle with random weights."""
    recipe = GraphRecipe(superpixels=BasinParams(nodes_per_megapixel=nodes))
    trained = Untrained(
        ArraySource(pixels[None, ..., None]), nodes,
        decoder=decoder, kind=kind, members=members, hidden=hidden, layers=layers,
        pixel_hidden=hidden_values(pixel_hidden, nodes_per_megapixel=nodes), context=context,
    )  # fmt: skip
    layer = trained.net.pixel_layer
    colours = ("#000000", "#ffb000")
    write_bundle(
        folder,
        trained,
        name="untrained",
        recipe=recipe.model_dump(mode="json"),
        n_dims=2,
        n_channels=1,
        classes=[ClassInfo(id=k, name=f"class {k}", colour=c) for k, c in enumerate(colours)],
        pixel_size_um_range=None,
        metrics={},
        memory=memory_contract(
            recipe,
            1,
            hidden=hidden,
            members=members,
            hidden_weights=0 if layer is None else len(layer) * trained.net.n_classes,
        ),
        data_sha256="0" * 64,
        code_sha256="0" * 64,
    )


def command(
    image: Path, out: Path, model: Path, options: list[str]
) -> tuple[dict[str, Any], float]:
    """Run `spixgraph segment`; return its summary and its processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    arguments = ["segment", str(image), str(out), "--model", str(model), "--json", *options]
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments], stdout=subprocess.PIPE, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout), cpu


def report(found: dict[str, Any], cpu: float, load: float) -> str:
    """Say what a run took, in Markdown."""
    n, wall = found["n_pixels"], sum(found["seconds"].values())
    lines = ["| step | seconds | ns per pixel |", "| --- | ---: | ---: |"]
    lines += [f"| {k} | {v:.1f} | {v / n * 1e9:.1f} |" for k, v in found["seconds"].items()]
    return "\n".join([
        f"{n / 1e6:,.0f} megapixels, {found['n_regions']:,} superpixels: "
        f"**{n / wall / 1e6:.1f} megapixels/s** ({wall:.1f} s), {cpu / n * 1e9:.0f} processor ns "
        f"per pixel with the start of the process; load {load:.1f} on {os.cpu_count()} cores "
        "before it began.",
        f"Peak of the process **{found['peak_bytes'] / 2**20:,.0f} MiB**, all in all; predicted "
        f"{found['predicted_peak_bytes'] / 2**20:,.0f} MiB.",
        "",
        *lines,
        "",
    ])  # fmt: skip


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--nodes", type=float, default=3000.0)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 3], help="one run for each")
    parser.add_argument("--no-decoder", action="store_true")
    parser.add_argument("--max-memory", help="as for spixgraph segment")
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    with open_image(args.image) as source:
        pixels = source.read(slice(0, 1), slice(None), slice(None))[0, ..., 0]
    options = ["--workers", str(args.workers), "--device", "cpu"]
    options += ["--max-memory", args.max_memory] if args.max_memory else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, size in (("small", 700), ("large", args.size)):
            write_mosaic(pixels, size, folder / f"{file}.tif")
        parts = []
        cases = [(members, False) for members in args.members]
        for members, context in cases if args.no_decoder else [*cases, (1, True)]:
            model = folder / f"b{members}{context:d}"
            make_model(
                model, pixels, args.nodes,
                decoder=not args.no_decoder, members=members, context=context,
            )  # fmt: skip
            for file in ("small", "large"):
                load = os.getloadavg()[0]
                answer = command(folder / f"{file}.tif", folder / "m.tif", model, options)
            beside = ", and one of the overview" if context else ""
            parts.append(f"## Graph networks: {members}{beside}\n\n{report(*answer, load)}")
    text = "\n".join(parts)
    click.echo(text)
    if args.page is not None:
        asked = f"`python -m benchmarks.segment IMAGE --size {args.size} {' '.join(options[:2])}`"
        about = " ".join((__doc__ or "").split("\n\n")[2].split())
        args.page.write_text(f"# Segmenting a large image\n\n{asked}\n\n{about}\n\n{text}")


if __name__ == "__main__":
    main()
