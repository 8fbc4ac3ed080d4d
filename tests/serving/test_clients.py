"""Clients that are slow, stop in the middle or speak no HTTP: none of them holds the service."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.serving.bad_images import png, tiff
from tests.serving.server import Served, grey_pixels, serving
from tests.toy_bundle import write_toy_bundle

pytestmark = [pytest.mark.serving, pytest.mark.timeout(240)]
LIMIT_S = 1.0
HANGS_S = 30.0
FORM = b"Host: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
POST = b"POST /segment HTTP/1.1\r\n" + FORM
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n'
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    bundle = write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle")
    settings = {
        "SPIXGRAPH_BODY_TIMEOUT_S": str(LIMIT_S),
        "SPIXGRAPH_IDLE_TIMEOUT_S": str(LIMIT_S),
        "SPIXGRAPH_MAX_BODY_MB": "1",
    }
    with serving(bundle, tmp_path_factory.mktemp("served"), settings) as found:
        assert found.rss_bytes() < 400e6  # before the first request
        found.segment(png())
        yield found


def line_to(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), HANGS_S)


def answers(line: socket.socket) -> bytes:
    """All until the server closes; a hang is an error by the time-out of the socket."""
    found = b""
    try:
        while piece := line.recv(65_536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def trickle(line: socket.socket, first: bytes, drop: bytes) -> bytes:
    """Send a little, again and again, until the server has had enough."""
    line.sendall(first)
    end = time.monotonic() + HANGS_S
    line.settimeout(LIMIT_S / 10)
    found = b""
    while time.monotonic() < end:
        try:
            line.sendall(drop)
            piece = line.recv(65_536)
        except TimeoutError:
            continue
        except OSError:
            return found
        if not piece:
            return found
        found += piece
    raise AssertionError("the server goes on listening")


def peers(served: Served) -> set[int]:
    """Ports of the clients that the server holds."""
    found = psutil.Process(served.process.pid).net_connections("tcp")
    return {connection.raddr.port for connection in found if connection.raddr}


def hang_up(line: socket.socket) -> None:
    """Without a goodbye: the server gets a reset."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


def whole_upload() -> bytes:
    body = PART + tiff(grey_pixels(512)) + b"\r\n--b--\r\n"
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_slow_head(served):
    with line_to(served) as line:
        found = trickle(line, b"GET /healthz HTTP/1.1\r\n", b"X-A: b\r\n")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert found.endswith(b'{"error": "no whole request came in 1 s"}\n')


def test_slow_head_of_the_second_request(served):
    with line_to(served) as line:
        found = trickle(line, ALIVE + b"GET /healthz HTTP/1.1\r\n", b"X-A: b\r\n")
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.count(b"HTTP/1.1 408 ") == 1


def test_connection_without_a_word_is_closed(served):
    with line_to(served) as line:
        assert answers(line) == b""


def test_slow_body(served):
    head = POST + b"Content-Length: 500000\r\n\r\n" + PART
    with line_to(served) as line:
        found = trickle(line, head, b"x")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"less than 16 kB a second" in found


def test_body_that_stops(served):
    with line_to(served) as line:
        line.sendall(POST + b"Content-Length: 5000\r\n\r\n" + PART)
        found = answers(line)
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"nothing came for 1 s" in found


def test_body_without_end(served):
    with line_to(served) as line:
        line.sendall(CHUNKED + b"%x\r\n%s\r\n" % (len(PART), PART))
        found = answers(line)
    assert found.startswith(b"HTTP/1.1 408 ")


def test_body_that_nobody_waits_for_any_more(served):
    """The 404 comes at once; what follows must not keep the connection."""
    head = b"POST /nothing HTTP/1.1\r\n" + FORM + b"Content-Length: 500000\r\n\r\n"
    with line_to(served) as line:
        found = trickle(line, head, b"x")
    assert found.startswith(b"HTTP/1.1 404 ")
    assert found.count(b"HTTP/1.1") == 1


def test_answers_that_nobody_reads(served):
    """More of them than all buffers on the way take; the system alone is left to offer them."""
    ask = b"GET /page/viewer.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with line_to(served) as line:
        mine = line.getsockname()[1]
        line.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while line.send(ask * 100):
                pass
        end = time.monotonic() + HANGS_S
        while mine in peers(served):
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
        POST + b"Content-Length: 500000\r\n\r\n" + PART + bytes(200_000),
        CHUNKED + b"5\r\nab",
        whole_upload(),
    ],
    ids=["in the head", "in the body", "in a chunk", "after the request"],
)
@pytest.mark.parametrize("end", ["half", "reset"])
def test_client_that_goes(served, sent, end):
    with line_to(served) as line:
        line.sendall(sent)
        if end == "reset":
            hang_up(line)
            return
        line.shutdown(socket.SHUT_WR)
        assert not answers(line).startswith(b"HTTP/1.1 5")


def test_client_that_goes_in_the_middle_of_its_answer(served):
    with line_to(served) as line:
        line.sendall(whole_upload())
        assert line.recv(1) == b"H"
        hang_up(line)


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (b"\0\xff garbage\r\n\r\n", [400]),
        (b"GET /healthz\r\n\r\n", [400]),
        (ALIVE + b"\0\xff garbage\r\n\r\n", [200, 400]),
        (ALIVE + ALIVE + b"BREW\r\n\r\n", [200, 200, 400]),
        (b"GET /model HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", [400]),
        (b"GET /model HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: nonsense\r\n\r\n", [400]),
        (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000, [400]),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 40_000, [400]),
        (CHUNKED + b"nonsense\r\n", [400]),
        (b"POST /nothing HTTP/1.1\r\n" + FORM + b"Transfer-Encoding: chunked\r\n\r\n", [404]),
    ],
    ids=["bytes", "version", "pipelined bytes", "pipelined word", "length", "encoding", "long path",
         "long header", "many headers", "chunk", "unread chunks"],
)  # fmt: skip
def test_what_is_not_http(served, sent, statuses):
    with line_to(served) as line:
        try:
            line.sendall(sent)
        except OSError:  # it was refused before its end
            assert statuses == [400]
        found = answers(line)
    said = [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:]]
    # what the server did not read makes the system reset the connection, with the answer in it
    assert said == statuses or (found == b"" and len(sent) > 100_000)


def test_garbage_after_an_early_answer_is_no_bug_of_ours(served):
    with line_to(served) as line:
        line.sendall(b"POST /nothing HTTP/1.1\r\n" + FORM + b"Transfer-Encoding: chunked\r\n\r\n")
        found = line.recv(65_536)
        line.sendall(b"nonsense\r\n")
        assert (found + answers(line)).count(b"HTTP/1.1") == 1


def test_upgrade_that_we_do_not_have_is_ignored(served):
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with line_to(served) as line:
        line.sendall(head)
        assert answers(line).startswith(b"HTTP/1.1 200 ")


def test_a_crowd_of_them_does_not_stop_the_others_and_nothing_stays(served):
    process = psutil.Process(served.process.pid)
    served.segment(png())
    before = process.num_fds(), process.num_threads()
    crowd: list[Callable[[Served], None]] = [
        test_slow_head, test_slow_body, test_connection_without_a_word_is_closed,
        test_body_that_stops, test_client_that_goes_in_the_middle_of_its_answer,
    ]  # fmt: skip
    threads = [threading.Thread(target=one, args=(served,)) for one in crowd for _ in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert served.get("/healthz").status_code == 200
        assert served.segment(png()).status_code in (200, 429)
    served.wait_until_idle()
    assert served.segment(png()).status_code == 200
    end = time.monotonic() + 10
    while process.num_fds() > before[0] and time.monotonic() < end:
        time.sleep(0.05)  # an answer is here before the service has closed its connection
    assert process.num_fds() <= before[0]
    assert process.num_threads() <= before[1] + 2  # threads of the pool, which it keeps
    assert served.left_behind() == []
    assert "Traceback" not in served.log.read_text()
