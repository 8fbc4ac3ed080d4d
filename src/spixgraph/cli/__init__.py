"""The command line; each command group is one module, imported when it is asked for."""

import importlib
import logging
import sys
from typing import Any

import click

from spixgraph.errors import SpixError

_GROUPS = {
    "data": "Check data sets, make synthetic ones.",
    "segment": "Segment an image with a model bundle.",
    "plan": "Say what memory, disk and time an image takes, before anything runs.",
    "graph": "Cut an image into superpixels and write its region graph.",
    "picture": "Draw image, superpixels, graph and mask side by side.",
    "experiment": "Train and compare models on a folder of images and masks.",
    "model": "Register, promote and list models in the MLflow registry.",
    "serve": "Serve a model over HTTP on this machine; make API keys.",
    "bento": "Build a versioned, servable Bento of a model.",
}


class _LazyGroup(click.Group):
    """Import `spixgraph.cli.<name>` only when the command is used, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _GROUPS:
            return None
        module = importlib.import_module(f"spixgraph.cli.{cmd_name}")
        return getattr(module, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_GROUPS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="spixgraph")
def cli(debug: bool) -> None:
    """Segment very large microscopy images with graphs of superpixels."""
    if not debug:  # what tifffile logs of a broken file is told by our own error, in one line
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; an expected error is one line on stderr and exit status 1."""
    args = sys.argv[1:] if argv is None else argv
    try:
        return cli.main(args=args, prog_name="spixgraph", standalone_mode=True)
    except SpixError as error:
        if "--debug" in args:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
