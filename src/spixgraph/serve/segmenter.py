"""Bytes of an image in, bytes of its mask out; what the HTTP application calls in a thread."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from spixgraph.errors import InputError, SpixError, StoredDataError
from spixgraph.io.images import ArraySource, ImageSource, open_image
from spixgraph.predict.bundle import Bundle, bundle_sha256, load_bundle
from spixgraph.predict.driver import NodeModel, open_model, require_fit, segment_source
from spixgraph.predict.memory import require_memory
from spixgraph.predict.onnx_predictor import Device
from spixgraph.predict.outputs import write_card_mask

Kind = Literal["png", "tiff"]
SUFFIX: dict[Kind, str] = {"png": ".png", "tiff": ".tif"}
BUNDLE_FOLDER = "bundle"  # in a model of BentoML's store, beside its model.yaml
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class BadImageError(StoredDataError):
    """What was uploaded is not an image that can be read."""


@dataclass(frozen=True, slots=True)
class Segmenter:
    """An opened model.

    Attributes
    ----------
    bundle : Bundle
    sha256 : str
        Of the bundle.
    version : str
        Under which the model is served.
    model : NodeModel
    """

    bundle: Bundle
    sha256: str
    version: str
    model: NodeModel

    def describe(self) -> dict[str, object]:
        """Return what `GET /model` says."""
        card = self.bundle.card
        return {
            "name": card.name,
            "version": self.version,
            "bundle_sha256": self.sha256,
            "schema_version": card.schema_version,
            "network": card.network,
            "n_dims": card.n_dims,
            "n_channels": card.n_channels,
            "classes": [c.model_dump() for c in card.classes],
            "metrics": card.metrics,
        }

    def segment(self, upload: BinaryIO, wanted: Kind | None) -> tuple[bytes, Kind]:
        """Segment one uploaded image.

        Parameters
        ----------
        upload : binary file
            PNG or TIFF, known by its first bytes.
        wanted : {"png", "tiff"}, optional
            Format of the mask; that of the image by default.

        Returns
        -------
        mask : bytes
            The file that `spixgraph segment` writes for the same image.
        kind : {"png", "tiff"}

        Raises
        ------
        BadImageError
            If the upload is not a readable PNG or TIFF.
        InputError
            If the image does not suit the model, or a PNG is wanted of a volume.
        ResourceError
            If there is too little memory for it.
        """
        kind = _kind_of(upload)
        with tempfile.TemporaryDirectory(prefix="spixgraph-") as folder:
            path = Path(folder) / f"image{SUFFIX[kind]}"
            with path.open("wb") as handle:
                shutil.copyfileobj(upload, handle)
            if kind == "png":
                self._require_png_fits(path)
            out = path.with_name(f"mask{SUFFIX[wanted or kind]}")
            with _opened(path) as source:
                self._require_fit(source, wanted or kind)
                mask = segment_source(source, self.model).mask
                write_card_mask(out, mask, self.bundle.card, source.info.pixel_size_um)
            return out.read_bytes(), wanted or kind

    def try_out(self) -> None:
        """Segment a small made-up image, so that a model that cannot serve fails at the start.

        It also compiles what is compiled on first use.
        """
        card = self.bundle.card
        shape = (1 if card.n_dims == 2 else 8, 64, 64, card.n_channels)
        noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        segment_source(ArraySource(noise), self.model)

    def _require_fit(self, source: ImageSource, kind: Kind) -> None:
        require_fit(source.info, self.bundle.card)
        if kind == "png" and source.info.n_dims == 3:
            raise InputError("a PNG holds no volume; ask for format=tiff")
        require_memory(source.info.shape_zyxc, self.bundle.card.memory)

    def _require_png_fits(self, path: Path) -> None:
        """Check the size in the header, since opening a PNG decodes it whole."""
        with path.open("rb") as handle:
            head = handle.read(24)
        width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
        shape = (1, height, width, self.bundle.card.n_channels)
        require_memory(shape, self.bundle.card.memory)


def open_segmenter(path: Path, *, version: str, device: Device = "auto") -> Segmenter:
    """Verify a bundle, open its network and try it out."""
    bundle = load_bundle(path)
    model = open_model(bundle, device=device)
    segmenter = Segmenter(bundle, bundle_sha256(path), version, model)
    segmenter.try_out()
    return segmenter


def _kind_of(upload: BinaryIO) -> Kind:
    head = upload.read(8)
    upload.seek(0)
    if head == _PNG:
        return "png"
    if head[:4] in _TIFF:
        return "tiff"
    raise BadImageError("the upload is neither PNG nor TIFF; save the image as one of these")


def _opened(path: Path) -> ImageSource:
    """Open the upload; messages call it "the image", not by its temporary path."""
    try:
        return open_image(path)
    except SpixError as error:
        raise BadImageError(str(error).replace(str(path), "the image")) from error
