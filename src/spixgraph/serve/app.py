"""The HTTP application: routes, size limit and errors; knows nothing of BentoML."""

import json
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spixgraph.errors import InputError, ResourceError, SpixError, StoredDataError
from spixgraph.serve.segmenter import SUFFIX, Kind

MAX_BODY_ENV = "SPIXGRAPH_MAX_BODY_MB"
_DEFAULT_MAX_BODY_MB = 256.0
_MIME: dict[Kind, str] = {"png": "image/png", "tiff": "image/tiff"}
_STATUS: dict[type[SpixError], int] = {
    StoredDataError: 400,  # of the image: the model was tried out before the first request
    InputError: 422,
    ResourceError: 413,
    SpixError: 500,
}


def make_app() -> Starlette:
    """Make the application; `app.state.segmenter` must be set before the first request.

    Routes
    ------
    POST /segment
        Multipart field `image` (PNG or TIFF), optional field `format` (png or tiff; else by the
        Accept header, else as the image); answers with the mask.
    GET /model
        Name, version, hash and classes of the model.
    """
    app = Starlette(
        routes=[
            Route("/segment", _segment, methods=["POST"]),
            Route("/model", _model, methods=["GET"]),
        ],
        middleware=[Middleware(_BodyLimit)],
        exception_handlers={
            HTTPException: _http_error,
            SpixError: _spix_error,
            Exception: _bug,
        },
    )
    app.state.one_at_a_time = anyio.Semaphore(1)
    return app


def max_body_bytes() -> int:
    """Read the limit from the environment; raises `InputError` if it is no number > 0."""
    text = os.environ.get(MAX_BODY_ENV, str(_DEFAULT_MAX_BODY_MB))
    try:
        limit = round(float(text) * 1e6)
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise InputError(f"{MAX_BODY_ENV} must be a number of megabytes > 0, got {text!r}")
    return limit


async def _model(request: Request) -> Response:
    return _json(request.app.state.segmenter.describe())


async def _segment(request: Request) -> Response:
    async with request.form(max_files=1, max_fields=4) as form:
        upload = form.get("image")
        if not isinstance(upload, UploadFile):
            raise HTTPException(400, "send the image as the file field 'image' of a multipart form")
        wanted = _wanted(form.get("format"), request.headers.get("accept", ""))
        work = partial(request.app.state.segmenter.segment, upload.file, wanted)
        async with request.app.state.one_at_a_time:
            mask, kind = await to_thread.run_sync(work)
    disposition = f'attachment; filename="mask{SUFFIX[kind]}"'
    return Response(mask, media_type=_MIME[kind], headers={"Content-Disposition": disposition})


def _wanted(field: Any, accept: str) -> Kind | None:
    """Settle the format of the mask: by the field, else by the header, else None."""
    if field is not None:
        kinds: dict[str, Kind] = {"png": "png", "tiff": "tiff", "tif": "tiff"}
        if str(field).lower() not in kinds:
            raise HTTPException(400, f"format must be png or tiff, got {str(field)!r}")
        return kinds[str(field).lower()]
    types = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((kind for t in types for kind, mime in _MIME.items() if t == mime), None)


class _BodyLimit:
    """Answer 413 to a body above the limit, by its header or as soon as it is seen."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = max_body_bytes()
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > limit:
            await _too_large(limit, int(stated))(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def _counted(receive: Receive, limit: int) -> Callable[[], Awaitable[Message]]:
    """Count the bytes of a body that does not state its length."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, _size_message(limit, seen))
        return message

    return counted


def _too_large(limit: int, size: int) -> Response:
    return _json({"error": _size_message(limit, size)}, 413)


def _size_message(limit: int, size: int) -> str:
    return (
        f"the request has at least {size / 1e6:.1f} MB, {limit / 1e6:g} MB are allowed; send a "
        f"smaller image, or start the server with a higher {MAX_BODY_ENV}"
    )


async def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):  # starlette's type of a handler is wider than its use
        raise error
    return _json({"error": error.detail}, error.status_code)


async def _spix_error(_: Request, error: Exception) -> Response:
    """400 for a bad image, 422 for one that does not suit the model, 413 for one too large."""
    status = next(s for kind, s in _STATUS.items() if isinstance(error, kind))
    return _json({"error": str(error)}, status)


async def _bug(_: Request, __: Exception) -> Response:
    """Say nothing of the inside; the server's log has the traceback."""
    return _json({"error": "internal error; see the log of the server"}, 500)


def _json(value: object, status: int = 200) -> Response:
    """One line of JSON."""
    return Response(json.dumps(value) + "\n", status, media_type="application/json")
