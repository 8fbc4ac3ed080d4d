"""Training runs in MLflow.

The client is used with explicit run ids and never the module-level "active run", so that runs in
threads, in nested calls and in parallel processes don't mix.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spixgraph.arrays import UInt8
from spixgraph.errors import InputError
from spixgraph.mlflow_door import (
    experiment_id,
    load_mlflow,
    mlflow_errors,
    open_client,
    tracking_uri,
)


class TrackedRun:
    """One MLflow run that is being written; made by `training_run`."""

    def __init__(self, client: Any, uri: str, run_id: str) -> None:
        self._client, self._uri = client, uri
        self.run_id = run_id

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log settings; MLflow lets none of them change later."""
        param = load_mlflow().entities.Param
        values = [param(key, str(value)) for key, value in params.items()]
        with mlflow_errors(self._uri):
            self._client.log_batch(self.run_id, params=values)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at `step`, an epoch for instance."""
        metric, now = load_mlflow().entities.Metric, time.time_ns() // 1_000_000
        values = [metric(key, float(value), now, step) for key, value in metrics.items()]
        with mlflow_errors(self._uri):
            self._client.log_batch(self.run_id, metrics=values)

    def log_picture(self, name: str, rgb: UInt8) -> None:
        """Log (H, W, 3) uint8 as a PNG artifact; `name` ends in .png."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype.name != "uint8":
            raise InputError(f"a picture must be (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
        with mlflow_errors(self._uri):
            self._client.log_image(self.run_id, rgb, name)

    def log_artifact(self, path: Path) -> None:
        """Copy a file, or a folder with all that is in it, to the artifacts of the run."""
        with mlflow_errors(self._uri):
            if path.is_dir():
                self._client.log_artifacts(self.run_id, str(path), path.name)
            else:
                self._client.log_artifact(self.run_id, str(path))


@contextmanager
def training_run(
    experiment: str,
    run_name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
    *,
    uri: str | None = None,
) -> Iterator[TrackedRun]:
    """Open a run, and close it as FINISHED, FAILED on an error, or KILLED on an interrupt.

    Parameters
    ----------
    experiment : str
        Made if it does not exist; with sqlite, its artifacts lie in `mlartifacts` in this folder.
    run_name : str
    params : mapping
        Flat; at most 100.
    tags : mapping
    uri : str, optional
        `tracking_uri()` by default.

    Raises
    ------
    ResourceError
        If the store cannot be reached or refuses.
    """
    uri = uri or tracking_uri()
    with mlflow_errors(uri):
        client = open_client(uri)
        parent = experiment_id(client, experiment, uri)
        run = client.create_run(parent, tags=dict(tags), run_name=run_name)
    status = "FAILED"
    try:
        tracked = TrackedRun(client, uri, run.info.run_id)
        tracked.log_params(params)
        yield tracked
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with mlflow_errors(uri):
            client.set_terminated(run.info.run_id, status)


def known_run(run_id: str, *, uri: str | None = None) -> TrackedRun:
    """Return a run that has ended, to add what was measured later.

    Raises
    ------
    ResourceError
        If the store does not know the run.
    """
    uri = uri or tracking_uri()
    with mlflow_errors(uri):
        client = open_client(uri)
        client.get_run(run_id)
    return TrackedRun(client, uri, run_id)
