"""`spixgraph model`: the MLflow registry from the command line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from spixgraph.config.params import PrepareSection, load_params
from spixgraph.errors import InputError
from spixgraph.files import canonical_json, read_json
from spixgraph.io.dataset import load_splits
from spixgraph.registry import promotion, versions
from spixgraph.registry.exam import Exam, TestImage, sit_exam
from spixgraph.registry.gate import GateRules
from spixgraph.registry.ledger import CHAMPION
from spixgraph.registry.lineage import restore_commands
from spixgraph.registry.store import Version
from spixgraph.stages.prepare import Prepared

_FOLDER = click.Path(path_type=Path)


@click.group()
def model() -> None:
    """Register, promote and list models in the MLflow registry.

    The registry is the server at MLFLOW_TRACKING_URI, else mlflow.db of the working directory.
    """


@model.command()
@click.argument("bundle", type=_FOLDER)
@click.option("--name", help="Of the registered model; default: the name on the card.")
@click.option(
    "--verification", type=_FOLDER, help="verification.json of the verify stage, for the gate."
)
def register(bundle: Path, name: str | None, verification: Path | None) -> None:
    """Register BUNDLE; the same bundle twice is one version.

    Run it in the folder of git and DVC that made the bundle, after `git commit`: then
    `spixgraph model show` can tell how to come back to it.
    """
    made = versions.register(bundle, name, verification=verification)
    click.echo(f"{made.name} version {made.number} ({', '.join(made.aliases)})")


@model.command()
@click.argument("name")
@click.option("--version", "number", required=True, type=int, help="Version to promote.")
@click.option("--to", "alias", default=CHAMPION, type=click.Choice([CHAMPION]))
@click.option(
    "--data", "dataset", type=_FOLDER,
    help="Data set whose test split both models sit; default: the prepared one of this folder.",
)  # fmt: skip
@click.option("--tolerance", type=float, help="IoU that may be lost.  [default: gate.tolerance]")
@click.option(
    "--verification", type=_FOLDER, help="verification.json, if not given when registering."
)
@click.option("--force", is_flag=True, help="Promote even if the gate refuses; needs --why.")
@click.option("--why", help="The reason, which goes on record.")
def promote(
    name: str,
    number: int,
    alias: str,
    dataset: Path | None,
    tolerance: float | None,
    verification: Path | None,
    force: bool,
    why: str | None,
) -> None:
    """Make a version of NAME the champion, if it passes the gate.

    The gate lets the version and the champion segment the test split, and compares accuracy (with
    an interval over images), memory, and seconds; it wants proof that ONNX gives what was trained.
    """
    if force != (why is not None):
        raise InputError("--force and --why TEXT go together")
    images = test_images(dataset)
    done = promotion.promote(
        name,
        number,
        examine=_exam_on(images) if images else None,
        rules=gate_rules(tolerance),
        verification=verification,
        force_why=why,
    )
    if done is None:
        click.echo(f"{name} version {number} is the {alias} already")
        return
    for check in done.verdict.checks:
        click.echo(f"{'ok   ' if check.passed else 'FAULT'} {check.name}: {check.says}")
    word = "by force" if done.forced else "through the gate"
    click.echo(f"{name} version {number} is the {alias}, {word}")


def gate_rules(tolerance: float | None) -> GateRules:
    """Read the `gate` section of params.yaml, where there is one; an option wins."""
    path = Path("params.yaml")
    values = load_params(path).gate.model_dump() if path.is_file() else {}
    return GateRules(**values | ({} if tolerance is None else {"tolerance": tolerance}))


def test_images(dataset: Path | None) -> list[TestImage]:
    """List the test split of a data set, or of the prepared one of this folder.

    The splits are those of the stage `prepare`: what it takes from the training images is taken
    here, too.
    """
    path = Path("params.yaml")
    settings = load_params(path).prepare if path.is_file() else PrepareSection()
    root = Path(settings.source)
    if dataset is not None:
        ours = dataset.resolve() == root.resolve()
        found = load_splits(
            dataset,
            where=settings.where if ours else {},
            split_fractions=settings.split_fractions,
            rng=np.random.default_rng(settings.seed),
            exclude=settings.exclude if ours else {},
        )
        return [
            TestImage(i.id, i.image, i.mask, i.pixel_size_um, i.part) for i in found.split("test")
        ]
    prepared = Path("data/prepared/dataset.json")
    if not prepared.is_file() or not path.is_file():
        return []
    return [
        TestImage(i.id, root / i.image, root / i.mask, i.pixel_size_um, i.part)
        for i in Prepared.model_validate(read_json(prepared)).split("test")
    ]


def _exam_on(images: list[TestImage]) -> Callable[[Path], Exam]:
    def examine(bundle: Path) -> Exam:
        return sit_exam(bundle, images)

    return examine


@model.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Make the previous champion of NAME the champion again."""
    restored = promotion.rollback(name)
    click.echo(f"{name} version {restored.number} is the champion again")


@model.command()
@click.argument("reference", metavar="NAME@ALIAS")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(reference: str, as_json: bool) -> None:
    """Say where NAME@ALIAS or NAME@VERSION comes from, and how to get back there."""
    name, alias = split_reference(reference)
    version, lineage = versions.lineage(name, alias)
    value = {**_row(version), "lineage": lineage, "restore": restore_commands(lineage)}
    if as_json:
        click.echo(canonical_json(value), nl=False)
        return
    rows = list(_lines(version, lineage))
    width = max(len(key) for key, _ in rows)
    for key, text in rows:
        click.echo(f"{key:{width}}  {text}")
    if value["restore"]:
        click.echo("restore it:\n  " + "\n  ".join(value["restore"]))
    else:
        click.echo(
            "how to restore it is not known: register a bundle where dvc.lock and git know it, "
            "after git commit"
        )


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


def _lines(version: Version, lineage: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what `show` prints, row by row."""
    yield "model", f"{version.name} version {version.number}"
    yield "aliases", ", ".join(version.aliases) or "none"
    for key in ("bundle_sha256", "data_sha256", "code_sha256", "bento"):
        yield key, version.tags.get(key, "not known")
    revision = lineage.get("git_revision")
    changed = "" if lineage.get("git_clean") else " and changes that are not committed"
    yield "git revision", f"{revision}{changed}" if revision else "not known"
    yield "MLflow run", str(lineage.get("run_id") or "not known")
    for group in ("data", "graphs", "checkpoints"):
        yield from lineage.get(group, {}).items()
    yield from ((key, f"{value:.4f}") for key, value in sorted(version.metrics.items()))
    yield from ((k, text) for k, text in sorted(version.tags.items()) if k.startswith("gate."))
    for key, value in sorted(lineage.get("params", {}).items()):
        yield key, json.dumps(value)


def _row(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.number,
        "aliases": list(version.aliases),
        "metrics": version.metrics,
        "tags": dict(version.tags),
    }
