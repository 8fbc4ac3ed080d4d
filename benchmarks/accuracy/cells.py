"""One cell of the benchmark: a data set, a model and a seed, trained, applied and counted.

A cell is kept as JSON with the hash of what it was made from. So a benchmark that was stopped goes
on where it was, and cells that were run on several machines are put together by copying files.
"""

import logging
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spixgraph.config.params import ModelName, Params
from spixgraph.evaluate.report import pooled_metrics
from spixgraph.files import atomic_path, canonical_json, code_sha256, read_json, sha256_json
from spixgraph.stages.evaluation import (
    count_ceiling,
    count_model,
    predict_masks,
    results_of,
    total_budget,
)
from spixgraph.stages.graphs import make_graphs, make_superpixels
from spixgraph.stages.layout import Layout
from spixgraph.stages.prepare import load_prepared, prepare
from spixgraph.stages.reporting import graph_seconds
from spixgraph.stages.run import Run, alone, recipe_of
from spixgraph.stages.training import git_revision
from spixgraph.stages.trainings import code_of, train_if_new

log = logging.getLogger(__name__)

Cell = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bench:
    """One data set of the benchmark, prepared.

    Attributes
    ----------
    run : Run
        Where it works; what it makes there may be deleted, at the price of time.
    results : Path
        Folder of the JSON files, `<data set>/<model>-seed<k>.json`.
    """

    run: Run
    results: Path

    @classmethod
    def of(cls, data: Path, params: Params, *, work: Path, results: Path) -> "Bench":
        """Check the data set and get ready to run its cells."""
        run = Run(Layout(work / data.resolve().name), data, params)
        prepare(run)
        return cls(run, results)

    def path(self, model: str, seed: int) -> Path:
        """Say where the result of a cell lies."""
        return self.results / self.run.name / f"{model}-seed{seed}.json"

    def key(self, model: ModelName, seed: int) -> str:
        """Hash what a cell depends on: data, settings and the code of its model."""
        params = self.run.params
        own = {} if model == "cnn" else params.recipe(recipe_of(model)).model_dump(mode="json")
        return sha256_json(
            {
                "data": load_prepared(self.run).sha256,
                "settings": getattr(params.train, model).model_dump(mode="json"),
                "recipe": own,
                "boundary": params.evaluate.model_dump(mode="json"),
                "device": params.train.device,
                "threads": params.train.threads if model == "cnn" else 1,
                "seed": seed,
                "code": code_sha256(*code_of(model)),
            }
        )

    def known(self, model: ModelName, seed: int) -> Cell | None:
        """Return the result of a cell if it is there and still holds."""
        path = self.path(model, seed)
        cell: Cell = read_json(path) if path.is_file() else {}
        return cell if cell.get("key") == self.key(model, seed) else None

    def make(self, model: ModelName, seed: int) -> Cell:
        """Run one cell, or take what is known; training goes on where it was stopped."""
        if (cell := self.known(model, seed)) is not None:
            log.info("%s %s seed %d is known", self.run.name, model, seed)
            return cell
        if model != "cnn":
            make_superpixels(self.run, recipe_of(model))
            make_graphs(self.run, recipe_of(model))
        train_if_new(self.run, model, seed)
        alone(predict_masks, self.run, model, seed)
        cell = self._counted(model, seed)
        path = self.path(model, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            part.write_text(canonical_json(cell), encoding="utf-8")
        return cell

    def _counted(self, model: ModelName, seed: int) -> Cell:
        run, prepared = self.run, load_prepared(self.run)
        counted = count_model(run, prepared, model, seed)
        images = {split: results_of(counted["splits"][split]) for split in ("val", "test")}
        name = f"{model}-seed{seed}"
        train = read_json(run.layout.cost("train", name))
        ceiling, budget = None, total_budget(counted["splits"]["test"])
        if model != "cnn":
            best = count_ceiling(run, prepared, recipe_of(model))["test"]
            ceiling = {
                **pooled_metrics(results_of(best["images"])),
                "nodes_per_megapixel": best["n_nodes"] / best["megapixels"],
            }
        return {
            "key": self.key(model, seed),
            "dataset": run.name,
            "name": model,
            "seed": seed,
            "class_names": list(prepared.class_names),
            "n_parameters": counted["n_parameters"],
            "metrics": pooled_metrics(images["test"]),
            "val_metrics": pooled_metrics(images["val"]),
            "per_image": [
                {"id": i.id, "macro_iou": pooled_metrics([i])["macro_iou"]} for i in images["test"]
            ],
            "train": {**train, "graph_seconds": graph_seconds(run, prepared, model)},
            "inference": read_json(run.layout.cost("inference", name))["test"],
            "ceiling": ceiling,
            "error_budget": budget and asdict(budget),
            "settings": getattr(run.params.train, model).model_dump(mode="json"),
            "machine": {
                "cores": os.cpu_count(),
                "processor": platform.machine(),
                "threads": run.params.train.threads if model == "cnn" else 1,
                "git_revision": git_revision(),
            },
        }
