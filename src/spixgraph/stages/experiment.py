"""The whole chain on one folder, without DVC: what `spixgraph experiment` runs."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from spixgraph.config.params import ModelName, NodeModelName, Params
from spixgraph.errors import InputError
from spixgraph.evaluate.report import Report
from spixgraph.files import atomic_path, read_json
from spixgraph.stages.bundles import export_model, verify
from spixgraph.stages.evaluation import evaluate
from spixgraph.stages.graphs import make_graphs, make_superpixels
from spixgraph.stages.layout import Layout
from spixgraph.stages.prepare import prepare
from spixgraph.stages.reporting import track_evaluation, write_report
from spixgraph.stages.run import Run, recipe_of
from spixgraph.stages.selection import select
from spixgraph.stages.trainings import train_if_new

log = logging.getLogger(__name__)


def experiment(dataset: Path, out: Path, params: Params, models: Sequence[ModelName]) -> Report:
    """Train and compare `models` on a data set; write report and bundles to `out`.

    Parameters
    ----------
    dataset : Path
        Folder of a data set.
    out : Path
        Gets ``report.json``, ``report.html``, ``report.md`` and ``bundles/<model>-seed<k>``, and
        below ``work/`` what the stages make. A run that was stopped goes on where it was.
    params : Params
        `prepare.source` is ignored in favour of `dataset`.
    models : sequence of str
        At least one graph model (gnn, paper, mlp), so that there is something to export.

    Raises
    ------
    InputError
        If no graph model is named, or the data set is not fit.
    """
    node_models = [cast("NodeModelName", m) for m in models if m in get_args(NodeModelName)]
    if not node_models:
        raise InputError(f"models must hold gnn, paper or mlp, got {list(models)}; add one")
    candidates = {"candidates": tuple(node_models)}
    params = params.model_copy(update={"select": params.select.model_copy(update=candidates)})
    run = Run(Layout(out / "work"), dataset, params)
    prepare(run)
    for recipe in sorted({recipe_of(model) for model in models if model != "cnn"}):
        log.info("superpixels and graphs: %s", recipe)
        make_superpixels(run, recipe)
        make_graphs(run, recipe)
    for model in models:
        for seed in params.train.seeds:
            train_if_new(run, model, seed)
    evaluate(run)
    track_evaluation(run)
    select(run)
    for model in node_models:
        for seed in params.train.seeds:
            export_model(run, model, seed, out / "bundles" / f"{model}-seed{seed}")
    chosen = read_json(run.layout.selected)
    with atomic_path(run.layout.bundle) as part:
        shutil.copytree(out / "bundles" / f"{chosen['name']}-seed{chosen['seed']}", part)
    verify(run)
    return write_report(run, out)
