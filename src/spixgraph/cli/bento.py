"""`spixgraph bento`: a versioned, servable package of a model."""

from pathlib import Path

import click

from spixgraph.cli.model import split_reference
from spixgraph.registry.versions import fetch, note
from spixgraph.scratch import scratch_folder
from spixgraph.serve.bento import build_bento, serve_command


@click.group()
def bento() -> None:
    """Build Bentos, which BentoML serves over HTTP."""


@bento.command()
@click.argument("model", metavar="BUNDLE_OR_NAME@ALIAS")
@click.option(
    "--bentofile",
    default="bentofile.yaml",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Of the repository.",
)
@click.option(
    "--device",
    default="cuda",
    show_default=True,
    type=click.Choice(["cuda", "cpu"]),
    help="cuda: a container has the CUDA libraries, and runs on a CPU, too.",
)
def build(model: str, bentofile: Path, device: str) -> None:
    """Build a Bento of a bundle folder, or of NAME@ALIAS in the registry.

    The same model, code and environment give the same tag and no second Bento. Of a model of the
    registry, the tag is also noted on its version.
    """
    if Path(model).is_dir() or "@" not in model:
        tag = build_bento(Path(model), bentofile=bentofile, with_cuda=device == "cuda")
    else:
        tag = _build_registered(model, bentofile, with_cuda=device == "cuda")
    click.echo(tag)
    click.echo(f"serve it: {serve_command(tag)}")


def _build_registered(reference: str, bentofile: Path, *, with_cuda: bool) -> str:
    name, alias = split_reference(reference)
    with scratch_folder() as folder:
        path = folder / "bundle"
        number = fetch(name, alias, path).number
        tag = build_bento(path, bentofile=bentofile, version=number, with_cuda=with_cuda)
    note(name, number, {"bento": tag})
    return tag
