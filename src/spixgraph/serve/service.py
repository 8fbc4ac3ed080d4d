"""The BentoML service; `spixgraph bento build` packs it with a model.

BentoML imports this module with the argument `model_tag`, which the Bento keeps, so an old Bento
goes on serving its own model.
"""

from pathlib import Path

import bentoml
from pydantic import BaseModel

from spixgraph.errors import InputError
from spixgraph.serve.app import make_app, max_body_bytes
from spixgraph.serve.segmenter import BUNDLE_FOLDER, open_segmenter

_HOUR = 3600


class Arguments(BaseModel):
    """What `bentoml serve` and `bentoml build` take as --arg."""

    model_tag: str | None = None


_arguments = bentoml.use_arguments(Arguments)
app = make_app()


@bentoml.service(
    name="spixgraph",
    workers=1,
    traffic={"timeout": _HOUR, "max_concurrency": 32},
)
@bentoml.asgi_app(app)
class SegmentationService:
    """Segments microscopy images: POST /segment, GET /model."""

    stored = bentoml.models.BentoModel(_arguments.model_tag) if _arguments.model_tag else None

    def __init__(self) -> None:
        if self.stored is None:
            raise InputError("no model to serve; build a Bento by `spixgraph bento build BUNDLE`")
        max_body_bytes()
        app.state.segmenter = open_segmenter(
            Path(self.stored.path) / BUNDLE_FOLDER, version=str(self.stored.tag.version)
        )
