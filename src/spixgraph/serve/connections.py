"""HTTP connections that nobody can hold open by doing little.

uvicorn bounds how long a connection may rest between two requests, but not how slowly a request
may come or an answer be read, so a few hundred idle clients could take all connections there are.
"""

import asyncio
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from spixgraph.serve.settings import read_settings

_JSON = b"application/json"


class _Alarm:
    """A timer that can be set again."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        return self._timer is not None

    def set(self, seconds: float, action: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None


class BoundedConnection(H11Protocol):
    """One connection, closed when its client is idle for SPIXGRAPH_IDLE_TIMEOUT_S.

    While no request is worked on, that is the time until the head of the next one must be whole,
    however its bytes come in; while an answer is sent, the longest time in which the client reads
    nothing of it. The body of a request is watched by `middleware.Body`.

    Parameters
    ----------
    **parts
        What uvicorn gives to each connection; it makes them itself, so the time comes from the
        environment.
    """

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._idle_timeout_s = _idle_timeout_s()
        self._patience = _Alarm()
        self._reading = _Alarm()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes in; they do not prolong the wait for a whole head."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, or for the last bytes to be read."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Look whether the client reads, as long as it is behind."""
        super().pause_writing()
        self._look_whether_it_reads()

    def resume_writing(self) -> None:
        """Go on: it has read. On a closing connection the last bytes are watched, too."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._reading.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to watch."""
        self._patience.cancel()
        self._reading.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer is on its way already."""
        self._refuse(400, msg)

    def _watch(self) -> None:
        """Let the time run exactly while no request is worked on."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._patience.cancel()
        elif not self._patience.is_set:
            self._patience.set(self._idle_timeout_s, self._give_up)

    def _give_up(self) -> None:
        if not self.transport.is_closing() and self.conn.trailing_data[0]:
            self._refuse(408, f"no whole request came in {self._idle_timeout_s:g} s")
        self.transport.close()
        self._look_whether_it_reads()  # closing waits for the last bytes to be taken

    def _look_whether_it_reads(self, before: int | None = None) -> None:
        """End the connection if nothing was taken since the last look."""
        left = self.transport.get_write_buffer_size()
        if left == before:
            self.transport.abort()
            return
        self._reading.cancel()
        self._reading.set(self._idle_timeout_s, partial(self._look_whether_it_reads, left))

    def _refuse(self, status: int, message: str) -> None:
        """Say why in one line of JSON, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = [(b"content-type", _JSON), (b"connection", b"close")]
            body = f'{{"error": "{message}"}}\n'.encode("ascii")
            length = (b"content-length", str(len(body)).encode("ascii"))
            answer = h11.Response(status_code=status, headers=[*head, length])
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


@cache
def _idle_timeout_s() -> float:
    return read_settings().idle_timeout_s
