"""The HTTP application: routes, middleware and errors; knows nothing of BentoML."""

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from spixgraph.errors import InputError, ResourceError, SpixError, StoredDataError
from spixgraph.serve.headers import UnsupportedImageError
from spixgraph.serve.jobs.places import ForbiddenError, MissingError
from spixgraph.serve.keys import ApiKeys
from spixgraph.serve.metrics import Metrics
from spixgraph.serve.middleware import Body, Counted, Doorkeeper, json_response
from spixgraph.serve.openapi import openapi_json
from spixgraph.serve.routes import jobs, pages, segment
from spixgraph.serve.running import Running
from spixgraph.serve.segmenter import TimeIsUpError, TooLargeError
from spixgraph.serve.settings import ServeSettings

log = logging.getLogger(__name__)

_STATUS: dict[type[SpixError], int] = {
    UnsupportedImageError: 415,
    ForbiddenError: 403,
    MissingError: 404,
    TooLargeError: 413,
    TimeIsUpError: 504,
    StoredDataError: 400,  # of the image: the model was tried out before the first request
    InputError: 422,
    ResourceError: 503,
    SpixError: 500,
}


def make_app(settings: ServeSettings) -> Starlette:
    """Make the application.

    `app.state.running` is None until the model is open; requests for it get 503 before that.
    """
    metrics = Metrics()
    app: Starlette = Starlette(
        routes=[
            *segment.ROUTES,
            *jobs.ROUTES,
            *pages.ROUTES,
            Route("/healthz", _healthy),
            Route("/readyz", _ready),
            Route("/metrics", _metrics),
            Route("/openapi.json", openapi_json),
        ],
        middleware=[
            Middleware(Counted, metrics=metrics),
            Middleware(Doorkeeper, keys=lambda: _keys(app)),
            Middleware(Body, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s),
        ],
        exception_handlers={
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            SpixError: _spix_error,
            Exception: _bug,
        },
    )
    app.state.metrics = metrics
    app.state.running = None
    return app


def _keys(app: Starlette) -> ApiKeys | None:
    running: Running | None = app.state.running
    return None if running is None else running.keys


async def _healthy(_: Request) -> Response:
    return json_response({"status": "alive"})


async def _ready(request: Request) -> Response:
    if request.app.state.running is None:
        return json_response({"error": "the model is not open yet"}, 503)
    return json_response({"status": "ready"})


async def _metrics(request: Request) -> Response:
    running: Running | None = request.app.state.running
    counts = {} if running is None else running.table.counts()
    text = request.app.state.metrics.render(counts)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):  # starlette's type of a handler is wider than its use
        raise error
    return json_response({"error": error.detail}, error.status_code, dict(error.headers or {}))


async def _spix_error(_: Request, error: Exception) -> Response:
    """Answer with the status of the kind of error, and its one line."""
    status = next(s for kind, s in _STATUS.items() if isinstance(error, kind))
    if status >= 500:
        log.error("%s", error)
    return json_response({"error": str(error)}, status)


async def _gone(_: Request, __: Exception) -> Response:
    """Nobody reads this; the status is for the count of requests."""
    return json_response({"error": "the client has gone"}, 499)


async def _bug(_: Request, __: Exception) -> Response:
    """Say nothing of the inside; the server's log has the traceback."""
    return json_response({"error": "internal error; see the log of the server"}, 500)
