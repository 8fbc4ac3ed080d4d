"""`spixgraph experiment`: the whole chain on one folder, without DVC."""

import json
import logging
import re
from pathlib import Path
from typing import cast

import click
from rich.console import Console
from rich.logging import RichHandler
from rich.markdown import Markdown

from spixgraph.config.params import ModelName, Params, load_params
from spixgraph.errors import InputError

_NETWORKS = ("gnn", "cnn", "paper", "mlp")
_CONTEXT_SHARE = 0.4
"""Of the minutes of a model that go to its network of the overview."""
_MODELS = (*_NETWORKS, "forest", "boosting")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for results.")
@click.option("--models", default=",".join(_MODELS), show_default=True, help="Which models.")
@click.option("--seeds", default=1, show_default=True, help="Number of seeds per model.")
@click.option(
    "--max-minutes-per-model", type=click.FloatRange(min=0, min_open=True), help="Training limit."
)
@click.option("--params", "params_path", type=click.Path(path_type=Path), help="A params.yaml.")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Rows of the manifest.")
@click.option("--allow-shared-groups", is_flag=True, help="Accept a group in several splits.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def experiment(
    dataset: Path,
    out: Path,
    models: str,
    seeds: int,
    max_minutes_per_model: float | None,
    params_path: Path | None,
    where: tuple[str, ...],
    allow_shared_groups: bool,
    as_json: bool,
) -> None:
    """Train and compare models on DATASET, a folder with manifest.csv or images/ and masks/.

    Writes report.html, report.json and the model bundles to --out. A run that was stopped goes on
    where it was when the command is given again.

    \b
    Example:
      spixgraph experiment colonies/ --out tried/ --models gnn,mlp --max-minutes-per-model 5
    """
    params = load_params(params_path) if params_path is not None else _named_after(dataset)
    params = _changed(params, where, allow_shared_groups, seeds, max_minutes_per_model)
    names = _model_names(models)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_path=False)],
    )
    logging.getLogger("spixgraph").setLevel(logging.INFO)
    from spixgraph.stages.experiment import experiment as run_experiment

    report = run_experiment(dataset, out, params, names)
    if as_json:
        click.echo(json.dumps(report))
        return
    console = Console()
    console.print(Markdown((out / "report.md").read_text(encoding="utf-8")))
    console.print(f"report   {out / 'report.html'}\nbundles  {out / 'bundles'}")


def _named_after(dataset: Path) -> Params:
    """Take the defaults; the model is called as the folder is, since its users see that name."""
    name = re.sub("[^a-z0-9]+", "-", dataset.resolve().name.lower()).strip("-")
    return Params.model_validate({"export": {"model_name": f"spixgraph-{name}"}} if name else {})


def _model_names(text: str) -> tuple[ModelName, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in _MODELS]
    if unknown or not names:
        raise InputError(f"--models must be of {', '.join(_MODELS)}, got {text!r}")
    return cast("tuple[ModelName, ...]", names)


def _changed(
    params: Params,
    where: tuple[str, ...],
    allow_shared_groups: bool,
    seeds: int,
    max_minutes: float | None,
) -> Params:
    """Apply the options to the settings."""
    if seeds < 1:
        raise InputError(f"--seeds must be >= 1, got {seeds}")
    pairs = dict(_pair(text) for text in where)
    values = params.model_dump()
    values["prepare"]["where"] |= pairs
    values["prepare"]["allow_shared_groups"] |= allow_shared_groups
    values["train"]["seeds"] = tuple(range(seeds))
    if max_minutes is not None:
        for model in _NETWORKS:
            settings = values["train"][model]
            context = settings.get("context")
            share = _CONTEXT_SHARE if context else 0.0
            settings["max_minutes"] = (1 - share) * max_minutes
            if context:
                context["max_minutes"] = share * max_minutes
    return Params.model_validate(values)


def _pair(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise InputError(f"--where wants COLUMN=VALUE, got {text!r}")
    return column, value
