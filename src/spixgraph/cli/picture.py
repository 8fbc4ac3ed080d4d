"""`spixgraph picture`: what happens to one image, as one picture."""

from pathlib import Path

import click

from spixgraph.errors import InputError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--model", required=True, type=click.Path(path_type=Path), help="Folder of a model bundle."
)
@click.option("--axes", help="Axes of the image file, as in ZYX or YXC.")
def picture(image: Path, out: Path, model: Path, axes: str | None) -> None:
    """Draw IMAGE | superpixels | graph | mask side by side into the PNG file OUT.

    \b
    Example:
      spixgraph picture cells.tif cells.png --model models/bundle
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"the picture is a PNG, got {out.name}; name it *.png")
    from spixgraph.evaluate.pictures import (
        class_tile,
        graph_picture,
        image_tile,
        join_tiles,
        save_png,
        superpixel_tile,
    )
    from spixgraph.io.images import open_image
    from spixgraph.io.limits import intensity_limits, read_scaled
    from spixgraph.predict.bundle import load_bundle
    from spixgraph.predict.driver import node_logits, open_model, paint
    from spixgraph.predict.image_graph import graph_of_image

    bundle = load_bundle(model)
    everything = slice(None)
    with open_image(image, axes=axes) as source:
        scaled = read_scaled(source, intensity_limits(source), everything, everything, everything)
        labels, graph = graph_of_image(source, bundle.recipe)
    network = open_model(bundle)
    mask = paint(labels, node_logits(graph, network), network.class_ids)
    colours = [c.colour for c in bundle.card.classes]
    tiles = [
        image_tile(scaled),
        superpixel_tile(scaled, labels),
        graph_picture(scaled, labels, graph.centroid_px, graph.edge_index),
        class_tile(mask, colours),
    ]
    save_png(out, join_tiles(tiles))
    click.echo(f"{out}: image | superpixels | graph ({graph.n_regions} nodes) | mask")
