"""`spixgraph model`: the MLflow registry from the command line."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from spixgraph.errors import InputError
from spixgraph.files import canonical_json
from spixgraph.registry import versions
from spixgraph.registry.store import Version

_FOLDER = click.Path(path_type=Path)


@click.group()
def model() -> None:
    """Register, promote and list models in the MLflow registry.

    The registry is the server at MLFLOW_TRACKING_URI, else mlflow.db of the working directory.
    """


@model.command()
@click.argument("bundle", type=_FOLDER)
@click.option("--name", help="Of the registered model; default: the name on the card.")
def register(bundle: Path, name: str | None) -> None:
    """Register BUNDLE; the same bundle twice is one version."""
    made = versions.register(bundle, name)
    click.echo(f"{made.name} version {made.number} ({', '.join(made.aliases)})")


@model.command()
@click.argument("name")
@click.option("--version", "number", required=True, type=int, help="Version to promote.")
@click.option("--to", "alias", default=versions.CHAMPION, type=click.Choice([versions.CHAMPION]))
@click.option("--tolerance", default=0.01, show_default=True, help="Macro IoU that may be lost.")
@click.option(
    "--verification", type=_FOLDER, help="verification.json of the verify stage, for the gate."
)
def promote(
    name: str, number: int, alias: str, tolerance: float, verification: Path | None
) -> None:
    """Make a version of NAME the champion, if it passes the gate."""
    verdict = versions.promote(name, number, tolerance=tolerance, verification=verification)
    if verdict is None:
        click.echo(f"{name} version {number} is the {alias} already")
        return
    best = verdict.champion_macro_iou
    against = "no champion before" if best is None else f"champion before {best:.4f}"
    click.echo(
        f"{name} version {number} is the {alias}: {verdict.macro_iou:.4f} macro IoU, {against}"
    )


@model.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Make the previous champion of NAME the champion again."""
    restored = versions.rollback(name)
    click.echo(f"{name} version {restored.number} is the champion again")


@model.command("list")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(name: str | None, as_json: bool) -> None:
    """List the versions of NAME, or of all models."""
    names = versions.list_names() if name is None else [name]
    found = [v for each in names for v in versions.list_versions(each)]
    if as_json:
        click.echo(canonical_json([_row(v) for v in found]), nl=False)
        return
    table = Table("model", "version", "aliases", "macro IoU", "bundle")
    for v in found:
        score = f"{v.metrics['macro_iou']:.4f}" if "macro_iou" in v.metrics else ""
        sha = v.tags["bundle_sha256"][:12]
        table.add_row(v.name, str(v.number), ", ".join(v.aliases), score, sha)
    Console().print(table)


@model.command()
@click.argument("reference", metavar="NAME@ALIAS")
@click.argument("out", type=_FOLDER)
def fetch(reference: str, out: Path) -> None:
    """Download the bundle of NAME@ALIAS or NAME@VERSION to the new folder OUT."""
    name, alias = split_reference(reference)
    version = versions.fetch(name, alias, out)
    click.echo(f"{out}: {name} version {version.number}")


def split_reference(reference: str) -> tuple[str, str]:
    """Split "NAME@ALIAS"."""
    name, at, alias = reference.partition("@")
    if not (name and at and alias):
        raise InputError(f"{reference!r} must be NAME@ALIAS or NAME@VERSION, as in {name}@champion")
    return name, alias


def _row(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.number,
        "aliases": list(version.aliases),
        "metrics": version.metrics,
        "tags": dict(version.tags),
    }
