"""The BentoML service; `spixgraph bento build` packs it with a model.

BentoML imports this module with the argument `model_tag`, which the Bento keeps, so an old Bento
goes on serving its own model. It is imported twice, by the process that watches and by the one
that works; what opens models is imported in the second one only.
"""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
import uvicorn.config
from pydantic import BaseModel

from spixgraph.errors import InputError, ResourceError
from spixgraph.serve.child import child_command, child_environment
from spixgraph.serve.keys import load_keys
from spixgraph.serve.settings import read_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_HOUR = 3600
_BUNDLE_FOLDER = "bundle"


class Arguments(BaseModel):
    """What `bentoml serve` and `bentoml build` take as --arg."""

    model_tag: str | None = None
    version: str = "unregistered"


class _Later:
    """The application, once the worker has made it."""

    app: "ASGIApp"

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        await self.app(scope, receive, send)


# BentoML has no setting for how its worker speaks HTTP, and takes what uvicorn calls "auto".
uvicorn.config.HTTP_PROTOCOLS["auto"] = "spixgraph.serve.connections:BoundedConnection"

_arguments = bentoml.use_arguments(Arguments)
_later = _Later()


@bentoml.service(
    name="spixgraph",
    workers=1,
    traffic={"timeout": _HOUR},
    metrics={"enabled": False},  # GET /metrics is ours
)
@bentoml.asgi_app(_later)
class SegmentationService:
    """Segments microscopy images; GET / is a page to try it, GET /docs tells the routes."""

    stored = bentoml.models.BentoModel(_arguments.model_tag) if _arguments.model_tag else None

    def __init__(self) -> None:
        from spixgraph.serve.app import make_app
        from spixgraph.serve.running import start_running

        settings = read_settings()
        app = make_app(settings)
        if self.stored is None:
            raise InputError("no model to serve; build a Bento by `spixgraph bento build BUNDLE`")
        app.state.running = self._running = start_running(
            settings,
            Path(self.stored.path) / _BUNDLE_FOLDER,
            version=_arguments.version,
            metrics=app.state.metrics,
        )
        _later.app = app

    @bentoml.on_shutdown
    def stop(self) -> None:
        """End the worker of the jobs."""
        self._running.stop()

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Refuse to start with wrong settings, or without the GPU that was asked for.

        BentoML starts a worker that fails again and again; this runs before, in its own process.
        """
        settings = read_settings()
        if settings.keys is not None:
            load_keys(settings.keys)
        if settings.device != "cuda" or _arguments.model_tag is None:
            return
        model = Path(bentoml.models.get(_arguments.model_tag).path) / _BUNDLE_FOLDER / "model.onnx"
        done = subprocess.run(
            [*child_command("spixgraph.serve.device"), str(model), settings.device],
            env=child_environment(), capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise ResourceError(done.stderr.strip().splitlines()[-1])
