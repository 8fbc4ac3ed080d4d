"""A real server in a process of its own, on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.toy_bundle import blob_image

START_SECONDS = 120
ALL = slice(None)


@dataclass
class Served:
    url: str
    port: int
    log: Path
    scratch: Path
    state: Path
    process: subprocess.Popen[bytes]
    client: httpx.Client

    def get(self, path: str, **options) -> httpx.Response:
        return self.client.get(path, **options)

    def segment(self, data: bytes, **fields: str) -> httpx.Response:
        return self.post("/segment", data, **fields)

    def post(self, path: str, data: bytes, **fields: str) -> httpx.Response:
        files = {"image": ("image", data)}
        return self.client.post(path, files=files, data=fields)

    def left_behind(self) -> list[str]:
        """Files in the folder for temporary ones; `.ses` is a session id of onnxruntime."""
        return [path.name for path in self.scratch.iterdir() if path.name != ".ses"]

    def rss_bytes(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(text.split("VmRSS:")[1].split()[0])

    def wait_until_idle(self, seconds: float = 60) -> None:
        """Until nobody is waited for: what a gone client asked for may still be worked on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            lines = self.get("/metrics").text.splitlines()
            queue = [float(line.split()[1]) for line in lines if line.startswith("spixgraph_queue")]
            if sum(queue) == 0:
                return
            time.sleep(0.05)
        raise AssertionError(f"still at work after {seconds} s")

    def wait_for(self, job_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            job = self.get(f"/jobs/{job_id}").json()
            if job["state"] in states:
                return job
            time.sleep(0.05)
        raise AssertionError(f"{job} is not {states} after {seconds} s: {self.log.read_text()}")


@contextmanager
def serving(bundle: Path, folder: Path, settings: Mapping[str, str]) -> Iterator[Served]:
    """Run `spixgraph serve run`; the state lies in `folder`, which may be used again."""
    for name in ("scratch", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "TMPDIR": str(folder / "scratch"), "SPIXGRAPH_DEVICE": "cpu"}
    env |= {"SPIXGRAPH_STATE": str(folder / "state"), **settings}
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-c", "from spixgraph.cli import main; main()", "serve", "run"]
    with log.open("a") as handle:
        process = subprocess.Popen(
            [*command, str(bundle), "--port", str(port)],
            env=env, stdout=handle, stderr=handle, start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, process, log)
        with httpx.Client(base_url=url, timeout=60) as client:
            yield Served(url, port, log, folder / "scratch", folder / "state", process, client)
    finally:
        stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client() as client:
        while time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()
            try:
                if client.get(f"{url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise AssertionError(f"not ready after {START_SECONDS} s: {log.read_text()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def grey_pixels(size: int = 96, seed: int = 9):
    return blob_image(size, seed=seed).read(ALL, ALL, ALL)[0, ..., 0]
