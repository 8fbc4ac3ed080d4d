"""The one door to MLflow: training runs and the model registry come through here.

MLflow is imported when it is used: it takes 2 s.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from spixgraph.errors import ResourceError

_SQLITE = "sqlite:///"


def load_mlflow() -> Any:
    """Import mlflow with its telemetry off; raises `ResourceError` where it is not installed."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 7 hang for four minutes
    try:
        import mlflow
    except ModuleNotFoundError as error:
        raise ResourceError(f"{error}; install it by: pip install 'spixgraph[train]'") from error
    return mlflow


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or else the sqlite database `mlflow.db` in this folder."""
    default = f"{_SQLITE}{(Path.cwd() / 'mlflow.db').as_posix()}"
    return os.environ.get("MLFLOW_TRACKING_URI") or default


def open_client(uri: str) -> Any:
    """Return a client of the runs and of the registry at `uri`.

    A sqlite database that is not there yet is made beside its place first: migrations are no
    transaction, and one that was stopped half-way would be refused for ever.
    """
    client_of = load_mlflow().MlflowClient
    path = Path(uri.removeprefix(_SQLITE))
    if uri.startswith(_SQLITE) and path.is_absolute() and not path.exists():
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            made, copy = Path(folder, "made.db"), Path(folder, "copy.db")
            client_of(tracking_uri=f"{_SQLITE}{made.as_posix()}").search_experiments(max_results=1)
            copyfile(made, copy)  # MLflow keeps the other one open
            with suppress(OSError):  # there by now; or no hard links here: then MLflow makes it
                path.hardlink_to(copy)
    return client_of(tracking_uri=uri, registry_uri=uri)


def experiment_id(client: Any, name: str, uri: str) -> str:
    """Find or make an experiment; another process may make it at the same time.

    With sqlite its artifacts lie in `mlartifacts` beside the database; a server decides itself.
    """
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    artifacts = None
    if uri.startswith(_SQLITE):
        folder = Path(uri.removeprefix(_SQLITE)).resolve().parent
        artifacts = (folder / "mlartifacts").as_uri()
    try:
        return str(client.create_experiment(name, artifacts))
    except load_mlflow().exceptions.MlflowException:
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """Turn MLflow's errors into one line of ours that names the store."""
    try:
        yield
    except (load_mlflow().exceptions.MlflowException, OSError) as error:
        raise ResourceError(
            f"MLflow at {uri} refused: {str(error).splitlines()[0]}; "
            "check MLFLOW_TRACKING_URI and that the server is up"
        ) from error
