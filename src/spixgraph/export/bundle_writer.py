"""Writing of model bundles: the network as ONNX and its card, in a folder."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from spixgraph.errors import InputError
from spixgraph.export.onnx_export import export_context, export_onnx
from spixgraph.files import atomic_path, sha256_file, write_json
from spixgraph.graph.scaling import Scaling
from spixgraph.nets.build import n_parameters
from spixgraph.nets.cnn import PixelUNet
from spixgraph.nets.node_net import NodeNet
from spixgraph.predict.bundle import (
    CARD_FILE,
    CONTEXT_FILE,
    MODEL_FILE,
    PIXEL_LAYER_FILE,
    bundle_sha256,
)
from spixgraph.predict.card import Card, ClassInfo, Column, ContextCard, Decoder, MemoryContract

_OWN_FILES = (CARD_FILE, MODEL_FILE, PIXEL_LAYER_FILE, CONTEXT_FILE)


class TrainedContext(Protocol):
    """A trained network of the overview."""

    @property
    def net(self) -> PixelUNet:
        """On the CPU, 2D."""

    @property
    def factor(self) -> int:
        """Edge of a cell in pixels."""

    @property
    def weight(self) -> float:
        """Its share of the class values of a pixel."""


class TrainedNet(Protocol):
    """A trained node network with its scalings, as `spixgraph.train` gives it."""

    @property
    def net(self) -> NodeNet:
        """On the CPU."""

    @property
    def build(self) -> dict[str, Any]:
        """Its "kind" is the name of the network."""

    @property
    def node_scaling(self) -> Scaling:
        """Of the node features."""

    @property
    def edge_scaling(self) -> Scaling:
        """Of the edge features."""

    @property
    def pixel_scaling(self) -> Scaling | None:
        """Of the columns of a pixel; None without a pixel decoder."""

    @property
    def temperature(self) -> float:
        """What logits are divided by to become probabilities."""

    @property
    def context(self) -> TrainedContext | None:
        """A second opinion on pixels."""


def write_bundle(
    path: Path,
    trained: TrainedNet,
    *,
    name: str,
    recipe: dict[str, Any],
    n_dims: Literal[2, 3],
    n_channels: int,
    classes: Sequence[ClassInfo],
    pixel_size_um_range: tuple[float, float] | None,
    metrics: Mapping[str, float],
    memory: MemoryContract,
    data_sha256: str,
    code_sha256: str,
    documents: Sequence[Path] = (),
) -> str:
    """Write a bundle, whole or not at all; same arguments, same bytes.

    Parameters
    ----------
    path : Path
        A folder; replaced if it exists.
    trained : TrainedNet
    documents : sequence of Path
        Licence and source of the data, copied under their names.
    name, recipe, n_dims, n_channels, classes, pixel_size_um_range, metrics, memory, \
data_sha256, code_sha256
        As in `spixgraph.predict.card.Card`.

    Returns
    -------
    sha256 : str
        `spixgraph.predict.bundle.bundle_sha256` of the folder.

    Raises
    ------
    InputError
        If the number of classes is not that of the network, or two documents share a name.
    """
    _require_fit(trained, classes, documents)
    with atomic_path(path) as part:
        part.mkdir()
        export_onnx(trained.net, part / MODEL_FILE)
        layer = trained.net.pixel_layer
        if layer is not None:
            np.save(part / PIXEL_LAYER_FILE, layer.detach().numpy())
        context = trained.context
        if context is not None:
            export_context(context.net, part / CONTEXT_FILE, n_channels=n_channels)
        for document in documents:
            shutil.copyfile(document, part / document.name)
        card = Card(
            name=name,
            network=trained.build["kind"],
            n_parameters=n_parameters(trained.net),
            n_layers=trained.build["layers"],
            recipe=recipe,
            n_dims=n_dims,
            n_channels=n_channels,
            node_features=_columns(trained.node_scaling),
            edge_features=_columns(trained.edge_scaling),
            decoder=_decoder(trained.pixel_scaling, 0 if layer is None else len(layer)),
            context=None if context is None else _context_card(context),
            scaled_per_image=trained.pixel_scaling is not None,
            temperature=trained.temperature,
            classes=tuple(classes),
            pixel_size_um_range=pixel_size_um_range,
            metrics=dict(metrics),
            memory=memory,
            data_sha256=data_sha256,
            code_sha256=code_sha256,
            parts_sha256={p.name: sha256_file(p) for p in sorted(part.iterdir())},
        )
        write_json(part / CARD_FILE, card.model_dump(mode="json"))
    return bundle_sha256(path)


def _require_fit(
    trained: TrainedNet, classes: Sequence[ClassInfo], documents: Sequence[Path]
) -> None:
    if len(classes) != trained.net.n_classes:
        raise InputError(
            f"the network has {trained.net.n_classes} classes, but {len(classes)} are named: "
            f"{[c.name for c in classes]}"
        )
    names = [document.name for document in documents]
    if len({*names, *_OWN_FILES}) < len(names) + len(_OWN_FILES):
        raise InputError(f"documents need names of their own in a bundle, got {names}")


def _decoder(scaling: Scaling | None, n_hidden: int) -> Decoder | None:
    return None if scaling is None else Decoder(columns=_columns(scaling), n_hidden=n_hidden)


def _context_card(context: TrainedContext) -> ContextCard:
    return ContextCard(
        factor=context.factor, weight=context.weight, n_parameters=n_parameters(context.net)
    )


def _columns(scaling: Scaling) -> tuple[Column, ...]:
    rows = zip(scaling.names, scaling.mean.tolist(), scaling.scale.tolist(), strict=True)
    return tuple(Column(name=name, mean=mean, scale=scale) for name, mean, scale in rows)
