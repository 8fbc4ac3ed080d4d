import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spixgraph.errors import InputError, ResourceError
from spixgraph.mlflow_door import tracking_uri
from spixgraph.train.tracking import known_run, training_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace with a space")


@pytest.fixture(autouse=True)
def workspace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder whose database is made once: its many migrations take seconds."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if not (folder / "mlflow.db").exists():
        with training_run("first", "first", {}, {}):
            pass


def stored(run_id: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri()).get_run(run_id)


def test_a_run_is_written(folder: Path) -> None:
    (folder / "card.json").write_text("{}")
    (folder / "report").mkdir()
    (folder / "report/index.html").write_text("<p>")
    with training_run("cells", "gnn seed 0", {"hidden": 64}, {"git": "abc"}) as run:
        run.log_metrics({"val_iou": 0.5, "loss": 1.0}, step=1)
        run.log_metrics({"val_iou": 0.75}, step=2)
        run.log_picture("overlay.png", np.zeros((4, 5, 3), np.uint8))
        run.log_artifact(folder / "card.json")
        run.log_artifact(folder / "report")
        assert stored(run.run_id).info.status == "RUNNING"
    kept = stored(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.info.run_name == "gnn seed 0"
    assert kept.data.params == {"hidden": "64"}
    assert kept.data.tags["git"] == "abc"
    assert kept.data.metrics == {"val_iou": 0.75, "loss": 1.0}
    files = sorted(
        p.relative_to(folder / "mlartifacts" / run.run_id / "artifacts").as_posix()
        for p in (folder / "mlartifacts").rglob("*")
        if p.is_file()
    )
    assert files == ["card.json", "overlay.png", "report/index.html"]
    assert (folder / "mlflow.db").is_file()


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_broken_run_says_so(error: type[BaseException], status: str) -> None:
    with pytest.raises(error), training_run("cells", "broken", {}, {}) as run:
        raise error
    assert stored(run.run_id).info.status == status


def test_nested_runs_do_not_mix() -> None:
    with training_run("cells", "outer", {}, {}) as outer:
        with training_run("cells", "inner", {}, {}) as inner:
            outer.log_metrics({"a": 1.0})
            inner.log_metrics({"b": 2.0})
        outer.log_metrics({"c": 3.0})
    assert stored(outer.run_id).data.metrics == {"a": 1.0, "c": 3.0}
    assert stored(inner.run_id).data.metrics == {"b": 2.0}


def test_a_run_is_taken_up_again() -> None:
    with training_run("cells", "train", {}, {}) as run:
        run.log_metrics({"val_iou": 0.5})
    known_run(run.run_id).log_metrics({"test_iou": 0.4})
    assert stored(run.run_id).data.metrics == {"val_iou": 0.5, "test_iou": 0.4}
    assert stored(run.run_id).info.status == "FINISHED"
    with pytest.raises(ResourceError, match="not found"):
        known_run("0" * 32)


def test_parallel_processes_share_a_new_experiment(folder: Path) -> None:
    code = (
        "from spixgraph.train.tracking import training_run\n"
        "with training_run('race', 'r', {'a': 1}, {}) as run:\n"
        "    for step in range(5): run.log_metrics({'x': step}, step)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=folder) for _ in range(2)]
    assert [p.wait(timeout=120) for p in processes] == [0, 0]
    with closing(sqlite3.connect(folder / "mlflow.db")) as db:
        query = (
            "select r.status from runs r join experiments e using (experiment_id) "
            "where e.name = 'race'"
        )
        assert db.execute(query).fetchall() == [("FINISHED",)] * 2


def test_a_database_whose_making_is_stopped_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    uri = f"sqlite:///{(tmp_path / 'mlflow.db').as_posix()}"
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.search_experiments", stop)
        with pytest.raises(KeyboardInterrupt), training_run("stopped", "r", {}, {}, uri=uri):
            pass
    assert not list(tmp_path.iterdir())
    with training_run("stopped", "r", {}, {}, uri=uri):
        pass
    assert (tmp_path / "mlflow.db").exists()


def test_the_environment_names_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert tracking_uri() == "http://mlflow.example:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri().endswith("/mlflow.db")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_store_that_is_refused_is_named() -> None:
    with (
        pytest.raises(ResourceError, match=r"ftp://nowhere.*MLFLOW_TRACKING_URI"),
        training_run("cells", "r", {}, {}, uri="ftp://nowhere"),
    ):
        pass


def test_pictures_must_be_rgb() -> None:
    with training_run("cells", "p", {}, {}) as run, pytest.raises(InputError, match="uint8"):
        run.log_picture("a.png", np.zeros((4, 5), np.uint8))
