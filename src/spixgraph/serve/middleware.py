"""What every request passes: size, patience, keys, and a count of what was answered."""

import json
import time
from collections.abc import Callable

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spixgraph.serve.keys import ApiKeys
from spixgraph.serve.metrics import Metrics

SLOWEST_BYTES_PER_S = 16_000
"""Of a body as a whole, so that a byte now and then does not keep a place for ever."""
_OPEN = ("/healthz", "/livez", "/readyz", "/docs", "/openapi.json")
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    ),
)


def json_response(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """One line of JSON."""
    text = json.dumps(value) + "\n"
    return Response(text, status, media_type="application/json", headers=headers)


class Body:
    """Answer 413 to a body above the limit and 408 to one that stalls or trickles.

    A stated length is refused before anything is read; an unstated one as soon as it is seen.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        self._app, self._max_bytes, self._timeout_s = app, max_bytes, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > self._max_bytes:
            close = {"Connection": "close"}
            refusal = json_response({"error": self._message(int(stated))}, 413, close)
            await refusal(scope, receive, send)
            return
        await self._app(scope, self._watched(receive), send)

    def _watched(self, receive: Receive) -> Receive:
        seen, whole, start = 0, False, time.monotonic()

        async def watched() -> Message:
            nonlocal seen, whole
            if whole:  # what comes now is the client's hanging up
                return await receive()
            spent = time.monotonic() - start
            message = await self._soon(receive, seen / SLOWEST_BYTES_PER_S - spent)
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if seen > self._max_bytes:
                raise HTTPException(413, self._message(seen), headers={"Connection": "close"})
            return message

        return watched

    async def _soon(self, receive: Receive, ahead_s: float) -> Message:
        """Wait for the next piece; one who is behind the slowest pace has less time for it."""
        try:
            with anyio.fail_after(self._timeout_s + min(0.0, ahead_s)):
                return await receive()
        except TimeoutError as error:
            raise HTTPException(
                408,
                f"nothing came for {self._timeout_s:g} s, or less than "
                f"{SLOWEST_BYTES_PER_S / 1000:g} kB a second; send the whole request",
                headers={"Connection": "close"},
            ) from error

    def _message(self, size: int) -> str:
        return (
            f"the request has at least {size / 1e6:.1f} MB, {self._max_bytes / 1e6:g} MB are "
            "allowed; send a smaller image, or start the server with a higher "
            "SPIXGRAPH_MAX_BODY_MB"
        )


class Doorkeeper:
    """Ask for an API key where keys are configured, and refuse what other web sites send here."""

    def __init__(self, app: ASGIApp, *, keys: Callable[[], ApiKeys | None]) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._judge(HTTPConnection(scope), scope["method"])
        await (refusal or self._app)(scope, receive, send)

    def _judge(self, request: HTTPConnection, method: str) -> Response | None:
        """Return a refusal, or None; the name of the key is left in the scope."""
        site = request.headers.get("sec-fetch-site", "none")
        if method not in _SAFE and site == "cross-site":
            return json_response({"error": "another web site may not send this"}, 403)
        keys = self._keys()
        request.scope["key_name"] = None
        if keys is None or _is_open(request.url.path):
            return None
        name = keys.name_of(_key_of(request))
        request.scope["key_name"] = name
        if name is not None:
            return None
        return json_response(
            {"error": "send an API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"},
            401,
            {"WWW-Authenticate": "Bearer"},
        )


class Counted:
    """Count requests by route and status, and add the headers that browsers heed."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.count_request(route, status, time.perf_counter() - start)


def _is_open(path: str) -> bool:
    return path == "/" or path in _OPEN or path.startswith("/page/")


def _key_of(request: HTTPConnection) -> str:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return key.strip()
    return request.headers.get("x-api-key", "")
