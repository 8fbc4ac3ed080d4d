"""An uploaded image in, its segmentation out; what the HTTP application calls in a thread."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from spixgraph.arrays import PixelSizeUm, ShapeZYXC
from spixgraph.errors import InputError, ResourceError, SpixError, StoredDataError
from spixgraph.io.images import ArraySource, ImageInfo, ImageSource, open_image
from spixgraph.predict.bundle import Bundle, bundle_sha256, load_bundle
from spixgraph.predict.driver import (
    NodeModel,
    Segmentation,
    open_model,
    require_fit,
    segment_source,
)
from spixgraph.predict.memory import predict_peak_bytes, require_memory
from spixgraph.predict.onnx_predictor import Device
from spixgraph.predict.steps import Steps
from spixgraph.resources import PeakMemory
from spixgraph.serve.headers import BadImageError, ImageHeader, Kind, read_header

SUFFIX: dict[Kind, str] = {"png": ".png", "tiff": ".tif"}
BUNDLE_FOLDER = "bundle"  # in a model of BentoML's store, beside its model.yaml


class TooLargeError(ResourceError):
    """The image needs more memory than there is."""


class TimeIsUpError(ResourceError):
    """The segmentation took longer than allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """One image, segmented.

    Attributes
    ----------
    found : Segmentation
    info : ImageInfo
        Of the image.
    predicted_bytes, used_bytes : int
        Peak memory above the idle process, by the memory contract and as measured.
    """

    found: Segmentation
    info: ImageInfo
    predicted_bytes: int
    used_bytes: int


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
    max_memory_bytes : int, optional
        Predicted peak that one image may have.
    """

    bundle: Bundle
    sha256: str
    version: str
    model: NodeModel
    max_memory_bytes: int | None = None

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
            "pixel_size_um_range": card.pixel_size_um_range,
            "metrics": card.metrics,
        }

    def segment_upload(
        self,
        upload: BinaryIO,
        *,
        axes: str | None = None,
        pixel_size_um: PixelSizeUm | None = None,
        shares: bool = False,
        deadline: float | None = None,
    ) -> tuple[Segmented, Kind]:
        """Segment one uploaded image.

        Parameters
        ----------
        upload : binary file
            PNG or TIFF, known by its first bytes.
        axes, pixel_size_um : optional
            As of `open_image`, where the file does not say.
        shares : bool
            Whether class probabilities of the pixels are wanted.
        deadline : float, optional
            On the clock of `time.monotonic`; looked at between the steps.

        Returns
        -------
        segmented : Segmented
        kind : {"png", "tiff"}
            Of the upload.

        Raises
        ------
        BadImageError
            If the upload is not a readable PNG or TIFF.
        InputError
            If the image does not suit the model.
        TooLargeError
            If its predicted peak of memory is above what there is; found before decoding.
        TimeIsUpError
            If the deadline passed.
        """
        header = read_header(upload)
        self.require_header_fits(header)
        with tempfile.TemporaryDirectory(prefix="spixgraph-") as folder:
            path = Path(folder) / f"image{SUFFIX[header.kind]}"
            with path.open("wb") as handle:
                shutil.copyfileobj(upload, handle)
            with opened(path, axes=axes, pixel_size_um=pixel_size_um) as source, said_of(path):
                steps = Steps(lambda _: _require_time(deadline))
                return self.segment(source, shares=shares, steps=steps), header.kind

    def segment(
        self, source: ImageSource, *, shares: bool = False, steps: Steps | None = None
    ) -> Segmented:
        """Segment an opened image; errors as of `segment_upload`."""
        card = self.bundle.card
        require_fit(source.info, card)
        predicted = self.require_memory(
            source.info.shape_zyxc, n_shares=len(card.classes) if shares else 0
        )
        with PeakMemory() as memory:
            found = segment_source(source, self.model, shares=shares, steps=steps)
        return Segmented(found, source.info, predicted, memory.above_baseline_bytes)

    def require_memory(self, shape_zyxc: ShapeZYXC, *, n_shares: int = 0) -> int:
        """Return the predicted peak in bytes, or raise `TooLargeError` with the figures.

        Planes of class probabilities take a byte per pixel each.
        """
        contract = self.bundle.card.memory
        contract = contract.model_copy(
            update={"bytes_per_pixel": contract.bytes_per_pixel + n_shares}
        )
        needed = predict_peak_bytes(shape_zyxc, contract)
        limit = self.max_memory_bytes
        if limit is not None and needed > limit:
            raise TooLargeError(
                f"segmenting {shape_zyxc} (Z, Y, X, C) needs about {needed / 2**20:,.0f} MiB of "
                f"memory, {limit / 2**20:,.0f} MiB are allowed here; send a smaller image"
            )
        try:
            require_memory(shape_zyxc, contract)
        except ResourceError as error:
            raise TooLargeError(str(error)) from error
        return needed

    def try_out(self, dtype: type[np.integer] = np.uint8, *, shares: bool = False) -> None:
        """Segment a small made-up image, so that a model that cannot serve fails at the start.

        It also compiles what is compiled on first use.
        """
        card = self.bundle.card
        shape = (1 if card.n_dims == 2 else 8, 64, 64, card.n_channels)
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype)
        segment_source(ArraySource(noise), self.model, shares=shares)

    @property
    def streams(self) -> bool:
        """Whether images are segmented in bounded memory, from file to file."""
        return self.bundle.recipe.is_streamed

    def require_job_fits(self, header: ImageHeader, max_pixels: int) -> None:
        """Look at the header of the image of a job: what is not streamed must fit in memory."""
        if header.kind == "png" or not self.streams:
            self.require_header_fits(header)
        require_pixels_of_job(header.n_pixels // self._share(header), max_pixels)

    def _share(self, header: ImageHeader) -> int:
        """Of how many pages of a TIFF an image may be made; its channels."""
        return self.bundle.card.n_channels if header.kind == "tiff" else 1

    def require_header_fits(self, header: ImageHeader) -> None:
        """Look at the pixels that the header tells of, since opening may decode.

        The pages of a TIFF may be channels, so each counts for its share of them.
        """
        n_pixels = max(1, header.n_pixels // self._share(header))
        self.require_memory((1, 1, n_pixels, self.bundle.card.n_channels))


def require_pixels_of_job(n_pixels: int, max_pixels: int) -> None:
    """Refuse an image beyond what a job may take."""
    if n_pixels > max_pixels:
        raise TooLargeError(
            f"the image has {n_pixels / 1e6:,.0f} megapixels, a job may have "
            f"{max_pixels / 1e6:,.0f} here; send a part of it, or let the operator raise "
            "SPIXGRAPH_MAX_JOB_MP"
        )


def open_segmenter(
    path: Path,
    *,
    version: str,
    device: Device = "auto",
    max_memory_bytes: int | None = None,
    gpu_memory_bytes: int | None = None,
) -> Segmenter:
    """Verify a bundle, open its network and try it out."""
    bundle = load_bundle(path)
    model = open_model(bundle, device=device, gpu_memory_bytes=gpu_memory_bytes)
    segmenter = Segmenter(bundle, bundle_sha256(path), version, model, max_memory_bytes)
    segmenter.try_out()
    return segmenter


def opened(
    path: Path | str, *, axes: str | None = None, pixel_size_um: PixelSizeUm | None = None
) -> ImageSource:
    """Open an image; messages call it "the image", not by where it lies here."""
    with said_of(path):
        return open_image(path, axes=axes, pixel_size_um=pixel_size_um)


@contextmanager
def said_of(path: Path | str) -> Iterator[None]:
    """Keep our own path out of messages, and tell a broken file from one that does not suit."""
    try:
        yield
    except (BadImageError, TooLargeError, TimeIsUpError):
        raise
    except SpixError as error:
        text = str(error).replace(str(path), "the image")
        if isinstance(error, StoredDataError):
            raise BadImageError(text) from error
        if isinstance(error, InputError):
            raise InputError(text) from error
        raise ResourceError(text) from error


def _require_time(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise TimeIsUpError("the segmentation took longer than allowed; send it as a job")
