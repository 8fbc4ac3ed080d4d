"""The page and its parts, from inside the package."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).parents[1] / "page"
_TYPES = {
    "viewer.html": "text/html; charset=utf-8",
    "docs.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
}


async def _viewer(_: Request) -> Response:
    return _part("viewer.html")


async def _docs(_: Request) -> Response:
    return _part("docs.html")


async def _page(request: Request) -> Response:
    return _part(request.path_params["name"])


def _part(name: str) -> Response:
    if name not in _TYPES:
        raise HTTPException(404, "Not Found")
    headers = {"Cache-Control": "no-cache"}
    return FileResponse(_FOLDER / name, media_type=_TYPES[name], headers=headers)


ROUTES = [
    Route("/", _viewer, methods=["GET"]),
    Route("/docs", _docs, methods=["GET"]),
    Route("/page/{name}", _page, methods=["GET"]),
]
