"""`spixgraph serve`: a model over HTTP without BentoML, and the keys of who may ask."""

import contextlib
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from spixgraph.cli.model import split_reference
from spixgraph.errors import InputError
from spixgraph.scratch import scratch_folder

_PATH = click.Path(path_type=Path)


@click.group()
def serve() -> None:
    """Serve a model over HTTP on this machine; make API keys.

    The same service as in a Bento, set up by the same SPIXGRAPH_* variables, from the code that is
    installed. For a version that never changes under you, build a Bento.
    """


@serve.command()
@click.argument("model", metavar="BUNDLE_OR_NAME@ALIAS")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True, type=click.IntRange(0, 65535))
def run(model: str, host: str, port: int) -> None:
    """Serve a bundle folder, or NAME@ALIAS of the registry, until stopped.

    \b
    Example:
      spixgraph serve run models/bundle
      SPIXGRAPH_ROOTS=/data/slides spixgraph serve run spixgraph-phantom@champion
    """
    import uvicorn

    from spixgraph.serve.app import make_app
    from spixgraph.serve.connections import BoundedConnection
    from spixgraph.serve.running import start_running
    from spixgraph.serve.settings import read_settings

    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    # uvicorn raises a caught signal again once it is done, which would skip what follows
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = read_settings()
    app = make_app(settings)
    with _bundle_of(model) as (bundle, version):
        running = start_running(settings, bundle, version=version, metrics=app.state.metrics)
        app.state.running = running
        try:
            uvicorn.run(
                app, host=host, port=port, log_level="warning", server_header=False,
                http=BoundedConnection, ws="none",
                timeout_keep_alive=30, timeout_graceful_shutdown=30,
            )  # fmt: skip
        finally:
            running.stop()


@serve.command()
@click.argument("name")
@click.option("--file", "path", required=True, type=_PATH, help="Of hashed keys (SPIXGRAPH_KEYS).")
def key(name: str, path: Path) -> None:
    """Make an API key for NAME, add its hash to the file, and show the key this once."""
    from spixgraph.serve.keys import add_key

    click.echo(add_key(path, name))


@contextlib.contextmanager
def _bundle_of(model: str) -> Iterator[tuple[Path, str]]:
    """Find the bundle and the version that the service names."""
    if Path(model).is_dir():
        yield Path(model), "local"
        return
    if "@" not in model:
        raise InputError(f"{model} is neither a folder nor NAME@ALIAS")
    from spixgraph.registry.versions import fetch

    name, alias = split_reference(model)
    with scratch_folder() as folder:
        path = folder / "bundle"
        version = fetch(name, alias, path)
        yield path, str(version.number)
