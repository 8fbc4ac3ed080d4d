"""Load on a served model: clients on loopback with images of mixed sizes, every answer checked.

``python -m benchmarks.serving BUNDLE --seconds 120 --clients 16 --out docs/benchmarks/serving.md``
starts the service in a process of its own, asks for every image once, remembers the hashes, and
then lets all clients ask at random. A 429 is waited out as Retry-After says. The memory of the
service is read every second.
"""

import hashlib
import io
import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
import psutil
import tifffile

from spixgraph.io.phantoms import make_phantom
from spixgraph.predict.bundle import bundle_sha256, load_bundle

_SIDES = (96, 256, 512, 1024)
_WEIGHTS = (4, 3, 2, 1)
_ALL = slice(None)


@dataclass
class Load:
    """What happened so far."""

    seconds: list[float] = field(default_factory=list)
    pixels: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    rss: list[tuple[float, int]] = field(default_factory=list)


def images() -> dict[int, bytes]:
    """Write phantoms of all sizes as deflated TIFF."""
    found = {}
    for side in _SIDES:
        pixels = make_phantom("colonies", (1, side, side), seed=side).read(_ALL, _ALL, _ALL)
        out = io.BytesIO()
        tifffile.imwrite(out, pixels[0, ..., 0], compression="zlib")
        found[side] = out.getvalue()
    return found


def start(bundle: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the service and wait until it is ready."""
    command = [sys.executable, "-c", "from spixgraph.cli import main; main()", "serve", "run"]
    env = {**os.environ, "TMPDIR": str(folder), "SPIXGRAPH_QUEUE": "16", "SPIXGRAPH_DEVICE": "cpu"}
    process = subprocess.Popen([*command, str(bundle), "--port", str(port)], env=env)
    while True:
        if process.poll() is not None:
            raise click.ClickException("the service ended; see above")
        try:
            httpx.get(f"http://127.0.0.1:{port}/readyz").raise_for_status()
            return process
        except httpx.HTTPError:
            time.sleep(0.1)


def ask(client: httpx.Client, data: bytes) -> httpx.Response:
    """Send one image."""
    return client.post("/segment", files={"image": ("i", data)}, data={"format": "tiff"})


def work(number: int, url: str, data: dict[int, bytes], wanted: dict[int, str], end: float,
         load: Load, lock: threading.Lock) -> None:  # fmt: skip
    """Be one client."""
    rng = random.Random(number)
    with httpx.Client(base_url=url, timeout=600) as client:
        while time.monotonic() < end:
            side = rng.choices(_SIDES, _WEIGHTS)[0]
            begin = time.monotonic()
            answer = ask(client, data[side])
            took = time.monotonic() - begin
            with lock:
                load.statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    load.seconds.append(took)
                    load.pixels += side * side
                    load.wrong += hashlib.sha256(answer.content).hexdigest() != wanted[side]
            if answer.status_code == 429:
                time.sleep(float(answer.headers["retry-after"]))


def watch(pid: int, begin: float, end: float, load: Load) -> None:
    """Read the memory of the service every second."""
    process = psutil.Process(pid)
    while time.monotonic() < end:
        load.rss.append((time.monotonic() - begin, process.memory_info().rss))
        time.sleep(1)


def measure(bundle: Path, seconds: float, clients: int) -> dict[str, float | str]:
    """Run the load; returns the figures."""
    data, load, lock = images(), Load(), threading.Lock()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        launched = time.monotonic()
        process = start(bundle, Path(name), port)
        try:
            started = time.monotonic() - launched
            url, idle = f"http://127.0.0.1:{port}", psutil.Process(process.pid).memory_info().rss
            with httpx.Client(base_url=url, timeout=600) as client:
                wanted = {
                    s: hashlib.sha256(ask(client, d).content).hexdigest() for s, d in data.items()
                }
            begin = time.monotonic()
            end = begin + seconds
            jobs: list[tuple[Any, tuple[Any, ...]]] = [
                (work, (i, url, data, wanted, end, load, lock)) for i in range(clients)
            ]
            jobs.append((watch, (process.pid, begin, end, load)))
            threads = [threading.Thread(target=f, args=a) for f, a in jobs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return figures(load, time.monotonic() - begin, idle, started)
        finally:
            process.terminate()
            process.wait()


def figures(load: Load, wall: float, idle: int, started: float) -> dict[str, float | str]:
    """Sum up."""
    if not load.seconds:
        raise click.ClickException("no request was answered; let it run longer")
    half = [rss for at, rss in load.rss if at > load.rss[-1][0] / 2]
    warm = [rss for at, rss in load.rss if at <= load.rss[-1][0] / 2]
    p50, p95, p99 = np.percentile(load.seconds, (50, 95, 99))
    return {
        "requests answered": len(load.seconds),
        "statuses": json.dumps(dict(load.statuses)),
        "wrong answers": load.wrong,
        "requests per second": len(load.seconds) / wall,
        "megapixels per second": load.pixels / 1e6 / wall,
        "latency p50, s": float(p50),
        "latency p95, s": float(p95),
        "latency p99, s": float(p99),
        "start until ready, s": started,
        "memory before the first request, MB": idle / 1e6,
        "highest memory, first half, MB": max(warm) / 1e6,
        "highest memory, second half, MB": max(half) / 1e6,
        "memory over time, MB": over_time(load.rss),
    }


def over_time(rss: list[tuple[float, int]], parts: int = 12) -> str:
    """Give the highest memory of each of some equal parts of the time."""
    end = rss[-1][0] or 1.0
    highest = [0] * parts
    for at, value in rss:
        part = min(parts - 1, int(parts * at / end))
        highest[part] = max(highest[part], value)
    return ", ".join(f"{value / 1e6:.0f}" for value in highest if value)


def conditions(bundle: Path, load_before: float) -> str:
    """Say what was measured, by what, and how busy the machine was."""
    card = load_bundle(bundle).card
    names = ("spixgraph", "onnxruntime-gpu", "numpy", "numba", "starlette", "uvicorn", "h11")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return (
        f"Model {card.name}, bundle {bundle_sha256(bundle)[:12]}; {os.cpu_count()} cores "
        f"({platform.machine()}) shared with the clients, no GPU, load average {load_before:.1f} "
        f"before the start; Python {platform.python_version()}, {versions}."
    )


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--seconds", default=120.0, show_default=True)
@click.option("--clients", default=16, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the table here, too.")
def main(bundle: Path, seconds: float, clients: int, out: Path | None) -> None:
    """Measure a BUNDLE under load."""
    load_before = os.getloadavg()[0]
    found = measure(bundle, seconds, clients)
    rows = [f"| {k} | {v if isinstance(v, str | int) else f'{v:.3g}'} |" for k, v in found.items()]
    table = "\n".join(["| figure | value |", "|---|---|", *rows]) + "\n"
    click.echo(table)
    if out is not None:
        sides = ", ".join(map(str, _SIDES))
        head = (
            f"# Serving under load\n\n{clients} clients for {seconds:g} s, images of {sides} px "
            f"squared in the proportion {':'.join(map(str, _WEIGHTS))}, deflated TIFF in, TIFF "
            "mask out, every mask compared by hash with the answer to a lone client; a 429 is "
            "waited out as Retry-After says. Latency includes the wait for the one slot.\n\n"
            f"```sh\npython -m benchmarks.serving BUNDLE --seconds {seconds:g} --clients {clients} "
            f"--out {out}\n```\n\n{conditions(bundle, load_before)}\n\n"
        )
        out.write_text(head + table, encoding="utf-8")
    statuses = {int(s) for s in json.loads(str(found["statuses"]))}
    if found["wrong answers"] or any(status >= 500 for status in statuses):
        raise click.ClickException("a wrong answer or an error of the server")


if __name__ == "__main__":
    main()
