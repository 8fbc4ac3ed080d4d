"""Find a Dask cluster, or start one on this machine, and make sure that its workers can work."""

import logging
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from spixgraph.errors import InputError, ResourceError
from spixgraph.graph.stream.cluster import tasks

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d+")
_IGNORE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""Ctrl-C in a terminal reaches all processes; the coordinator ends the others."""
_SCHEDULER_SECONDS, _WORKER_SECONDS = 10, 60


def require_address(address: str) -> None:
    """Raise `InputError` unless it is ``local`` or the address of a scheduler."""
    if address != "local" and not _ADDRESS.fullmatch(address):
        raise InputError(
            f"--dask {address!r} is neither 'local' nor the address of a scheduler, such as "
            "tcp://10.0.0.5:8786, which `dask scheduler` prints when it starts"
        )


@contextmanager
def connected(address: str, *, workers: int = 1) -> Iterator[Any]:
    """Connect to a scheduler that has at least one worker.

    Parameters
    ----------
    address : str
        ``tcp://host:port`` or ``tls://host:port``, or ``local`` for processes on this machine.
    workers : int
        Processes of ``local``, one thread each.

    Yields
    ------
    distributed.Client

    Raises
    ------
    InputError
        If the address is none, or Dask is not installed.
    ResourceError
        If nobody answers there within 10 seconds, or no worker comes within a minute.
    """
    require_address(address)
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InputError(
            f"--dask needs Dask ({error}); pip install 'spixgraph[cluster]', on the workers, too"
        ) from error
    # Dask tells of each connection, and of errors that reach the caller as ours
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        target: Any = address
        if address == "local":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="spixgraph-dask-"))
            target = stack.enter_context(
                LocalCluster(
                    n_workers=workers, threads_per_worker=1, host="127.0.0.1",
                    dashboard_address="127.0.0.1:0", memory_limit=0, local_directory=folder,
                    preload=[_IGNORE_INTERRUPTS], silence_logs=logging.CRITICAL,
                )
            )  # fmt: skip
        try:
            with warnings.catch_warnings():
                # `require_able` says the same as an error
                warnings.filterwarnings("ignore", "\nMismatched versions found")
                client = Client(target, timeout=_SCHEDULER_SECONDS, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise ResourceError(
                f"no Dask scheduler answers at {address} within {_SCHEDULER_SECONDS} s ({error}); "
                "start one with `dask scheduler` and give the address that it prints"
            ) from error
        stack.enter_context(client)
        try:
            client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError as error:
            raise ResourceError(
                f"the scheduler at {address} has no worker after {_WORKER_SECONDS} s; start some "
                f"with `dask worker {address}` where the image can be read"
            ) from error
        yield client


def require_able(client: Any, job: tasks.Job) -> None:
    """Raise `ResourceError` if a worker cannot do the strips of a job, with all reasons."""
    answers = client.run(tasks.check, job, on_error="return")
    troubles: dict[str, list[str]] = {}
    for worker, answer in answers.items():
        if isinstance(answer, ModuleNotFoundError):
            answer = f"it has no module {answer.name}"
        if answer is not None:
            troubles.setdefault(str(answer), []).append(worker)
    if troubles:
        said = "; ".join(
            f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {trouble}"
            for trouble, names in troubles.items()
        )
        raise ResourceError(
            f"{sum(map(len, troubles.values()))} of {len(answers)} Dask workers cannot work on "
            f"this image ({said}); image and output must have the same absolute path on storage "
            "that all machines share, and every machine the same versions of spixgraph and its "
            "dependencies (pip install -c constraints.txt)"
        )
