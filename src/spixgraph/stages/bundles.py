"""Stages `export` and `verify`: the selected model as a bundle, and the proof that it holds."""

from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.config.params import NodeModelName
from spixgraph.errors import GateError, InputError
from spixgraph.evaluate.colours import default_colours
from spixgraph.evaluate.report import pooled_metrics
from spixgraph.export.bundle_writer import write_bundle
from spixgraph.export.parity import prove_parity
from spixgraph.files import code_sha256, read_json, write_json
from spixgraph.io.masks import read_mask
from spixgraph.predict.bundle import bundle_sha256, load_bundle
from spixgraph.predict.card import ClassInfo
from spixgraph.predict.driver import open_model, segment_source
from spixgraph.predict.memory import memory_contract
from spixgraph.stages.evaluation import load_results
from spixgraph.stages.prepare import Prepared, load_prepared, open_item, recipe_for
from spixgraph.stages.run import Run, recipe_of
from spixgraph.train.checkpoints import load_checkpoint
from spixgraph.train.node_training import TrainedNodeNet

_DATA_DOCUMENTS = ("LICENSE", "LICENSE.txt", "LICENSE.md", "SOURCE.md")


def export_selected(run: Run) -> None:
    """Write the bundle of the selected model."""
    chosen = read_json(run.layout.selected)
    export_model(run, chosen["name"], chosen["seed"], run.layout.bundle)


def export_model(run: Run, model: NodeModelName, seed: int, out: Path) -> str:
    """Write the bundle of one trained graph model; returns its sha256."""
    prepared = load_prepared(run)
    recipe = recipe_for(run, recipe_of(model))
    trained = _trained(run, model, seed)
    layer = trained.net.pixel_layer
    return write_bundle(
        out,
        trained,
        name=run.params.export.model_name,
        recipe=recipe.model_dump(mode="json"),
        n_dims=prepared.n_dims,
        n_channels=prepared.n_channels,
        classes=_classes(run, prepared),
        pixel_size_um_range=_pixel_sizes(prepared),
        metrics=_metrics(run, model, seed),
        memory=memory_contract(
            recipe,
            prepared.n_channels,
            hidden=trained.build["hidden"],
            members=trained.build.get("members", 1),
            hidden_weights=0 if layer is None else len(layer) * trained.net.n_classes,
            context_factor=trained.context.factor if trained.context else None,
        ),
        data_sha256=prepared.sha256,
        code_sha256=code_sha256(),
        documents=[p for name in _DATA_DOCUMENTS if (p := run.source / name).is_file()],
    )


def verify(run: Run) -> None:
    """Prove the bundle of this run: ONNX parity, and the masks of the evaluation again.

    Raises
    ------
    GateError
        If a figure is beyond the limits of the `verify` section; nothing is written then.
    """
    limits = run.params.verify
    chosen = read_json(run.layout.selected)
    trained = _trained(run, chosen["name"], chosen["seed"])
    bundle = load_bundle(run.layout.bundle)
    parity = prove_parity(
        trained.net, bundle.model_path, max_difference=limits.max_logit_difference
    )
    different, total = _disagreement(run, chosen["name"], chosen["seed"])
    if different > limits.max_pixel_disagreement * total:
        raise GateError(
            f"the bundle gives another class on {different} of {total} pixels than the evaluation, "
            f"{limits.max_pixel_disagreement:g} of them is the limit; export it again"
        )
    write_json(
        run.layout.verification,
        {
            "bundle_sha256": bundle_sha256(run.layout.bundle),
            "parity_max_difference": parity.max_difference,
            "pixels": total,
            "pixels_different": different,
        },
    )


def _trained(run: Run, model: str, seed: int) -> TrainedNodeNet:
    trained = load_checkpoint(run.layout.checkpoint(model, seed)).trained
    if not isinstance(trained, TrainedNodeNet):
        raise InputError(f"{model} works on pixels; a bundle holds one of gnn, paper and mlp")
    return trained


def _disagreement(run: Run, name: str, seed: int) -> tuple[int, int]:
    """Count the pixels of val and test where bundle and evaluation differ."""
    model = open_model(load_bundle(run.layout.bundle), device="cpu")
    different = total = 0
    for item in load_prepared(run).split("val", "test"):
        with open_item(run, item) as source:
            mask = segment_source(source, model).mask
        expected = read_mask(run.layout.masks(name, seed) / f"{item.id}.tif")
        different += int(np.count_nonzero(mask != expected))
        total += mask.size
    return different, total


def _classes(run: Run, prepared: Prepared) -> tuple[ClassInfo, ...]:
    colours = run.params.export.colours or default_colours(prepared.n_classes)
    named = zip(prepared.class_names, colours, strict=True)
    return tuple(ClassInfo(id=i, name=n, colour=c) for i, (n, c) in enumerate(named))


def _pixel_sizes(prepared: Prepared) -> tuple[float, float] | None:
    sizes = [i.pixel_size_um[1] for i in prepared.split("train") if i.pixel_size_um is not None]
    return (min(sizes), max(sizes)) if sizes else None


def _metrics(run: Run, model: str, seed: int) -> dict[str, Any]:
    _, results = load_results(run, model, seed, "test")
    metrics = pooled_metrics(results)
    per_class = metrics.pop("iou_per_class")
    metrics |= {f"iou_class_{i}": value for i, value in enumerate(per_class)}
    return {name: value for name, value in metrics.items() if value is not None}
