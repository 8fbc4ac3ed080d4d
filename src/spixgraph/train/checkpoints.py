"""Trained networks on disk: plain arrays and JSON, no pickle; same network, same bytes."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spixgraph.errors import StoredDataError
from spixgraph.files import atomic_path, canonical_json, read_json, sha256_file
from spixgraph.graph.scaling import Scaling
from spixgraph.nets.build import build_node_net
from spixgraph.nets.cnn import build_cnn
from spixgraph.train.cnn_training import TrainedCnn
from spixgraph.train.context import TrainedContext
from spixgraph.train.loop import EpochRecord
from spixgraph.train.node_training import TrainedNodeNet

SCHEMA = 2
WEIGHTS_FILE = "weights.npz"
FACTS_FILE = "checkpoint.json"
_CONTEXT = "context."
"""Before the names of the weights of the network of the overview."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What `load_checkpoint` gives back.

    Attributes
    ----------
    trained : TrainedNodeNet or TrainedCnn
        The seconds in its history are NaN: times are not kept, so that bytes depend on results.
    extra : dict
        What was handed to `save_checkpoint`.
    """

    trained: TrainedNodeNet | TrainedCnn
    extra: dict[str, Any]


def save_checkpoint(
    folder: Path, trained: TrainedNodeNet | TrainedCnn, *, extra: dict[str, Any]
) -> None:
    """Write `weights.npz` and `checkpoint.json`, atomically.

    Parameters
    ----------
    folder : Path
        Replaced if it exists.
    trained : TrainedNodeNet or TrainedCnn
    extra : dict
        JSON values without times or paths: the recipe, the data hash, the code revision.
    """
    with atomic_path(folder) as part:
        part.mkdir()
        weights = dict(trained.net.state_dict())
        if isinstance(trained, TrainedNodeNet) and trained.context is not None:
            of_context = trained.context.net.state_dict()
            weights |= {_CONTEXT + name: values for name, values in of_context.items()}
        _write_npz(part / WEIGHTS_FILE, {name: weights[name].cpu().numpy() for name in weights})
        facts = {
            "schema_version": SCHEMA,
            "weights_sha256": sha256_file(part / WEIGHTS_FILE),
            "build": trained.build,
            "best_epoch": trained.best_epoch,
            "n_parameters": trained.n_parameters,
            "history": [_without_seconds(record) for record in trained.history],
            "extra": extra,
            **_facts(trained),
        }
        (part / FACTS_FILE).write_text(canonical_json(facts), encoding="utf-8")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and build its network.

    Raises
    ------
    InputError
        If there is none in `folder`.
    StoredDataError
        If the schema is foreign, or the weights are damaged or of another network.
    """
    facts = read_json(folder / FACTS_FILE)
    schema = facts.get("schema_version") if isinstance(facts, dict) else None
    if schema != SCHEMA:
        raise StoredDataError(
            f"{folder} has schema {schema}, this version reads {SCHEMA}; train the model again"
        )
    weights = folder / WEIGHTS_FILE
    if not weights.is_file() or sha256_file(weights) != facts["weights_sha256"]:
        raise StoredDataError(f"{weights} is missing or damaged; train the model again")
    return Checkpoint(_trained(facts, weights), facts["extra"])


def _facts(trained: TrainedNodeNet | TrainedCnn) -> dict[str, Any]:
    """Name what only one of the two kinds has."""
    if isinstance(trained, TrainedCnn):
        return {"window_zyx": trained.window_zyx, "overlap": trained.overlap}
    return {
        "node_scaling": _scaling_facts(trained.node_scaling),
        "edge_scaling": _scaling_facts(trained.edge_scaling),
        "temperature": trained.temperature,
        "pixel_scaling": trained.pixel_scaling and _scaling_facts(trained.pixel_scaling),
        "context": trained.context
        and {
            "build": trained.context.build,
            "factor": trained.context.factor,
            "weight": trained.context.weight,
        },
    }


def _trained(facts: dict[str, Any], weights: Path) -> TrainedNodeNet | TrainedCnn:
    history = tuple(_record(values) for values in facts["history"])
    build, best_epoch = facts["build"], facts["best_epoch"]
    if "window_zyx" in facts:
        build["channels"] = tuple(build["channels"])
        cnn = build_cnn(**build)
        _load_weights(cnn, weights)
        window = tuple(facts["window_zyx"])
        return TrainedCnn(cnn, build, window, facts["overlap"], best_epoch, history)
    net = build_node_net(**build)
    _load_weights(net, weights)
    nodes, edges = _scaling(facts["node_scaling"]), _scaling(facts["edge_scaling"])
    pixels = facts["pixel_scaling"] and _scaling(facts["pixel_scaling"])
    temperature = facts.get("temperature", 1.0)  # older ones have none
    context = _context(facts.get("context"), weights)
    return TrainedNodeNet(
        net, build, nodes, edges, best_epoch, history, pixels, temperature, context
    )


def _context(facts: dict[str, Any] | None, weights: Path) -> TrainedContext | None:
    if facts is None:  # none, or an older checkpoint
        return None
    build = facts["build"]
    build["channels"] = tuple(build["channels"])
    net = build_cnn(**build)
    _load_weights(net, weights, prefix=_CONTEXT)
    return TrainedContext(net, build, facts["factor"], facts["weight"])


def _load_weights(net: nn.Module, path: Path, *, prefix: str = "") -> None:
    with np.load(path, allow_pickle=False) as arrays:
        weights = {
            name.removeprefix(prefix): torch.from_numpy(arrays[name])
            for name in arrays.files
            if name.startswith(_CONTEXT) == bool(prefix)
        }
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise StoredDataError(
            f"{path} holds weights of another network than {FACTS_FILE} names"
        ) from error
    net.eval()


def _write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Write sorted arrays; numpy stamps every entry with 1980-01-01, so bytes follow content."""
    np.savez(path, **{name: arrays[name] for name in sorted(arrays)})


def _scaling_facts(scaling: Scaling) -> dict[str, Any]:
    return {
        "names": scaling.names,
        "mean": scaling.mean.tolist(),
        "scale": scaling.scale.tolist(),
    }


def _scaling(facts: dict[str, Any]) -> Scaling:
    return Scaling(tuple(facts["names"]), np.array(facts["mean"]), np.array(facts["scale"]))


def _without_seconds(record: EpochRecord) -> dict[str, Any]:
    values = asdict(record)
    del values["seconds"]
    return values


def _record(values: dict[str, Any]) -> EpochRecord:
    """Read a record; NaN was written as null."""
    iou = tuple(math.nan if v is None else v for v in values["iou_per_class"])
    return EpochRecord(**values | {"iou_per_class": iou, "seconds": math.nan})
