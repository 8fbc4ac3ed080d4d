"""Register, promote, roll back and fetch versions of a model.

Every function can be killed between any two of its steps and called again: what is not complete
is not visible under an alias, and the next call takes up or replaces it.
"""

import logging
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from spixgraph.errors import GateError, InputError, StoredDataError
from spixgraph.files import atomic_path, read_json
from spixgraph.predict.bundle import Bundle, bundle_sha256, load_bundle
from spixgraph.registry.gate import Verdict, judge
from spixgraph.registry.store import ModelStore, Version

log = logging.getLogger(__name__)

CANDIDATE = "candidate"
CHAMPION = "champion"
PREVIOUS = "previous"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def register(path: Path, name: str | None = None) -> Version:
    """Put a bundle into the registry; the same bundle twice is one version.

    Parameters
    ----------
    path : Path
        The bundle.
    name : str, optional
        Of the registered model; by default the name on the card.

    Returns
    -------
    Version
        With alias `candidate`.

    Raises
    ------
    InputError, StoredDataError
        If the bundle does not verify or the name is not usable.
    ResourceError
        If the registry cannot be reached.
    """
    bundle = load_bundle(path)
    name = name or bundle.card.name
    if not _NAME.fullmatch(name):
        raise InputError(f"model name {name!r} must be letters, digits, dots, dashes, underscores")
    store = ModelStore()
    store.create_model(name)
    sha256 = bundle_sha256(path)
    number = _ready_version(store, name, sha256) or _upload(store, name, bundle, sha256)
    store.set_alias(name, CANDIDATE, number)
    return _by_number(store, name, number)


def promote(
    name: str, number: int, *, tolerance: float = 0.01, verification: Path | None = None
) -> Verdict | None:
    """Make a version the champion, if it passes the gate.

    Parameters
    ----------
    name : str
    number : int
        Of the version.
    tolerance : float
        By how much the champion's macro IoU may be missed, >= 0.
    verification : Path, optional
        JSON of the verify stage, which writes none that failed; it must be of this bundle.

    Returns
    -------
    Verdict or None
        None if the version is the champion already.

    Raises
    ------
    GateError
        If the version is refused; the message says which figure failed by how much.

    Notes
    -----
    The verdict is on the version before any alias moves, and the champion moves last: a kill on
    the way leaves the old champion in place.
    """
    if tolerance < 0:
        raise InputError(f"tolerance must be >= 0, got {tolerance}")
    proof = None if verification is None else read_json(verification)
    store = ModelStore()
    version = _by_number(store, name, number)
    old = _by_alias(store, name, CHAMPION)
    if old is not None and old.number == number:
        return None
    with tempfile.TemporaryDirectory(prefix="spixgraph-") as folder:
        card = _download(store, version, Path(folder)).card
    champion = None if old is None else (old.tags, old.metrics)
    verdict = judge(version.tags, card.metrics, champion, tolerance=tolerance, proof=proof)
    store.set_tags(name, number, verdict.as_tags())
    if not verdict.passed:
        raise GateError(
            f"version {number} of {name} stays out: {'; '.join(verdict.faults)}; "
            "train a better model, or allow more by --tolerance"
        )
    if old is not None:
        store.set_alias(name, PREVIOUS, old.number)
    store.set_alias(name, CHAMPION, number)
    return verdict


def rollback(name: str) -> Version:
    """Make the previous champion the champion again; `previous` is then free.

    Raises
    ------
    InputError
        If there is no previous champion.
    """
    store = ModelStore()
    previous = _by_alias(store, name, PREVIOUS)
    if previous is None:
        raise InputError(
            f"{name} has no previous champion to roll back to; "
            f"promote a version by `spixgraph model promote {name} --version N`"
        )
    store.set_alias(name, CHAMPION, previous.number)
    store.delete_alias(name, PREVIOUS)
    return _by_number(store, name, previous.number)


def list_versions(name: str) -> list[Version]:
    """All complete versions of a model with their aliases, the oldest first."""
    return [version for version in ModelStore().versions(name) if version.is_ready]


def list_names() -> list[str]:
    """Names of all registered models, sorted."""
    return ModelStore().names()


def fetch(name: str, reference: str, out: Path) -> Version:
    """Download a bundle and verify it; `out` appears whole or not at all.

    Parameters
    ----------
    name : str
    reference : str
        An alias such as "champion", or a version number.
    out : Path
        Folder to make; it must not exist.
    """
    if out.exists():
        raise InputError(f"{out} exists; name a folder that does not")
    store = ModelStore()
    version = resolve(store, name, reference)
    with tempfile.TemporaryDirectory(prefix="spixgraph-") as folder:
        bundle = _download(store, version, Path(folder))
        with atomic_path(out) as part:
            shutil.copytree(bundle.path, part)
    return version


def resolve(store: ModelStore, name: str, reference: str) -> Version:
    """Find the version that an alias or a number means; only complete ones count."""
    if reference.isdecimal():
        return _by_number(store, name, int(reference))
    version = _by_alias(store, name, reference)
    if version is None:
        known = ", ".join(sorted(store.aliases(name))) or "none"
        raise InputError(f"{name} has no alias {reference!r}; it has: {known}")
    return version


def _ready_version(store: ModelStore, name: str, sha256: str) -> int | None:
    """Find the complete version of this bundle, and clear away incomplete ones."""
    same = [v for v in store.versions(name) if v.tags.get("bundle_sha256") == sha256]
    for version in same:
        if not version.is_ready:
            log.warning("version %d of %s is incomplete; it is removed", version.number, name)
            store.delete_version(version)
    return min((v.number for v in same if v.is_ready), default=None)


def _upload(store: ModelStore, name: str, bundle: Bundle, sha256: str) -> int:
    """Upload, read back, and only then call it ready."""
    tags = _tags(bundle, sha256)
    run_id, uri = store.upload(bundle.path, tags)
    number = store.create_version(name, run_id, uri, {**tags, "status": "incomplete"})
    version = next(v for v in store.versions(name) if v.number == number)
    with tempfile.TemporaryDirectory(prefix="spixgraph-") as folder:
        _download(store, version, Path(folder))
    store.set_tags(name, number, {"status": "ready"})
    return number


def _tags(bundle: Bundle, sha256: str) -> dict[str, str]:
    card = bundle.card
    tags = {
        "bundle_sha256": sha256,
        "data_sha256": card.data_sha256,
        "code_sha256": card.code_sha256,
        "network": card.network,
        "schema_version": str(card.schema_version),
        **{f"metric.{key}": repr(value) for key, value in sorted(card.metrics.items())},
    }
    revision = _git_revision()
    return tags if revision is None else {**tags, "git_revision": revision}


def _git_revision() -> str | None:
    """Revision of the working directory, where it is a git repository."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _download(store: ModelStore, version: Version, folder: Path) -> Bundle:
    """Bring a version's bundle here and verify it against the tag and its own card."""
    path = store.download(version, folder)
    wanted, found = version.tags.get("bundle_sha256"), bundle_sha256(path)
    if found != wanted:
        raise StoredDataError(
            f"version {version.number} of {version.name} was changed in the store: sha256 {found}, "
            f"registered was {wanted}; register the bundle again"
        )
    return load_bundle(path)


def _by_number(store: ModelStore, name: str, number: int) -> Version:
    ready = [v for v in store.versions(name) if v.is_ready]
    for version in ready:
        if version.number == number:
            return version
    known = ", ".join(str(v.number) for v in ready) or "none"
    raise InputError(f"{name} has no complete version {number}; it has: {known}")


def _by_alias(store: ModelStore, name: str, alias: str) -> Version | None:
    return next((v for v in store.versions(name) if alias in v.aliases and v.is_ready), None)
