"""Open a model bundle: schema first, then every part by its hash."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from spixgraph.arrays import Float32
from spixgraph.config.recipe import GraphRecipe
from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import read_json, sha256_file, sha256_tree
from spixgraph.predict.card import SCHEMA, Card

MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"
PIXEL_LAYER_FILE = "pixel_layer.npy"
CONTEXT_FILE = "context.onnx"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle.

    Attributes
    ----------
    path : Path
        The folder.
    card : Card
        Everything besides the weights.
    recipe : GraphRecipe
        The recipe of the card, checked.
    """

    path: Path
    card: Card
    recipe: GraphRecipe

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.path / MODEL_FILE

    @property
    def context_path(self) -> Path:
        """The network of the overview, where the card has a context."""
        return self.path / CONTEXT_FILE

    def pixel_layer(self) -> Float32 | None:
        """Read the layer of the hidden values of a pixel, see `predict.decoder.PixelModels`.

        Raises
        ------
        StoredDataError
            If the file does not hold what the card says.
        """
        decoder = self.card.decoder
        if decoder is None or not decoder.n_hidden:
            return None
        path, wanted = self.path / PIXEL_LAYER_FILE, (decoder.n_hidden, len(decoder.columns) + 1)
        try:
            layer: Float32 = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoredDataError(f"{path} cannot be read: {error}; fetch it again") from error
        if layer.shape != wanted or layer.dtype != np.float32 or not np.isfinite(layer).all():
            raise StoredDataError(
                f"{path} must hold {wanted} finite float32, as {CARD_FILE} says, got {layer.shape} "
                f"{layer.dtype}; export the model again"
            )
        return layer


def load_bundle(path: Path) -> Bundle:
    """Read and verify a bundle.

    Raises
    ------
    InputError
        If `path` is not a folder with a `card.json`.
    StoredDataError
        If the schema is foreign, or a part is missing, changed or not named in the card.
    """
    if not (path / CARD_FILE).is_file():
        raise InputError(f"{path} is not a model bundle: it holds no {CARD_FILE}")
    value = read_json(path / CARD_FILE)
    _require_schema(path, value)
    try:
        card = Card.model_validate(value)
        recipe = GraphRecipe.model_validate(card.recipe)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise StoredDataError(
            f"{path / CARD_FILE} does not read as schema {SCHEMA}: {faults}; export the model again"
        ) from error
    _require_parts(path, card.parts_sha256)
    return Bundle(path, card, recipe)


def bundle_sha256(path: Path) -> str:
    """Hash the names and bytes of all files of a bundle; its identity in registry and service."""
    return sha256_tree(path)


def _require_schema(path: Path, value: Any) -> None:
    """Refuse another schema before anything else is read, since all else may mean another thing."""
    schema = value.get("schema_version") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise StoredDataError(
            f"{path} has schema {schema}, this version reads {SCHEMA}; export the model again with "
            "this version of spixgraph, or install the version that wrote it"
        )


def _require_parts(path: Path, wanted: dict[str, str]) -> None:
    found = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} - {CARD_FILE}
    faults = [f"{name} is missing" for name in sorted({MODEL_FILE, *wanted} - found)]
    faults += [f"{name} is not named in the card" for name in sorted(found - set(wanted))]
    faults += [
        f"{name} was changed: its sha256 is not that of the card"
        for name in sorted(found & set(wanted))
        if sha256_file(path / name) != wanted[name]
    ]
    if faults:
        raise StoredDataError(f"bundle {path} is damaged: {'; '.join(faults)}; fetch it again")
