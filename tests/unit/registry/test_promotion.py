"""Promotion and rollback on a real MLflow database: kills, races, a database that goes away."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from spixgraph.errors import GateError, InputError, ResourceError
from spixgraph.files import read_json
from spixgraph.predict.bundle import bundle_sha256, load_bundle
from spixgraph.registry import versions
from spixgraph.registry.ledger import ledger_name
from spixgraph.registry.promotion import promote as promote_by
from spixgraph.registry.promotion import rollback, standing_of
from spixgraph.registry.store import REPORT, ModelStore
from tests.toy_bundle import write_toy_bundle
from tests.unit.registry.exams import PASSED, exam

SCORES = (0.70, 0.75, 0.60)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return [write_toy_bundle(folder / str(s), metrics={"macro_iou": s}) for s in SCORES]


@pytest.fixture
def name(request, bundles, tmp_path) -> str:
    """A model of its own for each test, with versions 1, 2 and 3 and their proofs."""
    made = request.node.name.translate(str.maketrans("[]", "--"))
    for number, bundle in enumerate(bundles):
        proof = tmp_path / f"{number}.json"
        proof.write_text(json.dumps({"bundle_sha256": bundle_sha256(bundle), **PASSED}))
        versions.register(bundle, made, verification=proof)
    return made


def examine(path: Path):
    """What the exam of a bundle gives: its score is on its card."""
    return exam(*[load_bundle(path).card.metrics["macro_iou"]] * 5)


def promote(name, number, **options):
    return promote_by(name, number, **{"examine": examine, **options})


def aliases(name) -> dict[str, int]:
    return {a: n for a, n in ModelStore().aliases(name).items() if a != "candidate"}


def test_promote_and_rollback(name):
    assert promote(name, 1).verdict.champion is None
    assert aliases(name) == {"champion": 1}
    assert promote(name, 2).verdict.champion == 1
    assert aliases(name) == {"champion": 2, "previous": 1}
    assert promote(name, 2) is None
    assert rollback(name).number == 1
    assert aliases(name) == {"champion": 1}
    with pytest.raises(InputError, match="no previous champion"):
        rollback(name)
    assert [v.aliases for v in versions.list_versions(name)] == [("champion",), (), ("candidate",)]


def test_gate_refuses_and_writes_the_verdict(name, tmp_path):
    promote(name, 1)
    with pytest.raises(GateError, match=r"version 3 of .* stays out: 0\.4286, the champion has"):
        promote(name, 3)
    assert aliases(name) == {"champion": 1}
    version = versions.list_versions(name)[2]
    assert version.tags["gate.verdict"] == "refused"
    assert version.tags["gate.champion"] == "1"
    assert version.tags["gate.test_sha256"] == "t1"
    assert "macro_iou: 0.4286, the champion has" in version.tags["gate.figures"]
    assert version.tags["gate.report"].endswith(f"/{REPORT}")


def test_report_is_an_artifact(name, tmp_path):
    promote(name, 1)
    entry = ModelStore().stored_versions(ledger_name(name))[-1]
    path = ModelStore().download(entry, tmp_path, place=REPORT)
    report = read_json(path / "verdict.json")
    assert (report["model"], report["version"], report["verdict"]) == (name, 1, "passed")
    assert {c["name"] for c in report["checks"]} == {"parity", "memory", "latency"}
    assert "| parity | ok |" in (path / "verdict.md").read_text()


def test_force_is_on_record(name):
    promote(name, 1)
    for why in ("", "  "):
        with pytest.raises(InputError, match="say why"):
            promote(name, 3, force_why=why)
    done = promote(name, 3, force_why="the old one saw mice only")
    assert done.forced
    assert not done.verdict.passed
    assert aliases(name) == {"champion": 3, "previous": 1}
    tags = versions.list_versions(name)[2].tags
    entry = ModelStore().stored_versions(ledger_name(name))[-1].tags
    for found in (tags, entry):
        assert (found["gate.forced"], found["gate.why"]) == ("true", "the old one saw mice only")
    assert tags["gate.verdict"] == "refused"
    assert "gate.forced" not in versions.list_versions(name)[0].tags


def test_without_test_images_the_gate_refuses(name):
    with pytest.raises(GateError, match="no test split to compare on; name one by --data"):
        promote(name, 1, examine=None)
    assert aliases(name) == {}


def test_without_proof_of_parity_the_gate_refuses(name, bundles, tmp_path):
    bundle = write_toy_bundle(tmp_path / "other", metrics={"macro_iou": 0.71})
    number = versions.register(bundle, name).number
    with pytest.raises(GateError, match="ONNX parity is not proven"):
        promote(name, number)
    proof = tmp_path / "late.json"
    proof.write_text(json.dumps({"bundle_sha256": bundle_sha256(bundle), **PASSED}))
    assert promote(name, number, verification=proof).verdict.passed


def test_aliases_moved_by_hand_are_put_back(name):
    promote(name, 1)
    promote(name, 2)
    ModelStore().set_alias(name, "champion", 3)
    ModelStore().delete_alias(name, "previous")
    assert versions.resolve(ModelStore(), name, "champion").number == 2
    assert rollback(name).number == 1
    assert aliases(name) == {"champion": 1}


def test_aliases_of_a_registry_without_ledger_are_the_start(name):
    ModelStore().set_alias(name, "champion", 1)
    assert promote(name, 2).verdict.champion == 1
    assert aliases(name) == {"champion": 2, "previous": 1}


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(name):
    promote(name, 1)
    both_examined = threading.Barrier(2)

    def together(path):
        found = exam(*[0.9] * 5)
        if load_bundle(path).card.metrics["macro_iou"] != SCORES[0]:
            both_examined.wait(60)
        return found

    errors = []

    def run(number):
        try:
            promote(name, number, examine=together)
        except ResourceError as error:
            errors.append((number, str(error)))

    threads = [threading.Thread(target=run, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    ((loser, message),) = errors
    assert "came first" in message
    winner = 5 - loser
    assert aliases(name) == {"champion": winner, "previous": 1}
    standing = standing_of(name)
    assert (standing.champion, standing.previous) == (winner, 1)


KILLED = """
import os, signal, sys
from spixgraph.mlflow_door import load_mlflow
from spixgraph.registry.promotion import promote, rollback
from tests.unit.registry.test_promotion import examine
client = load_mlflow().MlflowClient
action, name, number = sys.argv[1], sys.argv[2], int(sys.argv[3])

def watched(method, original, calls=[0]):
    def call(*args, **kwargs):
        calls[0] += 1
        if calls[0] == int(os.environ["STEP"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    return call

CHANGES = ("create_registered_model", "create_model_version", "create_run", "log_artifacts",
           "set_terminated", "set_model_version_tag", "set_registered_model_alias",
           "delete_registered_model_alias", "create_experiment")
for method in CHANGES:
    setattr(client, method, watched(method, getattr(client, method)))

step = 0
while True:
    step += 1
    os.environ["STEP"] = str(step)
    child = os.fork()
    if child == 0:
        try:
            promote(name, number, examine=examine) if action == "promote" else rollback(name)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    print(step, os.WTERMSIG(status) if os.WIFSIGNALED(status) else f"exit {status}", flush=True)
    if not os.WIFSIGNALED(status) or not sys.stdin.readline():  # the test looks, and says go on
        break
"""


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_champion(
    name, action, bundles, tmp_path, monkeypatch
):
    promote(name, 1)
    if action == "rollback":
        promote(name, 2)
    said = {(1, None): {"champion": 1}, (2, 1): {"champion": 2, "previous": 1}}
    old, new = ((1, None), (2, 1)) if action == "promote" else ((2, 1), (1, None))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, action, name, "2"],
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    kills = 0
    for line in process.stdout:
        standing = standing_of(name)
        state = (standing.champion, standing.previous)
        assert state in {old, new}
        assert aliases(name)["champion"] in {old[0], new[0]}
        kills += line.split()[1] == str(int(signal.SIGKILL))
        if state == new:
            break
        assert aliases(name) == said[old]
        process.stdin.write("go on\n")
        process.stdin.flush()
    process.communicate()
    assert kills >= (8 if action == "promote" else 1)
    left = list(tmp_path.glob("spixgraph-*"))
    assert bool(left) == (action == "promote")  # killed over its report
    for folder in left:
        os.utime(folder, (0, 0))  # a young one may be another's
    versions.register(bundles[0], name)  # whoever comes next brings the aliases up to date
    assert aliases(name) == said[new]
    promote(name, 3, force_why="to see what it leaves")
    assert list(tmp_path.glob("spixgraph-*")) == []


def test_a_database_that_goes_away_changes_nothing(name, folder):
    promote(name, 1)
    database, away = folder / "mlflow.db", folder / "away.db"

    def lose(path):
        if database.is_file():
            database.rename(away)
            database.mkdir()
        return exam(*[0.9] * 5)

    with pytest.raises(ResourceError, match="MLflow at sqlite:"):
        promote(name, 2, examine=lose)
    database.rmdir()
    away.rename(database)
    assert aliases(name) == {"champion": 1}
    assert versions.list_versions(name)[1].tags["gate.verdict"] == "running"
    assert promote(name, 2).verdict.passed
