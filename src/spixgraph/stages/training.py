"""One training, tracked in MLflow; the stage runs it in a process of its own."""

import logging
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from spixgraph.config.params import CnnTraining, ModelName, NodeTraining
from spixgraph.files import code_sha256, write_json
from spixgraph.graph.stream.heap import give_back
from spixgraph.io.records import Split
from spixgraph.resources import PeakMemory
from spixgraph.scratch import scratch_folder
from spixgraph.stages.context import Phase, with_context
from spixgraph.stages.graphs import load_graphs, make_changed_graphs, open_graphs
from spixgraph.stages.models import node_model_of
from spixgraph.stages.prepare import Prepared, load_prepared, recipe_for, scaled_image, true_mask
from spixgraph.stages.run import Run, recipe_of
from spixgraph.stages.trainings import graphs_sha256
from spixgraph.train.checkpoints import save_checkpoint
from spixgraph.train.cnn_training import TrainedCnn, train_cnn
from spixgraph.train.devices import pick_device
from spixgraph.train.ending import ending_of
from spixgraph.train.gpu_memory import peak_gpu_bytes, reset_gpu_peak
from spixgraph.train.hidden_values import hidden_values
from spixgraph.train.loop import EpochRecord
from spixgraph.train.node_training import TrainedNodeNet, train_node_net
from spixgraph.train.patches import AnnotatedImage
from spixgraph.train.tracking import TrackedRun, training_run
from spixgraph.train.trees import TrainedTrees, save_trees, train_trees

log = logging.getLogger(__name__)

OnPhase = Callable[[Phase, EpochRecord], None]
"""Hears of the epochs of all trainings of a model."""

_EPOCHS_PER_LINE = 10
MAX_CHANGED = 96
"""Changed parts of all images together, where there are not more images."""
_NODE_THREADS = 1  # their steps are too small to share: two threads took 1.4 times as long


def train_one(run: Run, model: ModelName, seed: int) -> None:
    """Train and track one network; call it in a process of its own."""
    prepared = load_prepared(run)
    settings = getattr(run.params.train, model)
    with training_run(
        experiment=f"spixgraph-{run.name}",
        run_name=f"{model}-seed{seed}",
        params=_flat({"train": settings.model_dump(mode="json"), **_recipe(run, model)}),
        tags=_tags(run, prepared, model, seed),
    ) as tracked:
        reset_gpu_peak()
        resumed = _resume(run, model, seed, "first").is_file()
        start, start_cpu = time.perf_counter(), time.process_time()
        histories: dict[Phase, list[EpochRecord]] = {}

        def note(phase: Phase, record: EpochRecord) -> None:
            histories.setdefault(phase, []).append(record)
            _report_epoch(tracked, f"{model} seed {seed}", phase, record)

        with PeakMemory() as memory:
            trained = fit_model(run, prepared, model, seed, on_epoch=note)
        cost: dict[str, Any] = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - start_cpu,
            "peak_rss_bytes": memory.peak_rss_bytes,
            "baseline_rss_bytes": memory.baseline_rss_bytes,
            "peak_gpu_bytes": peak_gpu_bytes(),
        }
        extra = {"recipe": _recipe(run, model), "data_sha256": prepared.sha256}
        course: dict[str, Any] = {}
        summary = {"n_parameters": trained.n_parameters}
        if isinstance(trained, TrainedTrees):
            save_trees(run.layout.checkpoint(model, seed), trained, extra=extra)
            summary["n_rounds"] = trained.n_rounds
        else:
            save_checkpoint(run.layout.checkpoint(model, seed), trained, extra=extra)
            course = _course(trained.history, settings)
            if history := histories.get("context"):
                course["context"] = _context_course(trained, history)
            if resumed:
                cost = with_earlier_epochs(cost, *histories.values())
            summary["best_epoch"] = trained.best_epoch
        write_json(
            run.layout.cost("train", f"{model}-seed{seed}"),
            {**cost, **course, "run_id": tracked.run_id},
        )
        figures = {k: v for k, v in (cost | summary).items() if v is not None}
        tracked.log_metrics({f"train_{key}": value for key, value in figures.items()})
    for phase in get_args(Phase):
        _resume(run, model, seed, phase).unlink(missing_ok=True)


def with_earlier_epochs(cost: dict[str, Any], *histories: Sequence[EpochRecord]) -> dict[str, Any]:
    """Correct the cost of a resumed training, whose first epochs another process has paid for.

    Histories, of one network after the other, hold the seconds of all epochs; processor seconds are
    then not known.
    """
    seconds = sum(history[-1].seconds for history in histories if history)
    return {**cost, "seconds": seconds, "cpu_seconds": None}


def _course(history: Sequence[EpochRecord], settings: NodeTraining | CnnTraining) -> dict[str, Any]:
    """Say how a training went: why it ended, and its curve."""
    return {"ended_by": ending_of(history, settings), "curve": _curve(history)}


def _context_course(
    trained: TrainedNodeNet | TrainedCnn, history: Sequence[EpochRecord]
) -> dict[str, Any]:
    """Say how the network of the overview learned, and what it weighs: 0 where it is left out."""
    context = trained.context if isinstance(trained, TrainedNodeNet) else None
    return {"weight": context.weight if context else 0.0, "curve": _curve(history)}


def _curve(history: Sequence[EpochRecord]) -> list[list[float]]:
    return [[r.epoch, round(r.seconds, 1), round(r.macro_iou, 5)] for r in history]


def fit_model(
    run: Run,
    prepared: Prepared,
    model: ModelName,
    seed: int,
    *,
    on_epoch: OnPhase = lambda phase, record: None,
) -> TrainedNodeNet | TrainedCnn | TrainedTrees:
    """Read the data of the model and train it; no store of runs is asked."""
    settings = getattr(run.params.train, model)
    train, val = prepared.split("train"), prepared.split("val")
    if model == "forest" or model == "boosting":
        ours, theirs = (load_graphs(run, recipe_of(model), items) for items in (train, val))
        return train_trees(model, ours, theirs, settings, seed=seed)
    common: dict[str, Any] = {
        "seed": seed,
        "device": pick_device(run.params.train.device),
        "threads": run.params.train.threads if model == "cnn" else _NODE_THREADS,
        **_noted(run, model, seed, "first", on_epoch),
    }
    if model == "cnn":
        images = {s: _annotated(run, prepared, s) for s in ("train", "val")}
        return train_cnn(
            images["train"], images["val"], settings, n_classes=prepared.n_classes, **common
        )
    if model == "paper":
        ours, theirs = (load_graphs(run, "paper", items) for items in (train, val))
        return train_node_net(model, ours, theirs, settings, **common)
    graphs, pixels = open_graphs(run, train)
    val_graphs, val_pixels = open_graphs(run, val)
    with scratch_folder() as folder:
        if n_each := changed_of_each(settings.changed, len(train)):
            others, their_pixels = make_changed_graphs(
                run, train, graphs, folder, n_each=n_each, seed=seed
            )
            graphs = graphs * n_each + others
            pixels = pixels * n_each + their_pixels
            give_back()  # what making graphs took
        recipe = recipe_for(run, recipe_of(model))
        width = hidden_values(settings.pixel_hidden, nodes_per_megapixel=recipe.nodes_per_megapixel)

        def fit(settings: NodeTraining, phase: Phase) -> TrainedNodeNet:
            return train_node_net(
                model, graphs, val_graphs, settings,
                samples=(pixels, val_pixels),
                pixel_hidden=width,
                **{**common, **_noted(run, model, seed, phase, on_epoch)},
            )  # fmt: skip

        if settings.context is None:
            return fit(settings, "first")
        return with_context(
            run, prepared, settings, fit,
            lambda net: node_model_of(net, recipe, run.params.train.device),
            seed=seed,
            device=common["device"],
            threads=run.params.train.threads,
            **_noted(run, model, seed, "context", on_epoch),
        )  # fmt: skip


def _noted(
    run: Run, model: ModelName, seed: int, phase: Phase, on_epoch: OnPhase
) -> dict[str, Any]:
    """Say where the state of a phase is kept, and who hears of its epochs."""
    path = _resume(run, model, seed, phase)
    return {"resume_path": path, "on_epoch": lambda record: on_epoch(phase, record)}


def _resume(run: Run, model: ModelName, seed: int, phase: Phase) -> Path:
    path = run.layout.resume(model, seed)
    return path if phase == "first" else path.with_name(f"{path.stem}-{phase}{path.suffix}")


def changed_of_each(most: int, n_images: int) -> int:
    """Say how many changed parts there are of each training image: fewer of many images."""
    return min(most, max(1, MAX_CHANGED // n_images))


def _annotated(run: Run, prepared: Prepared, split: Split) -> list[AnnotatedImage]:
    return [
        AnnotatedImage(scaled_image(run, item), true_mask(run, item))
        for item in prepared.split(split)
    ]


def _report_epoch(tracked: TrackedRun, name: str, phase: Phase, record: EpochRecord) -> None:
    name, prefix = (name, "") if phase == "first" else (f"{name}, {phase}", f"{phase}_")
    if record.epoch % _EPOCHS_PER_LINE == 0:
        log.info(
            "%s: epoch %d, loss %.3f, val macro IoU %.4f, %.0f s",
            name, record.epoch, record.loss, record.macro_iou, record.seconds,
        )  # fmt: skip
    tracked.log_metrics(
        {
            f"{prefix}loss": record.loss,
            f"{prefix}val_macro_iou": record.macro_iou,
            f"{prefix}rate": record.learning_rate,
        },
        step=record.epoch,
    )


def _recipe(run: Run, model: ModelName) -> dict[str, Any]:
    return {} if model == "cnn" else recipe_for(run, recipe_of(model)).model_dump(mode="json")


def _tags(run: Run, prepared: Prepared, model: str, seed: int) -> dict[str, str]:
    return {
        "model": model,
        "seed": str(seed),
        "dataset": prepared.name,
        "data_sha256": prepared.sha256,
        "graphs_sha256": graphs_sha256(run, model),
        "code_sha256": code_sha256(),
        "git_revision": git_revision() or "none",
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", "none"),
    }


def git_revision() -> str | None:
    """Return the commit of the working folder, None where there is none."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name nested settings by their path, as in `train.layers`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
