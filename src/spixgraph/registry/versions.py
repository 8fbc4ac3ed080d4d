"""Register, list and fetch versions of a model.

Every function can be killed between any two of its steps and called again: what is not complete
is not visible under an alias, and the next call takes up or replaces it.
"""

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import atomic_path, read_json, write_json
from spixgraph.predict.bundle import Bundle, bundle_sha256, load_bundle
from spixgraph.registry.ledger import CHAMPION, PREVIOUS, read_standing, settle
from spixgraph.registry.lineage import lineage_of
from spixgraph.registry.store import EVIDENCE, ModelStore, Version
from spixgraph.scratch import scratch_folder

log = logging.getLogger(__name__)

CANDIDATE = "candidate"
VERIFICATION = "verification.json"
LINEAGE = "lineage.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def register(
    path: Path,
    name: str | None = None,
    *,
    verification: Path | None = None,
    workspace: Path | None = None,
) -> Version:
    """Put a bundle into the registry; the same bundle twice is one version.

    Parameters
    ----------
    path : Path
        The bundle.
    name : str, optional
        Of the registered model; by default the name on the card.
    verification : Path, optional
        JSON of the verify stage, kept for the gate; it must be of this bundle.
    workspace : Path, optional
        The folder of git and DVC that made the bundle, for its lineage; by default this one.

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
    if not _NAME.fullmatch(name) or name.endswith(ModelStore.LEDGER_SUFFIX):
        raise InputError(
            f"model name {name!r} must be letters, digits, dots, dashes, underscores, and not end "
            f"in {ModelStore.LEDGER_SUFFIX}"
        )
    sha256 = bundle_sha256(path)
    evidence = {LINEAGE: lineage_of(path, workspace or Path.cwd())}
    if verification is not None:
        evidence[VERIFICATION] = _verified(verification, sha256)
    store = ModelStore()
    store.create_model(name)
    settle(store, name)
    number = _ready_version(store, name, sha256) or _upload(store, name, bundle, sha256, evidence)
    store.set_alias(name, CANDIDATE, number)
    return by_number(store, name, number)


def list_versions(name: str) -> list[Version]:
    """All complete versions of a model with their aliases, the oldest first."""
    store = ModelStore()
    return _with_standing(store, name, store.versions(name))


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
    with scratch_folder() as folder:
        bundle = download_bundle(store, version, folder)
        with atomic_path(out) as part:
            shutil.copytree(bundle.path, part)
    return version


def resolve(store: ModelStore, name: str, reference: str) -> Version:
    """Find the version that an alias or a number means; only complete ones count."""
    if reference.isdecimal():
        return by_number(store, name, int(reference))
    ready = _with_standing(store, name, store.versions(name))
    for version in ready:
        if reference in version.aliases:
            return version
    known = ", ".join(sorted(a for v in ready for a in v.aliases)) or "none"
    raise InputError(f"{name} has no alias {reference!r}; it has: {known}")


def by_number(store: ModelStore, name: str, number: int) -> Version:
    """Find a complete version by its number."""
    ready = _with_standing(store, name, store.versions(name))
    for version in ready:
        if version.number == number:
            return version
    known = ", ".join(str(v.number) for v in ready) or "none"
    raise InputError(f"{name} has no complete version {number}; it has: {known}")


def lineage(name: str, reference: str) -> tuple[Version, dict[str, Any]]:
    """Return a version and where it comes from, as far as that was known when registering it."""
    store = ModelStore()
    version = resolve(store, name, reference)
    if EVIDENCE not in store.places(version):
        return version, {}
    with scratch_folder() as folder:
        path = store.download(version, folder, place=EVIDENCE) / LINEAGE
        return version, dict(read_json(path)) if path.is_file() else {}


def note(name: str, number: int, tags: dict[str, str]) -> None:
    """Write further tags on a version."""
    ModelStore().set_tags(name, number, tags)


def _with_standing(store: ModelStore, name: str, versions: list[Version]) -> list[Version]:
    """Complete versions, with `champion` and `previous` as the ledger has them."""
    standing = read_standing(store, name)
    led = {CHAMPION, PREVIOUS}
    return [
        replace(
            version,
            aliases=tuple(
                sorted(
                    (set(version.aliases) - led)
                    | {a for a, number in standing.aliases.items() if number == version.number}
                )
            ),
        )
        for version in versions
        if version.is_ready
    ]


def _verified(path: Path, sha256: str) -> Any:
    value = read_json(path)
    if value.get("bundle_sha256") != sha256:
        raise InputError(f"{path} is the verification of another bundle; run the verify stage")
    return value


def _ready_version(store: ModelStore, name: str, sha256: str) -> int | None:
    """Find the complete version of this bundle, and clear away incomplete ones."""
    same = [v for v in store.versions(name) if v.tags.get("bundle_sha256") == sha256]
    for version in same:
        if not version.is_ready:
            log.warning("version %d of %s is incomplete; it is removed", version.number, name)
            store.delete_version(version)
    return min((v.number for v in same if v.is_ready), default=None)


def _upload(
    store: ModelStore, name: str, bundle: Bundle, sha256: str, evidence: dict[str, Any]
) -> int:
    """Upload, read back, and only then call it ready."""
    tags = _tags(bundle, sha256, evidence[LINEAGE])
    run_id, uri = store.upload(bundle.path, tags)
    with scratch_folder() as folder:
        for file_name, value in evidence.items():
            write_json(folder / file_name, value)
        store.attach(run_id, folder, EVIDENCE)
    number = store.create_version(name, run_id, uri, {**tags, "status": "incomplete"})
    version = next(v for v in store.versions(name) if v.number == number)
    with scratch_folder() as folder:
        download_bundle(store, version, folder)
    store.set_tags(name, number, {"status": "ready"})
    return number


def _tags(bundle: Bundle, sha256: str, lineage: dict[str, Any]) -> dict[str, str]:
    card = bundle.card
    tags = {
        "bundle_sha256": sha256,
        "data_sha256": card.data_sha256,
        "code_sha256": card.code_sha256,
        "network": card.network,
        "schema_version": str(card.schema_version),
        **{f"metric.{key}": repr(value) for key, value in sorted(card.metrics.items())},
    }
    known = {key: lineage[key] for key in ("git_revision", "run_id") if lineage.get(key)}
    return tags | known


def download_bundle(store: ModelStore, version: Version, folder: Path) -> Bundle:
    """Bring a version's bundle here and verify it against the tag and its own card."""
    path = store.download(version, folder)
    wanted, found = version.tags.get("bundle_sha256"), bundle_sha256(path)
    if found != wanted:
        raise StoredDataError(
            f"version {version.number} of {version.name} was changed in the store: sha256 {found}, "
            f"registered was {wanted}; register the bundle again"
        )
    return load_bundle(path)
