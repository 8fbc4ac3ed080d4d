"""Promote through the gate, and roll back."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spixgraph.errors import GateError, InputError
from spixgraph.files import read_json, write_json
from spixgraph.registry.exam import Exam
from spixgraph.registry.gate import GateRules, Verdict, judge
from spixgraph.registry.ledger import Standing, append, read_standing, settle
from spixgraph.registry.store import EVIDENCE, REPORT, ModelStore, Version
from spixgraph.registry.versions import VERIFICATION, by_number, download_bundle
from spixgraph.scratch import scratch_folder

log = logging.getLogger(__name__)

Examine = Callable[[Path], Exam]
"""Lets the bundle in a folder sit the exam."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What came of it.

    Attributes
    ----------
    verdict : Verdict
    forced : bool
        Whether it was refused and promoted all the same.
    """

    verdict: Verdict
    forced: bool


def promote(
    name: str,
    number: int,
    *,
    examine: Examine | None,
    rules: GateRules | None = None,
    verification: Path | None = None,
    force_why: str | None = None,
) -> Promotion | None:
    """Make a version the champion, if it passes the gate.

    Parameters
    ----------
    name : str
    number : int
        Of the version.
    examine : callable, optional
        Measures a bundle on the frozen test split; without one the gate refuses.
    rules : GateRules, optional
    verification : Path, optional
        JSON of the verify stage; by default what the version was registered with.
    force_why : str, optional
        Promote a version that the gate refuses, for this reason, which goes on record.

    Returns
    -------
    Promotion or None
        None if the version is the champion already.

    Raises
    ------
    GateError
        If the version is refused; the message says which figure failed by how much.
    ResourceError
        If another change came first, or the registry cannot be reached.

    Notes
    -----
    The verdict is on the version and its report in the store before anything changes; the change
    itself is one entry of the ledger (`spixgraph.registry.ledger`).
    """
    rules = rules or GateRules()
    if force_why is not None and not force_why.strip():
        raise InputError("say why the gate is overruled: --force --why TEXT")
    store = ModelStore()
    version = by_number(store, name, number)
    standing = settle(store, name)
    if standing.champion == number:
        return None
    store.set_tags(name, number, {"gate.verdict": "running"})
    verdict = _judge(store, version, standing, examine, rules, verification)
    forced = force_why is not None and not verdict.passed
    notes = _notes("promotion", forced, force_why)
    report = _store_report(store, version, verdict, notes)
    overruled = {key: value for key, value in notes.items() if key.startswith("gate.")}
    store.set_tags(name, number, {**overruled, "gate.report": report[1], **verdict.as_tags()})
    if not verdict.passed and not forced:
        raise GateError(
            f"version {number} of {name} stays out: {'; '.join(verdict.faults)}; train a better "
            "model, change the rules, or overrule the gate by --force --why TEXT"
        )
    append(
        store, name, standing, champion=number, previous=standing.champion, report=report,
        notes=notes,
    )  # fmt: skip
    return Promotion(verdict, forced)


def rollback(name: str) -> Version:
    """Make the previous champion the champion again; `previous` is then free.

    Raises
    ------
    InputError
        If there is no previous champion.
    """
    store = ModelStore()
    standing = settle(store, name)
    if standing.previous is None:
        raise InputError(
            f"{name} has no previous champion to roll back to; "
            f"promote a version by `spixgraph model promote {name} --version N`"
        )
    previous = by_number(store, name, standing.previous)
    append(
        store, name, standing, champion=previous.number, previous=None,
        report=(previous.run_id, previous.uri), notes=_notes("rollback", False, None),
    )  # fmt: skip
    return by_number(store, name, previous.number)


def standing_of(name: str) -> Standing:
    """Who is champion of a model, by its ledger."""
    return read_standing(ModelStore(), name)


def _judge(
    store: ModelStore,
    version: Version,
    standing: Standing,
    examine: Examine | None,
    rules: GateRules,
    verification: Path | None,
) -> Verdict:
    """Bring both bundles here and let them sit the same exam."""
    with scratch_folder() as folder:
        candidate = download_bundle(store, version, folder / "candidate").path
        exam = champion = None
        if examine is not None:
            exam = examine(candidate)
        if examine is not None and standing.champion is not None:
            old = by_number(store, version.name, standing.champion)
            champion = examine(download_bundle(store, old, folder / "champion").path)
        proof = _proof(store, version, verification, folder)
    return judge(
        exam,
        champion,
        champion_number=standing.champion,
        proof=proof,
        bundle_sha256=version.tags["bundle_sha256"],
        rules=rules,
    )


def _proof(
    store: ModelStore, version: Version, verification: Path | None, folder: Path
) -> Mapping[str, Any] | None:
    if verification is not None:
        return dict(read_json(verification))
    if EVIDENCE not in store.places(version):
        return None
    path = store.download(version, folder / "evidence", place=EVIDENCE) / VERIFICATION
    return dict(read_json(path)) if path.is_file() else None


def _notes(kind: str, forced: bool, why: str | None) -> dict[str, str]:
    notes = {"kind": kind, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    if forced:
        notes |= {"gate.forced": "true", "gate.why": why or ""}
    return notes


def _store_report(
    store: ModelStore, version: Version, verdict: Verdict, notes: Mapping[str, str]
) -> tuple[str, str]:
    """Keep the verdict as an artifact of a run; return run id and URI."""
    with scratch_folder() as folder:
        value = {"model": version.name, "version": version.number, **notes, **verdict.as_json()}
        write_json(folder / "verdict.json", value)
        (folder / "verdict.md").write_text(verdict.as_markdown(), encoding="utf-8")
        tags = {"model": version.name, "version": str(version.number), **notes}
        return store.upload(folder, tags, place=REPORT)
